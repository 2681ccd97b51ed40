/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that libbpf says of a program that the kernel refuses, which is mostly the verifier's log,
 * kept instead of shown: a test wants to see that the refusal is for the expected reason.
 */
#pragma once

#include <bpf/libbpf.h>

/* Keeps what libbpf says from here on. Returns who had been told so far. */
libbpf_print_fn_t verifier_log_keep(void);
/* Forgets what was said, before the next load. */
void verifier_log_clear(void);
/* What was said since then. Borrowed. */
const char *verifier_log_text(void);
