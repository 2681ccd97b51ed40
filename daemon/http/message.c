/*
 * The llhttp callbacks. A header block is given to llhttp in one piece, so each name and value
 * arrives in one piece too. It is told that no body follows: that is read by the server, whose
 * rules (framing.h, chunks.h) are the same with every version of llhttp.
 */
#include "message.h"

#include "framing.h"

#include <string.h>
#include <strings.h>

/* on_headers_complete() returns it for llhttp not to wait for a body. */
#define HAS_NO_BODY 1

static struct flowd_http_message *message_of(llhttp_t *parser)
{
    return parser->data;
}

static struct flowd_http_span span_of(const struct flowd_http_message *message, const char *at,
                                      size_t length)
{
    return (struct flowd_http_span){(uint32_t)(at - message->head), (uint32_t)length};
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    struct flowd_http_message *message = message_of(parser);

    if (message->head != NULL)
        message->target = span_of(message, at, length);
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
    struct flowd_http_message *message = message_of(parser);

    message->field = FLOWD_HTTP_FIELD_OTHER;
    if (message->head == NULL)
        return 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        unsigned bit = 1u << known[i].field;

        if (known[i].length != length || strncasecmp(known[i].name, at, length) != 0)
            continue;
        if (message->seen & bit) {
            /* A list may come in several lines; its first is enough to choose by. */
            message->repeated |= known[i].field != FLOWD_HTTP_FIELD_ACCEPT;
            return 0;
        }
        message->seen |= bit;
        message->field = (uint8_t)known[i].field;
    }
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t length)
{
    struct flowd_http_message *message = message_of(parser);

    if (message->head == NULL || message->field == FLOWD_HTTP_FIELD_OTHER)
        return 0;
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    message->fields[message->field] = span_of(message, at, length);
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct flowd_http_message *message = message_of(parser);

    /* Offers of another protocol are not taken up (RFC 9110, 7.8): the message is an ordinary one.
     */
    parser->upgrade = 0;
    message->keep_alive = llhttp_should_keep_alive(parser) != 0;
    message->complete = true;
    return HAS_NO_BODY;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

int flowd_http_message_head(struct flowd_http_message *message, const char *head, size_t length,
                            const char **reason)
{
    llhttp_errno_t result;

    *message = (struct flowd_http_message){.head = head};
    llhttp_init(&message->parser, HTTP_REQUEST, &settings);
    message->parser.data = message;
    result = llhttp_execute(&message->parser, head, length);
    message->head = NULL;
    if (result == HPE_INVALID_METHOD || result == HPE_PAUSED_H2_UPGRADE) {
        *reason = "the method is not known";
        return 501;
    }
    if (result != HPE_OK || !message->complete || message->repeated) {
        *reason = "not a proper request";
        return 400;
    }
    return FLOWD_HTTP_DONE;
}
