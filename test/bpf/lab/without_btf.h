/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hides the kernel's description of its structures (BTF) from this process, as if the kernel had
 * none: what is loaded meanwhile does without the MTU of routes.
 */
#pragma once

/* In a mount namespace of its own from the first call on. Both return 0 or -1 with errno. */
int without_btf_begin(void);
int without_btf_end(void);

/* Why they would fail; NULL where they don't. */
const char *without_btf_unavailable(void);
