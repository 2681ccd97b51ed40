/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes text from elsewhere fit for a terminal. Terminals obey control characters: C0, DEL and C1,
 * the latter also where UTF-8 encodes them.
 */
#include "printable.h"

#include <stdbool.h>
#include <string.h>

static bool is_control(const char *at, size_t length)
{
    unsigned char first = (unsigned char)at[0];

    if (length == 1)
        return first < ' ' || first == 0x7f;
    /* U+0080 to U+009F */
    return length == 2 && first == 0xc2 && (unsigned char)at[1] < 0xa0;
}

size_t printable_append(struct flowd_text *text, const char *string, size_t columns)
{
    size_t left = strlen(string);
    size_t count = 0;

    for (; left > 0 && count < columns; count++) {
        size_t length = flowd_text_utf8_sequence(string, left);

        if (length == 0 || is_control(string, length))
            flowd_text_char(text, '?');
        else
            flowd_text_append(text, string, length);
        length = length > 0 ? length : 1;
        string += length;
        left -= length;
    }
    return count;
}
