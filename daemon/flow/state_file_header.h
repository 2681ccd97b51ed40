/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file's header: of which version and which boot a file is.
 *
 * The header has a check word. Where it is damaged the records tell what they are (flow_record.h),
 * so a header costs no flow.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FLOWD_STATE_HEADER_SIZE 4096
#define FLOWD_BOOT_ID_SIZE 37 /* with its NUL */

/* This boot of the host. */
struct flowd_boot {
    char id[FLOWD_BOOT_ID_SIZE]; /* "": it could not be read */
    int error;                   /* why, -errno; 0: it was read */
    int64_t started_us;          /* CLOCK_REALTIME; moves when the clock is set */
};

void flowd_boot_read(struct flowd_boot *boot);

enum flowd_state_verdict {
    FLOWD_STATE_OURS,     /* of this boot and version */
    FLOWD_STATE_FORMER,   /* of this boot and the version before */
    FLOWD_STATE_REBOOTED, /* of an earlier boot: its flows are over */
    FLOWD_STATE_DOUBTFUL, /* the header proves nothing; records may */
    FLOWD_STATE_UNKNOWN,  /* whether the host has rebooted can't be told */
};

/* Judges the header of a file of size bytes; *why says it in words, where it is not ours. */
enum flowd_state_verdict flowd_state_header_judge(const void *header, size_t size,
                                                  const struct flowd_boot *boot, const char **why);
/* The boot id in a header that is ours. */
const char *flowd_state_header_boot_id(const void *header);
/* Writes a header. A kill in between leaves a doubtful one. */
void flowd_state_header_write(void *header, const struct flowd_boot *boot);
