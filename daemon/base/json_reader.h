/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pull reader for JSON (RFC 8259) in memory: the caller asks for the next member, element or
 * value. It keeps no tree and allocates nothing, which is what lets one core take arrays of events
 * at some hundred thousand events a second.
 *
 * Strings are decoded in place, where the text is the reader's to change; else they are left as
 * they stand, and who needs one decodes it (flowd_json_unescape).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flowd_json_kind {
    FLOWD_JSON_NULL,
    FLOWD_JSON_FALSE,
    FLOWD_JSON_TRUE,
    FLOWD_JSON_INTEGER, /* no fraction, no exponent, at most 18 digits */
    FLOWD_JSON_NUMBER,  /* any other number */
    FLOWD_JSON_STRING,
    FLOWD_JSON_OBJECT, /* its members come next */
    FLOWD_JSON_ARRAY,  /* its elements come next */
};
#define FLOWD_JSON_KINDS 8
/* "null", "a boolean", ... for messages. */
extern const char *const flowd_json_kind_names[FLOWD_JSON_KINDS];

struct flowd_json_value {
    enum flowd_json_kind kind;
    int64_t integer;
    const char *text; /* of a string without its quotes, or of a number, not NUL-terminated; of
                         another value where it begins */
    size_t length;    /* of a string or a number */
    bool escaped;     /* a string that has escapes, which were left in it */
};

struct flowd_json {
    const char *at;
    const char *end;
    const char *text;
    char *writable; /* the same bytes; NULL: they are not to be changed */
    const char *line_start;
    unsigned line;
    unsigned depth;
    const char *error;       /* static text; NULL: none */
    const char *error_field; /* static: the member that is wrong; NULL: none is */
    unsigned error_line;
    unsigned error_column; /* counted in bytes, from 1 */
};

/* text (borrowed) must stay there as long as json and what was read from it are used. */
void flowd_json_begin(struct flowd_json *json, char *text, size_t length);
/* The same for a text that stays as it is: strings come with their escapes. */
void flowd_json_begin_const(struct flowd_json *json, const char *text, size_t length);

/* Reads a value; of an object or array only its opening. Returns 0 or -EBADMSG. */
int flowd_json_value(struct flowd_json *json, struct flowd_json_value *value);
/* In an object: 1 and the next member's name, its value comes next; 0 at the end; -EBADMSG. */
int flowd_json_member(struct flowd_json *json, bool first, struct flowd_json_value *name);
/* In an array: 1, and an element comes next; 0 at the end; -EBADMSG. */
int flowd_json_element(struct flowd_json *json, bool first);
/* flowd_json_skip() of an object or array. */
int flowd_json_skip_rest(struct flowd_json *json, const struct flowd_json_value *value);
/* Passes over the rest of a value that flowd_json_value() has just read. Returns 0 or -EBADMSG. */
static inline int flowd_json_skip(struct flowd_json *json, const struct flowd_json_value *value)
{
    bool closed = value->kind != FLOWD_JSON_OBJECT && value->kind != FLOWD_JSON_ARRAY;

    return closed ? 0 : flowd_json_skip_rest(json, value);
}
/* Decodes a string that has its escapes into buffer, which holds value->length bytes. Returns the
 * length of what it stands for. */
size_t flowd_json_unescape(const struct flowd_json_value *value, char *buffer);
/* A member that may be there once was there twice. field is static text. Returns -EBADMSG. */
int flowd_json_repeated(struct flowd_json *json, const char *field);
/* Nothing but blanks may follow. Returns 0 or -EBADMSG. */
int flowd_json_finish(struct flowd_json *json);
