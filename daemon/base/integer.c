/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decimal integers, read strictly: every number that a user or a peer writes goes through here, so
 * that no two places differ in what they take for one.
 */
#include "daemon/base/integer.h"

#include <errno.h>
#include <stdbool.h>

#define DIGITS_MAX 20
/* So many can't be too much for 64 bits. */
#define DIGITS_READ 19

int flowd_integer_parse(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    bool over = len > DIGITS_MAX;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';

        if (digit > 9)
            return -EINVAL;
        over |= __builtin_mul_overflow(value, 10u, &value);
        over |= __builtin_add_overflow(value, digit, &value);
    }
    if (over || value < min || value > max)
        return -ERANGE;
    *out = value;
    return 0;
}

const char *flowd_integer_read(const char *text, const char *end, uint64_t *out)
{
    const char *at = text;
    uint64_t value = 0;

    if (end - text > DIGITS_READ)
        end = text + DIGITS_READ;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    if (at == text)
        return NULL;
    *out = value;
    return at;
}
