/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decimal integers, read strictly: every number that a user or a peer writes goes through here, so
 * that no two places differ in what they take for one.
 */
#include "daemon/base/integer.h"

#include <errno.h>

#define DIGITS_MAX 20

int flowd_integer_parse(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
    if (len > DIGITS_MAX)
        return -ERANGE;
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    if (value < min || value > max)
        return -ERANGE;
    *out = value;
    return 0;
}
