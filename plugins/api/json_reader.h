/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pull reader for JSON (RFC 8259) in memory: the caller asks for the next member, element or
 * value. It keeps no tree and allocates nothing, which is what lets one core take arrays of events
 * at some hundred thousand events a second.
 *
 * Strings are decoded in place, so the text must be writable and is changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum api_json_kind {
    API_JSON_NULL,
    API_JSON_FALSE,
    API_JSON_TRUE,
    API_JSON_INTEGER, /* no fraction, no exponent, at most 18 digits */
    API_JSON_NUMBER,  /* any other number */
    API_JSON_STRING,
    API_JSON_OBJECT, /* its members come next */
    API_JSON_ARRAY,  /* its elements come next */
};
#define API_JSON_KINDS 8
/* "null", "a boolean", ... for messages. */
extern const char *const api_json_kind_names[API_JSON_KINDS];

struct api_json_value {
    enum api_json_kind kind;
    int64_t integer;
    const char *text; /* of a string (decoded) or of a number, not NUL-terminated */
    size_t length;
};

struct api_json {
    char *at;
    char *end;
    char *line_start;
    unsigned line;
    unsigned depth;
    const char *error;       /* static text; NULL: none */
    const char *error_field; /* static: the member that is wrong; NULL: none is */
    unsigned error_line;
    unsigned error_column; /* counted in bytes, from 1 */
};

void api_json_begin(struct api_json *json, char *text, size_t length);

/* Reads a value; of an object or array only its opening. Returns 0 or -EBADMSG. */
int api_json_value(struct api_json *json, struct api_json_value *value);
/* In an object: 1 and the next member's name, its value comes next; 0 at the end; -EBADMSG. */
int api_json_member(struct api_json *json, bool first, struct api_json_value *name);
/* In an array: 1, and an element comes next; 0 at the end; -EBADMSG. */
int api_json_element(struct api_json *json, bool first);
/* Passes over the rest of a value that api_json_value() has just read. Returns 0 or -EBADMSG. */
int api_json_skip(struct api_json *json, const struct api_json_value *value);
/* A member that may be there once was there twice. field is static text. Returns -EBADMSG. */
int api_json_repeated(struct api_json *json, const char *field);
/* Nothing but blanks may follow. Returns 0 or -EBADMSG. */
int api_json_finish(struct api_json *json);
