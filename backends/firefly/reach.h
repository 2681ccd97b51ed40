/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether collectors can be reached from here, for `flowd check`.
 */
#pragma once

#include <stdint.h>

#include "daemon/base/messages.h"
#include "daemon/options/option.h"

/*
 * Warns of each of collectors ("host[:port]") whose name has no address or that there is no route
 * to; path is that of their list. It waits for the answers, for FIREFLY_REACH_WAIT_S at most: not
 * for a daemon.
 */
void firefly_reach_warn(const struct flowd_strings *collectors, uint16_t default_port,
                        const char *path, struct flowd_messages *warnings);

#define FIREFLY_REACH_WAIT_S 2
