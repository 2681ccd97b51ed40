/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte string with what JSON needs: numbers without printf, escaped strings, and the
 * check whether bytes are UTF-8.
 */
#include "daemon/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/vector.h"

/* Makes room for more bytes. Returns where they go, or NULL if the text has failed. */
static char *reserve(struct flowd_text *text, size_t more)
{
    if (!text->failed &&
        flowd_vector_reserve(&text->data, &text->capacity, text->length + more) < 0)
        text->failed = true;
    return text->failed ? NULL : text->data + text->length;
}

void flowd_text_fini(struct flowd_text *text)
{
    free(text->data);
    *text = (struct flowd_text){0};
}

void flowd_text_clear(struct flowd_text *text)
{
    text->length = 0;
    text->failed = false;
}

void flowd_text_append_slowly(struct flowd_text *text, const char *data, size_t length)
{
    char *place = reserve(text, length);

    if (place == NULL)
        return;
    memcpy(place, data, length);
    text->length += length;
}

void flowd_text_char(struct flowd_text *text, char c)
{
    flowd_text_append(text, &c, 1);
}

void flowd_text_u64(struct flowd_text *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    flowd_text_append(text, digits + at, sizeof(digits) - at);
}

void flowd_text_printf(struct flowd_text *text, const char *format, ...)
{
    va_list arguments, again;
    int length;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length > 0) {
        char *place = reserve(text, (size_t)length + 1);

        if (place != NULL) {
            vsnprintf(place, (size_t)length + 1, format, again);
            text->length += (size_t)length;
        }
    }
    va_end(again);
}

/* RFC 3629, section 4. */
size_t flowd_text_utf8_sequence(const char *bytes, size_t length)
{
    const unsigned char *data = (const unsigned char *)bytes;
    unsigned char low = 0x80, high = 0xbf;
    size_t size;

    if (data[0] < 0x80)
        return 1;
    if (data[0] >= 0xc2 && data[0] <= 0xdf)
        size = 2;
    else if (data[0] >= 0xe0 && data[0] <= 0xef)
        size = 3;
    else if (data[0] >= 0xf0 && data[0] <= 0xf4)
        size = 4;
    else
        return 0;
    if (data[0] == 0xe0)
        low = 0xa0;
    else if (data[0] == 0xed)
        high = 0x9f;
    else if (data[0] == 0xf0)
        low = 0x90;
    else if (data[0] == 0xf4)
        high = 0x8f;
    if (length < size || data[1] < low || data[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (data[i] < 0x80 || data[i] > 0xbf)
            return 0;
    return size;
}

bool flowd_text_is_utf8(const char *data, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t size = flowd_text_utf8_sequence(data + i, length - i);

        if (size == 0)
            return false;
        i += size;
    }
    return true;
}

/* The escape of a byte that may not stand in a JSON string as it is; NULL: it may. */
static const char *json_escape(unsigned char byte, char buffer[static 7])
{
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (byte >= 0x20 && byte != 0x7f)
            return NULL;
        snprintf(buffer, 7, "\\u%04x", byte);
        return buffer;
    }
}

/* Most bytes of most strings. */
static bool is_plain(char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

void flowd_text_json(struct flowd_text *text, const char *string, size_t length)
{
    size_t plain = 0; /* where the bytes that are not yet written begin */
    size_t i = 0;

    flowd_text_char(text, '"');
    while (i < length) {
        char buffer[7];
        const char *instead;
        size_t size = 1;

        if (is_plain(string[i])) {
            i++;
            continue;
        }
        instead = json_escape((unsigned char)string[i], buffer);
        if (instead == NULL) {
            size = flowd_text_utf8_sequence(string + i, length - i);
            if (size > 0) {
                i += size;
                continue;
            }
            instead = "\xef\xbf\xbd";
            size = 1;
        }
        flowd_text_append(text, string + plain, i - plain);
        flowd_text_puts(text, instead);
        i += size;
        plain = i;
    }
    flowd_text_append(text, string + plain, length - plain);
    flowd_text_char(text, '"');
}
