/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one integer parser of the program: decimal digits and nothing else.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Parses exactly the len bytes at text as a decimal number of 1 to 20 digits (leading zeros are
 * allowed; no sign, no blank, no base prefix). Returns 0 and sets *out, -EINVAL if there is
 * anything but digits, or -ERANGE if the value is outside min..max.
 */
int flowd_integer_parse(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *out);
/*
 * Reads the decimal digits that the text up to end begins with, 19 of them at most. Returns where
 * it stops; NULL: there are none, and *out is unchanged.
 */
const char *flowd_integer_read(const char *text, const char *end, uint64_t *out);
