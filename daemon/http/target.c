/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query strings of request targets: cut at "&" and "=", then decoded, in this order, so that an
 * encoded "&" is data.
 */
#include "target.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "framing.h"

int flowd_http_percent_decode(struct flowd_http_slice text, char *buffer, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];

        if (c == '%') {
            bool complete = text.length - i > 2;
            int high = complete ? flowd_http_hex_digit(text.data[i + 1]) : -1;
            int low = complete ? flowd_http_hex_digit(text.data[i + 2]) : -1;

            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return -EINVAL;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (used + 1 >= size)
            return -E2BIG;
        buffer[used++] = c;
    }
    if (size == 0)
        return -E2BIG;
    buffer[used] = '\0';
    return (int)used;
}

int flowd_http_query_next(struct flowd_http_slice *query, struct flowd_http_slice *name,
                          struct flowd_http_slice *value)
{
    while (query->length > 0) {
        const char *part = query->data;
        const char *end = memchr(part, '&', query->length);
        size_t length = end != NULL ? (size_t)(end - part) : query->length;
        size_t taken = end != NULL ? length + 1 : length;
        const char *equals;

        query->data += taken;
        query->length -= taken;
        if (length == 0)
            continue;
        equals = memchr(part, '=', length);
        name->data = part;
        name->length = equals != NULL ? (size_t)(equals - part) : length;
        value->data = equals != NULL ? equals + 1 : part + length;
        value->length = equals != NULL ? length - name->length - 1 : 0;
        return 1;
    }
    return 0;
}
