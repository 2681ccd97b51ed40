/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptors: how many flowd may have, and whether any are left.
 */
#pragma once

/* What says how to allow more, for the end of a message. */
#define FLOWD_DESCRIPTORS_REMEDY                                                                   \
    "set LimitNOFILE=4096 (systemd), --ulimit nofile=4096 (container) or ulimit -n 4096"

/* Takes as many as the process may have, and warns where that is too few. */
void flowd_descriptors_raise(void);
/* How many can be opened still, but at most most; counts. */
unsigned flowd_descriptors_left(unsigned most);
