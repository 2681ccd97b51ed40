/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: the status line and headers in front of a body, and the problem documents (RFC 9457)
 * that all errors are.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define BODY_KEPT_MAX ((size_t)1 << 20)

const char *flowd_http_status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Unknown";
}

/* The Date header's line, made once a second. strftime is not used: its names follow the locale. */
static const char *date_line(struct flowd_http_server *server)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct timespec now;
    struct tm parts;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != server->date_s || server->date[0] == '\0') {
        time_t seconds = now.tv_sec;

        gmtime_r(&seconds, &parts);
        snprintf(server->date, sizeof(server->date),
                 "Date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n", days[parts.tm_wday % 7],
                 (unsigned)parts.tm_mday % 100u, months[parts.tm_mon % 12],
                 (unsigned)(parts.tm_year + 1900) % 10000u, (unsigned)parts.tm_hour % 100u,
                 (unsigned)parts.tm_min % 100u, (unsigned)parts.tm_sec % 100u);
        server->date_s = now.tv_sec;
    }
    return server->date;
}

struct flowd_text *flowd_http_body(struct flowd_http_exchange *exchange)
{
    struct flowd_text *body = &flowd_http_connection_of(exchange)->server->body;

    /* One huge answer must not keep its memory for good. */
    if (body->capacity > BODY_KEPT_MAX || flowd_text_failed(body)) {
        flowd_text_fini(body);
        *body = (struct flowd_text){0};
    }
    flowd_text_clear(body);
    return body;
}

void flowd_http_answer_head(struct flowd_http_connection *c, int status, const char *content_type,
                            const char *headers, size_t length)
{
    bool http_1_0 = c->exchange.head.framing.minor == 0;
    struct flowd_text *out = &c->out;

    flowd_text_puts(out, "HTTP/1.1 ");
    flowd_text_u64(out, (uint64_t)status);
    flowd_text_char(out, ' ');
    flowd_text_puts(out, flowd_http_status_phrase(status));
    flowd_text_puts(out, "\r\n");
    flowd_text_puts(out, date_line(c->server));
    flowd_text_puts(out, "Content-Type: ");
    flowd_text_puts(out, content_type);
    if (length != SIZE_MAX) {
        flowd_text_puts(out, "\r\nContent-Length: ");
        flowd_text_u64(out, length);
    } else if (!http_1_0) {
        flowd_text_puts(out, "\r\nTransfer-Encoding: chunked");
    }
    if (c->closing)
        flowd_text_puts(out, "\r\nConnection: close");
    else if (http_1_0)
        flowd_text_puts(out, "\r\nConnection: keep-alive");
    flowd_text_puts(out, "\r\n");
    if (headers != NULL)
        flowd_text_puts(out, headers);
    flowd_text_puts(out, "\r\n");
    c->server->counters.answers[(status / 100) % 6]++;
}

void flowd_http_answer_bytes(struct flowd_http_exchange *exchange, int status,
                             const char *content_type, const char *headers, const char *body,
                             size_t length)
{
    struct flowd_http_connection *c = flowd_http_connection_of(exchange);
    struct flowd_text *out = &c->out;
    size_t begin = out->length;

    if (c->state != FLOWD_HTTP_PENDING)
        return;
    flowd_http_answer_head(c, status, content_type, headers, length);
    if (!exchange->head_only)
        flowd_text_append(out, body, length);
    if (flowd_text_failed(out)) {
        /* Half an answer would be read as something else: rather none. */
        out->length = begin;
        c->closing = true;
    }
    flowd_http_connection_answered(c);
}

void flowd_http_answer(struct flowd_http_exchange *exchange, int status, const char *content_type,
                       const char *headers)
{
    const struct flowd_text *body = &flowd_http_connection_of(exchange)->server->body;

    if (flowd_text_failed(body)) {
        static const char sorry[] = "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\","
                                    "\"status\":503,\"detail\":\"out of memory\"}";

        flowd_http_answer_bytes(exchange, 503, "application/problem+json", NULL, sorry,
                                sizeof(sorry) - 1);
        return;
    }
    flowd_http_answer_bytes(exchange, status, content_type, headers, body->data, body->length);
}

void flowd_http_problem_write(struct flowd_text *text, int status, const char *field,
                              size_t field_length, const char *detail, size_t detail_length,
                              bool open)
{
    flowd_text_puts(text, "{\"type\":\"about:blank\",\"title\":\"");
    flowd_text_puts(text, flowd_http_status_phrase(status));
    flowd_text_puts(text, "\",\"status\":");
    flowd_text_u64(text, (uint64_t)status);
    if (detail != NULL) {
        flowd_text_puts(text, ",\"detail\":");
        flowd_text_json(text, detail, detail_length);
    }
    if (field != NULL && field_length > 0) {
        flowd_text_puts(text, ",\"field\":");
        flowd_text_json(text, field, field_length);
    }
    if (!open)
        flowd_text_char(text, '}');
}

void flowd_http_answer_problem(struct flowd_http_exchange *exchange, int status,
                               const char *headers, const char *field, const char *detail)
{
    struct flowd_text *body = flowd_http_body(exchange);

    flowd_http_problem_write(body, status, field, field != NULL ? strlen(field) : 0, detail,
                             detail != NULL ? strlen(detail) : 0, false);
    flowd_http_answer(exchange, status, "application/problem+json", headers);
}
