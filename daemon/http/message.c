/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The llhttp callbacks. A header block is given to llhttp in one piece, so each name and value
 * arrives in one piece too. It is told that no body follows: that is read by the server, whose
 * rules (framing.h, chunks.h) are the same with every version of llhttp.
 */
#include "message.h"

#include <llhttp.h>
#include <strings.h>

#include "framing.h"

/* on_headers_complete() returns it for llhttp not to wait for a body. */
#define HAS_NO_BODY 1

/* A header block that is being parsed. */
struct parse {
    llhttp_t parser;
    const char *head;
    struct flowd_http_message message;
    enum flowd_http_field field; /* the one whose value comes next */
    bool repeated;               /* a field that must be alone came twice */
    bool complete;               /* the whole block has been read */
};

static struct flowd_http_span span_of(const struct parse *parse, const char *at, size_t length)
{
    return (struct flowd_http_span){(uint32_t)(at - parse->head), (uint32_t)length};
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    struct parse *parse = parser->data;

    parse->message.target = span_of(parse, at, length);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t length)
{
    static const struct {
        const char *name;
        size_t length;
        enum flowd_http_field field;
    } known[] = {
        {"host", 4, FLOWD_HTTP_FIELD_HOST},
        {"authorization", 13, FLOWD_HTTP_FIELD_AUTHORIZATION},
        {"content-type", 12, FLOWD_HTTP_FIELD_CONTENT_TYPE},
        {"accept", 6, FLOWD_HTTP_FIELD_ACCEPT},
        {"origin", 6, FLOWD_HTTP_FIELD_ORIGIN},
        {"sec-fetch-site", 14, FLOWD_HTTP_FIELD_FETCH_SITE},
    };
    struct parse *parse = parser->data;

    parse->field = FLOWD_HTTP_FIELD_OTHER;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        unsigned bit = 1u << known[i].field;

        if (known[i].length != length || strncasecmp(known[i].name, at, length) != 0)
            continue;
        if (parse->message.seen & bit) {
            /* A list may come in several lines; its first is enough to choose by. */
            parse->repeated |= known[i].field != FLOWD_HTTP_FIELD_ACCEPT;
            return 0;
        }
        parse->message.seen |= bit;
        parse->field = known[i].field;
    }
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t length)
{
    struct parse *parse = parser->data;

    if (parse->field == FLOWD_HTTP_FIELD_OTHER)
        return 0;
    while (length > 0 && at[length - 1] == ' ')
        length--;
    parse->message.fields[parse->field] = span_of(parse, at, length);
    return 0;
}

static enum flowd_http_method method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return FLOWD_HTTP_GET;
    case HTTP_HEAD:
        return FLOWD_HTTP_HEAD;
    case HTTP_POST:
        return FLOWD_HTTP_POST;
    case HTTP_PUT:
        return FLOWD_HTTP_PUT;
    case HTTP_PATCH:
        return FLOWD_HTTP_PATCH;
    case HTTP_DELETE:
        return FLOWD_HTTP_DELETE;
    case HTTP_OPTIONS:
        return FLOWD_HTTP_OPTIONS;
    default:
        return FLOWD_HTTP_OTHER;
    }
}

static int on_headers_complete(llhttp_t *parser)
{
    struct parse *parse = parser->data;

    /* Offers of another protocol are not taken up (RFC 9110, 7.8): the message is an ordinary one.
     */
    parser->upgrade = 0;
    parse->message.method = method_of(parser->method);
    parse->message.keep_alive = llhttp_should_keep_alive(parser) != 0;
    parse->complete = true;
    return HAS_NO_BODY;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

int flowd_http_message_head(const char *head, size_t length, struct flowd_http_message *out,
                            const char **reason)
{
    struct parse parse = {.head = head};
    llhttp_errno_t result;

    llhttp_init(&parse.parser, HTTP_REQUEST, &settings);
    parse.parser.data = &parse;
    result = llhttp_execute(&parse.parser, head, length);
    if (result == HPE_INVALID_METHOD || result == HPE_PAUSED_H2_UPGRADE) {
        *reason = "the method is not known";
        return 501;
    }
    if (result != HPE_OK || !parse.complete || parse.repeated) {
        *reason = "not a proper request";
        return 400;
    }
    *out = parse.message;
    return FLOWD_HTTP_DONE;
}
