/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libbpf said on the way to a failure: the part of its warnings that tells why.
 */
#pragma once

#include <stdbool.h>

#define FLOWD_BPF_LOG_SIZE 160

struct flowd_bpf_log {
    char warning[FLOWD_BPF_LOG_SIZE];  /* libbpf's first warning, or "" */
    char verifier[FLOWD_BPF_LOG_SIZE]; /* the verifier's last words, or "" */
};

/*
 * Takes what tells something out of one message of libbpf, which may be a whole log of the
 * verifier. The first of each kind stays: what follows it are consequences.
 */
void flowd_bpf_log_note(struct flowd_bpf_log *bpf_log, const char *message);

/*
 * Whether it all comes from a lack of file descriptors: error (a positive errno) or a warning says
 * so, or few are allowed and a map could not be made.
 */
bool flowd_bpf_log_lacks_descriptors(const struct flowd_bpf_log *bpf_log, int error, bool few);

/* Sends what libbpf says to flowd's log, at debug level, and keeps the evidence from here on. */
void flowd_bpf_log_listen(void);
/* Forgets what was said; before something that may fail. */
void flowd_bpf_log_reset(void);
/* What was said since then. Borrowed, and changes with the next call into libbpf. */
const struct flowd_bpf_log *flowd_bpf_log_heard(void);
