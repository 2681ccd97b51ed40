/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON pull reader. Strict: no comments, no trailing commas, no leading zeros, UTF-8 only, and
 * a bounded depth, so that nesting costs neither stack nor time. Strings and blanks, most of any
 * text, are gone through eight bytes at a time.
 */
#include "daemon/base/json_reader.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "daemon/base/integer.h"
#include "daemon/base/text.h"

#define DEPTH_MAX 32
#define INTEGER_DIGITS 18 /* so many fit in any case; no field of an event needs more */

/* Eight bytes of this value. */
#define EIGHT(byte) (UINT64_C(0x0101010101010101) * (unsigned char)(byte))

const char *const flowd_json_kind_names[FLOWD_JSON_KINDS] = {
    "null", "a boolean", "a boolean", "an integer", "a number", "a string", "an object", "an array",
};

static int fail(struct flowd_json *json, const char *error)
{
    if (json->error == NULL) {
        json->error = error;
        json->error_line = json->line;
        json->error_column = (unsigned)(json->at - json->line_start) + 1;
    }
    return -EBADMSG;
}

static bool has_eight(const struct flowd_json *json)
{
    return json->end - json->at >= 8;
}

/* The next eight bytes, the first one lowest. */
static uint64_t eight_bytes(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

static void skip_many_blanks(struct flowd_json *json)
{
    for (; json->at < json->end; json->at++) {
        while (has_eight(json) && eight_bytes(json->at) == EIGHT(' '))
            json->at += 8;
        if (json->at == json->end)
            return;
        if (*json->at == '\n') {
            json->line++;
            json->line_start = json->at + 1;
        } else if (*json->at != ' ' && *json->at != '\t' && *json->at != '\r') {
            return;
        }
    }
}

static inline void skip_blanks(struct flowd_json *json)
{
    if (json->at < json->end && (unsigned char)*json->at <= ' ')
        skip_many_blanks(json);
}

void flowd_json_begin_const(struct flowd_json *json, const char *text, size_t length)
{
    *json = (struct flowd_json){
        .at = text,
        .end = text + length,
        .text = text,
        .line_start = text,
        .line = 1,
    };
}

void flowd_json_begin(struct flowd_json *json, char *text, size_t length)
{
    flowd_json_begin_const(json, text, length);
    json->writable = text;
}

static int hex4(const char *text, unsigned *out)
{
    unsigned value = 0;

    for (int i = 0; i < 4; i++) {
        char c = text[i];

        if (c >= '0' && c <= '9')
            value = value * 16 + (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            value = value * 16 + (unsigned)(c - 'A') + 10;
        else
            return -EBADMSG;
    }
    *out = value;
    return 0;
}

static size_t encode_utf8(char *to, unsigned point)
{
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (char)(0xc0 | point >> 6);
        to[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (char)(0xe0 | point >> 12);
        to[1] = (char)(0x80 | (point >> 6 & 0x3f));
        to[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | point >> 18);
    to[1] = (char)(0x80 | (point >> 12 & 0x3f));
    to[2] = (char)(0x80 | (point >> 6 & 0x3f));
    to[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

/* json->at is at the "u". Writes the character to *to, which moves on. */
static int read_unicode_escape(struct flowd_json *json, char **to)
{
    unsigned point;
    unsigned low;

    if (json->end - json->at < 5 || hex4(json->at + 1, &point) != 0)
        return fail(json, "a \\u escape without four hexadecimal digits");
    json->at += 5;
    if (point >= 0xdc00 && point <= 0xdfff)
        return fail(json, "half of a surrogate pair");
    if (point >= 0xd800 && point <= 0xdbff) {
        if (json->end - json->at < 6 || json->at[0] != '\\' || json->at[1] != 'u' ||
            hex4(json->at + 2, &low) != 0 || low < 0xdc00 || low > 0xdfff)
            return fail(json, "half of a surrogate pair");
        json->at += 6;
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    *to += encode_utf8(*to, point);
    return 0;
}

/* json->at is behind the backslash. What an escape stands for is never longer than the escape. */
static int read_escape(struct flowd_json *json, char **to)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter;

    if (json->at == json->end)
        return fail(json, "a string without its end");
    if (*json->at == 'u')
        return read_unicode_escape(json, to);
    letter = *json->at != '\0' ? strchr(letters, *json->at) : NULL;
    if (letter == NULL)
        return fail(json, "an unknown escape in a string");
    *(*to)++ = meanings[letter - letters];
    json->at++;
    return 0;
}

/*
 * The high bit of each byte that ends a stretch of plain ones: below 0x20, a quote, a backslash. A
 * subtraction borrows from higher bytes only, so the lowest bit that is set is right.
 */
static uint64_t ends_in(uint64_t word)
{
    uint64_t quote = word ^ EIGHT('"');
    uint64_t backslash = word ^ EIGHT('\\');

    return (((word - EIGHT(0x20)) & ~word) | ((quote - EIGHT(1)) & ~quote) |
            ((backslash - EIGHT(1)) & ~backslash)) &
           EIGHT(0x80);
}

/* Passes over bytes of a string that stand for themselves. Returns how many there are; what they
 * are is added to *all. */
static size_t skip_plain(struct flowd_json *json, uint64_t *all)
{
    const char *begin = json->at;

    while (has_eight(json)) {
        uint64_t word = eight_bytes(json->at);
        uint64_t ends = ends_in(word);

        if (ends != 0) {
            int plain = __builtin_ctzll(ends) / 8;

            *all |= word & ((UINT64_C(1) << 8 * plain) - 1);
            json->at += plain;
            return (size_t)(json->at - begin);
        }
        *all |= word;
        json->at += 8;
    }
    while (json->at < json->end && *json->at != '"' && *json->at != '\\' &&
           (unsigned char)*json->at >= 0x20)
        *all |= (unsigned char)*json->at++;
    return (size_t)(json->at - begin);
}

/* One escape, decoded to *to, which moves on; NULL: only looked at. */
static int take_escape(struct flowd_json *json, char **to)
{
    char unused[4];
    char *spare = unused;

    json->at++;
    return read_escape(json, *to != NULL ? to : &spare);
}

/* The rest of a string whose first plain bytes, from begin on, have been passed over. */
static int read_escapes(struct flowd_json *json, const char *begin, struct flowd_json_value *value,
                        uint64_t *all)
{
    char *decoded = json->writable != NULL ? json->writable + (begin - json->text) : NULL;
    char *to = decoded != NULL ? decoded + (json->at - begin) : NULL;

    while (json->at < json->end && *json->at == '\\') {
        const char *plain;
        size_t length;

        value->escaped = to == NULL;
        if (take_escape(json, &to) != 0)
            return -EBADMSG;
        plain = json->at;
        length = skip_plain(json, all);
        if (to != NULL) {
            memmove(to, plain, length);
            to += length;
        }
    }
    if (json->at == json->end)
        return fail(json, "a string without its end");
    if (*json->at != '"')
        return fail(json, "a control character in a string");
    value->length = (size_t)(to != NULL ? to - decoded : json->at - begin);
    return 0;
}

/* json->at is behind the opening quote. */
static int read_string(struct flowd_json *json, struct flowd_json_value *value)
{
    const char *begin = json->at;
    uint64_t all = 0;

    value->escaped = false;
    value->length = skip_plain(json, &all);
    if ((json->at == json->end || *json->at != '"') && read_escapes(json, begin, value, &all) != 0)
        return -EBADMSG;
    json->at++;
    value->kind = FLOWD_JSON_STRING;
    value->text = begin;
    if ((all & EIGHT(0x80)) != 0 && !flowd_text_is_utf8(value->text, value->length))
        return fail(json, "a string that is not UTF-8");
    return 0;
}

size_t flowd_json_unescape(const struct flowd_json_value *value, char *buffer)
{
    struct flowd_json json;
    uint64_t all = 0;
    char *to = buffer;

    flowd_json_begin_const(&json, value->text, value->length);
    for (;;) {
        const char *plain = json.at;
        size_t length = skip_plain(&json, &all);

        memcpy(to, plain, length);
        to += length;
        if (json.at == json.end || *json.at != '\\' || take_escape(&json, &to) != 0)
            return (size_t)(to - buffer);
    }
}

static bool at_digit(const struct flowd_json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

static bool take(struct flowd_json *json, char c)
{
    if (json->at == json->end || *json->at != c)
        return false;
    json->at++;
    return true;
}

static int read_digits(struct flowd_json *json)
{
    if (!at_digit(json))
        return fail(json, "a number without a digit where one belongs");
    while (at_digit(json))
        json->at++;
    return 0;
}

/* The digits in front of a point. Of more than flowd_integer_read() reads, *number means nothing.
 */
static int read_whole(struct flowd_json *json, uint64_t *number)
{
    const char *stop = flowd_integer_read(json->at, json->end, number);

    if (stop == NULL)
        return read_digits(json); /* which says so */
    json->at = stop;
    while (at_digit(json))
        json->at++;
    return 0;
}

static int read_number(struct flowd_json *json, struct flowd_json_value *value)
{
    const char *begin = json->at;
    bool negative = take(json, '-');
    const char *digits = json->at;
    uint64_t number = 0;
    bool whole;

    if (read_whole(json, &number) != 0)
        return -EBADMSG;
    if (*digits == '0' && json->at - digits > 1)
        return fail(json, "a number with leading zeros");
    whole = json->at - digits <= INTEGER_DIGITS;
    value->integer = !whole ? 0 : negative ? -(int64_t)number : (int64_t)number;
    if (take(json, '.')) {
        whole = false;
        if (read_digits(json) != 0)
            return -EBADMSG;
    }
    if (take(json, 'e') || take(json, 'E')) {
        whole = false;
        if (!take(json, '+'))
            take(json, '-');
        if (read_digits(json) != 0)
            return -EBADMSG;
    }
    value->kind = whole ? FLOWD_JSON_INTEGER : FLOWD_JSON_NUMBER;
    value->text = begin;
    value->length = (size_t)(json->at - begin);
    return 0;
}

static int read_word(struct flowd_json *json, const char *word, enum flowd_json_kind kind,
                     struct flowd_json_value *value)
{
    size_t length = strlen(word);

    if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0)
        return fail(json, "a value was expected here");
    value->text = json->at;
    json->at += length;
    value->kind = kind;
    return 0;
}

static int open_container(struct flowd_json *json, enum flowd_json_kind kind,
                          struct flowd_json_value *value)
{
    if (json->depth == DEPTH_MAX)
        return fail(json, "too deeply nested");
    json->depth++;
    value->text = json->at++;
    value->kind = kind;
    return 0;
}

int flowd_json_value(struct flowd_json *json, struct flowd_json_value *value)
{
    skip_blanks(json);
    if (json->at == json->end)
        return fail(json, "the text ends where a value was expected");
    switch (*json->at) {
    case '"':
        json->at++;
        return read_string(json, value);
    case '{':
        return open_container(json, FLOWD_JSON_OBJECT, value);
    case '[':
        return open_container(json, FLOWD_JSON_ARRAY, value);
    case 't':
        return read_word(json, "true", FLOWD_JSON_TRUE, value);
    case 'f':
        return read_word(json, "false", FLOWD_JSON_FALSE, value);
    case 'n':
        return read_word(json, "null", FLOWD_JSON_NULL, value);
    default:
        if (*json->at == '-' || at_digit(json))
            return read_number(json, value);
        return fail(json, "a value was expected here");
    }
}

/* The "," or the closing bracket in front of a member or element. Returns 1, 0 at the end. */
static int next_item(struct flowd_json *json, bool first, char close)
{
    skip_blanks(json);
    if (take(json, close)) {
        json->depth--;
        return 0;
    }
    if (first)
        return 1;
    if (!take(json, ','))
        return fail(json, close == '}' ? "\",\" or \"}\" was expected here"
                                       : "\",\" or \"]\" was expected here");
    return 1;
}

int flowd_json_member(struct flowd_json *json, bool first, struct flowd_json_value *name)
{
    int result = next_item(json, first, '}');

    if (result <= 0)
        return result;
    skip_blanks(json);
    if (!take(json, '"'))
        return fail(json, "a member name was expected here");
    if (read_string(json, name) != 0)
        return -EBADMSG;
    skip_blanks(json);
    if (!take(json, ':'))
        return fail(json, "\":\" was expected here");
    return 1;
}

int flowd_json_element(struct flowd_json *json, bool first)
{
    return next_item(json, first, ']');
}

int flowd_json_skip_rest(struct flowd_json *json, const struct flowd_json_value *value)
{
    bool object[DEPTH_MAX]; /* what each open level is */
    bool first = true;
    unsigned open = 0;

    object[open++] = value->kind == FLOWD_JSON_OBJECT;
    while (open > 0) {
        struct flowd_json_value item;
        int result = object[open - 1] ? flowd_json_member(json, first, &item)
                                      : flowd_json_element(json, first);

        if (result < 0)
            return result;
        first = false;
        if (result == 0) {
            open--;
            continue;
        }
        if (flowd_json_value(json, &item) != 0)
            return -EBADMSG;
        if (item.kind == FLOWD_JSON_OBJECT || item.kind == FLOWD_JSON_ARRAY) {
            object[open++] = item.kind == FLOWD_JSON_OBJECT; /* at most DEPTH_MAX: json->depth */
            first = true;
        }
    }
    return 0;
}

int flowd_json_repeated(struct flowd_json *json, const char *field)
{
    json->error_field = field;
    return fail(json, "a member is there twice");
}

int flowd_json_finish(struct flowd_json *json)
{
    skip_blanks(json);
    return json->at == json->end ? 0 : fail(json, "more text behind the value");
}
