/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as flowd writes and reads them: microseconds since the epoch (CLOCK_REALTIME) inside,
 * RFC 3339 outside.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "2026-01-01T00:00:00.000000+00:00" and its NUL. */
#define FLOWD_TIMESTAMP_SIZE 33

/* Microseconds of CLOCK_REALTIME. */
int64_t flowd_timestamp_now_us(void);

/* Microseconds of CLOCK_BOOTTIME: comparable between processes of one boot, never set back. */
int64_t flowd_timestamp_boot_us(void);

/* Writes UTC with microseconds and "+00:00"; returns the length (32). */
size_t flowd_timestamp_format(int64_t realtime_us, char buffer[static FLOWD_TIMESTAMP_SIZE]);

/*
 * Parses an RFC 3339 date-time of len bytes: "T", "t" or a blank between date and time, a fraction
 * of any length (cut to microseconds), "Z", "z" or a numeric offset. Returns 0 or -EINVAL.
 */
int flowd_timestamp_parse(const char *text, size_t len, int64_t *realtime_us);
