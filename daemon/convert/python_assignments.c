/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of Python literals: one assignment a line, or over several lines inside of brackets.
 * After what it does not understand it goes on with the next line.
 */
#include "daemon/convert/python_assignments.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

#define NAME_MAX_LENGTH 63
#define NUMBER_MAX_LENGTH 31
#define DEPTH_MAX 8

struct reader {
    const char *at, *end;
    size_t line;
};

static json_t *read_value(struct reader *reader, unsigned depth);

static bool at_end(const struct reader *reader)
{
    return reader->at == reader->end;
}

static int next_byte(const struct reader *reader)
{
    return at_end(reader) ? -1 : (unsigned char)*reader->at;
}

static void skip_line(struct reader *reader)
{
    while (!at_end(reader) && *reader->at != '\n')
        reader->at++;
}

/* Blanks and a comment; inside of brackets ends of lines, too. */
static void skip_blanks(struct reader *reader, bool in_brackets)
{
    for (;;) {
        int byte = next_byte(reader);

        if (byte == '#') {
            skip_line(reader);
        } else if (byte == ' ' || byte == '\t' || byte == '\r' || (byte == '\n' && in_brackets)) {
            reader->line += byte == '\n';
            reader->at++;
        } else {
            return;
        }
    }
}

static bool take(struct reader *reader, char byte)
{
    if (next_byte(reader) != byte)
        return false;
    reader->at++;
    return true;
}

static bool is_name_byte(int byte, bool first)
{
    return byte == '_' || (byte >= 0 && byte < 128 && (first ? isalpha(byte) : isalnum(byte)));
}

/* Reads a name into buffer. Returns whether there is one that fits. */
static bool read_name(struct reader *reader, char buffer[static NAME_MAX_LENGTH + 1])
{
    size_t length = 0;

    while (is_name_byte(next_byte(reader), length == 0) && length < NAME_MAX_LENGTH)
        buffer[length++] = *reader->at++;
    buffer[length] = '\0';
    return length > 0 && !is_name_byte(next_byte(reader), false);
}

/* What follows a backslash; -1: an escape that configurations have no use for. */
static int escaped(int byte)
{
    switch (byte) {
    case '\\':
    case '\'':
    case '"':
        return byte;
    case 'n':
        return '\n';
    case 't':
        return '\t';
    default:
        return -1;
    }
}

static json_t *read_string(struct reader *reader)
{
    struct flowd_text text = {0};
    int quote = (unsigned char)*reader->at++;
    json_t *value = NULL;

    while (!at_end(reader) && *reader->at != '\n' && *reader->at != quote) {
        int byte = (unsigned char)*reader->at++;
        char put;

        if (byte == '\\') {
            byte = escaped(next_byte(reader));
            if (byte < 0)
                break;
            reader->at++;
        }
        put = (char)byte;
        flowd_text_char(&text, put);
    }
    if (take(reader, (char)quote) && !flowd_text_failed(&text))
        value = json_stringn(text.length > 0 ? text.data : "", text.length);
    flowd_text_fini(&text);
    return value;
}

static json_t *read_number(struct reader *reader)
{
    char text[NUMBER_MAX_LENGTH + 1];
    size_t length = 0;
    char *end;
    long long integer;
    double real;

    while (!at_end(reader) && *reader->at != '\0' &&
           strchr("0123456789+-.eE", *reader->at) != NULL) {
        if (length == NUMBER_MAX_LENGTH)
            return NULL;
        text[length++] = *reader->at++;
    }
    text[length] = '\0';
    if (strpbrk(text, "0123456789") == NULL)
        return NULL;
    errno = 0;
    integer = strtoll(text, &end, 10);
    if (*end == '\0')
        return errno == 0 ? json_integer(integer) : NULL;
    real = strtod(text, &end);
    return *end == '\0' ? json_real(real) : NULL;
}

static json_t *read_word(struct reader *reader)
{
    char name[NAME_MAX_LENGTH + 1];

    if (!read_name(reader, name))
        return NULL;
    /* u'text' is Python 2's, r'text' and b'text' are much the same here. */
    if (strlen(name) == 1 && strchr("urb", name[0]) != NULL &&
        (next_byte(reader) == '\'' || next_byte(reader) == '"'))
        return read_string(reader);
    if (strcmp(name, "True") == 0)
        return json_true();
    if (strcmp(name, "False") == 0)
        return json_false();
    return strcmp(name, "None") == 0 ? json_null() : NULL;
}

/* A list or a tuple; one value in round brackets without a comma is that value. */
static json_t *read_bracketed(struct reader *reader, unsigned depth)
{
    char closing = *reader->at++ == '[' ? ']' : ')';
    bool comma = closing == ']';
    json_t *array = json_array();
    json_t *only;

    skip_blanks(reader, true);
    while (!take(reader, closing)) {
        if (json_array_append_new(array, read_value(reader, depth + 1)) < 0)
            goto refuse;
        skip_blanks(reader, true);
        if (take(reader, ','))
            comma = true;
        else if (next_byte(reader) != closing)
            goto refuse;
        skip_blanks(reader, true);
    }
    if (comma || json_array_size(array) != 1)
        return array;
    only = json_incref(json_array_get(array, 0));
    json_decref(array);
    return only;
refuse:
    json_decref(array);
    return NULL;
}

/* Returns owned, NULL: not understood. */
static json_t *read_value(struct reader *reader, unsigned depth)
{
    int byte = next_byte(reader);

    if (depth > DEPTH_MAX)
        return NULL;
    if (byte == '\'' || byte == '"')
        return read_string(reader);
    if (byte == '[' || byte == '(')
        return read_bracketed(reader, depth);
    return is_name_byte(byte, true) ? read_word(reader) : read_number(reader);
}

/* The right side: one value, or several with commas, which is a tuple. */
static json_t *read_right_side(struct reader *reader)
{
    json_t *value = read_value(reader, 0);
    json_t *tuple;

    skip_blanks(reader, false);
    if (value == NULL || next_byte(reader) != ',')
        return value;
    tuple = json_array();
    json_array_append_new(tuple, value);
    while (take(reader, ',')) {
        skip_blanks(reader, false);
        if (at_end(reader) || next_byte(reader) == '\n')
            break;
        if (json_array_append_new(tuple, read_value(reader, 0)) < 0) {
            json_decref(tuple);
            return NULL;
        }
        skip_blanks(reader, false);
    }
    return tuple;
}

/* Reads one assignment into object. Returns whether it was understood. */
static bool read_assignment(struct reader *reader, json_t *object)
{
    char name[NAME_MAX_LENGTH + 1];
    json_t *value;

    if (!read_name(reader, name))
        return false;
    skip_blanks(reader, false);
    if (!take(reader, '='))
        return false;
    skip_blanks(reader, false);
    value = read_right_side(reader);
    skip_blanks(reader, false);
    if (value == NULL || !(at_end(reader) || next_byte(reader) == '\n')) {
        json_decref(value);
        return false;
    }
    return json_object_set_new(object, name, value) == 0;
}

json_t *flowd_python_parse(const char *text, size_t length, struct flowd_messages *notes)
{
    struct reader reader = {.at = text, .end = text + length, .line = 1};
    json_t *object = json_object();

    while (object != NULL && !at_end(&reader)) {
        size_t line = reader.line;

        skip_blanks(&reader, false);
        if (!at_end(&reader) && *reader.at != '\n' && !read_assignment(&reader, object)) {
            flowd_messages_add(notes, "line %zu: is not NAME = VALUE, left out", line);
            skip_line(&reader);
        }
        if (take(&reader, '\n'))
            reader.line++;
    }
    return object;
}
