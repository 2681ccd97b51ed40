/*
 * One request through llhttp: the header fields that flowd needs, the body without its chunks, and
 * whether the connection lives on. The bytes have passed the framing checker (framing.h) before.
 */
#pragma once

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flowd_http_field {
    FLOWD_HTTP_FIELD_OTHER,
    FLOWD_HTTP_FIELD_HOST,
    FLOWD_HTTP_FIELD_AUTHORIZATION,
    FLOWD_HTTP_FIELD_CONTENT_TYPE,
    FLOWD_HTTP_FIELD_ACCEPT,
};
#define FLOWD_HTTP_FIELDS 5

/* A place in the header block, counted from its first byte, so that the buffer may move. */
struct flowd_http_span {
    uint32_t at;
    uint32_t length;
};

struct flowd_http_message {
    llhttp_t parser;
    const char *head; /* while the header block is parsed; NULL afterwards */
    struct flowd_http_span target;
    struct flowd_http_span fields[FLOWD_HTTP_FIELDS];
    unsigned seen; /* bit per enum flowd_http_field */
    uint8_t field; /* the one whose value comes next */
    bool repeated; /* a field that must be alone came twice */
    bool complete;
    bool keep_alive;
    char *body; /* where the next content goes */
    size_t body_length;
};

/* Parses a whole header block. Returns 0, or the HTTP status of the refusal: 400 or 501. */
int flowd_http_message_head(struct flowd_http_message *message, const char *head, size_t length);

/*
 * Parses bytes of the body, chunks and all, and moves the content to message->body, which may be
 * data itself or lie before it. Returns 0 or 400.
 */
int flowd_http_message_body(struct flowd_http_message *message, const char *data, size_t length);
