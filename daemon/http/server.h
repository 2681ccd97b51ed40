/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server on the reactor: listeners on TCP and unix sockets, keep-alive and
 * pipelining, strict framing (framing.h), limits and timeouts. What is served is the handler's.
 *
 * A handler answers a request at once or later; a connection has one request under way at a time.
 * Everything runs on the loop's thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/error.h"
#include "daemon/base/text.h"
#include "daemon/http/target.h"

struct ev_loop;
struct flowd_counter_sink;
struct flowd_http_server;
/* One request that is to be answered once. */
struct flowd_http_exchange;

#define FLOWD_HTTP_CONNECTIONS_MAX 1024
#define FLOWD_HTTP_HEAD_MAX 16384             /* bytes of a header block */
#define FLOWD_HTTP_BODY_MAX ((size_t)4 << 20) /* bytes of a body */

enum flowd_http_method {
    FLOWD_HTTP_GET,
    FLOWD_HTTP_HEAD,
    FLOWD_HTTP_POST,
    FLOWD_HTTP_PUT,
    FLOWD_HTTP_PATCH,
    FLOWD_HTTP_DELETE,
    FLOWD_HTTP_OPTIONS,
    FLOWD_HTTP_OTHER,
};

/* All of it is good until handle() or admit() returns. Fields that were not sent are empty. */
struct flowd_http_request {
    enum flowd_http_method method;
    struct flowd_http_slice path;  /* as sent, still percent-encoded */
    struct flowd_http_slice query; /* behind the "?" */
    struct flowd_http_slice host;  /* of the target or of the Host header */
    struct flowd_http_slice authorization;
    struct flowd_http_slice content_type;
    struct flowd_http_slice accept;     /* its first line */
    struct flowd_http_slice origin;     /* of the page that a browser sends it for */
    struct flowd_http_slice fetch_site; /* Sec-Fetch-Site */
    char *body;                         /* may be changed in place; NULL in admit() */
    size_t body_length;
    bool foreign; /* names a host that is not this machine, at an address for this machine only */
    bool encoded; /* the body has a Content-Encoding other than identity */
    bool local;   /* came over a unix socket */
};

struct flowd_http_handler {
    /*
     * Asked before a body that has not arrived yet is waited for, so that nobody has to be listened
     * to who would be refused anyway. False: it has answered, and the connection will close.
     */
    bool (*admit)(void *context, struct flowd_http_exchange *exchange,
                  const struct flowd_http_request *request);
    /* Answers, or keeps exchange and answers later. */
    void (*handle)(void *context, struct flowd_http_exchange *exchange,
                   const struct flowd_http_request *request);
    /* The connection is gone: exchange must not be used any more. Only for kept exchanges. */
    void (*cancel)(void *context, struct flowd_http_exchange *exchange);
};

/*
 * A body that is made while it is sent, part by part: a large one never stands in memory as a
 * whole, and never holds up the loop. Embedded in what makes it.
 */
struct flowd_http_stream {
    /*
     * Appends the next part of the body, some ten KiB or nothing, to out, in which other bytes
     * stand before it. Returns 1: there is more; 0: that was the last; -errno: the rest can't be
     * made, and the connection is reset in the middle of the body, which the client sees.
     */
    int (*produce)(struct flowd_http_stream *stream, struct flowd_text *out);
    /* The stream is not used any more. Called once, sooner or later. */
    void (*release)(struct flowd_http_stream *stream);
};

struct flowd_http_counters {
    uint64_t connections; /* accepted since the start */
    uint64_t answers[6];  /* by class: [2] is 2xx */
    uint64_t rejected;    /* requests that were no proper HTTP or over a limit */
    uint64_t refused;     /* connections past FLOWD_HTTP_CONNECTIONS_MAX */
    uint64_t timeouts;
};

/*
 * name is for the log (static); metrics have what stands behind its last dot. handler and context
 * outlive the server. Returns 0 and *out (owned), or -errno.
 */
int flowd_http_server_new(struct ev_loop *loop, const char *name,
                          const struct flowd_http_handler *handler, void *context,
                          struct flowd_http_server **out, struct flowd_error *err);
/* Lets no more than so many connections be open, FLOWD_HTTP_CONNECTIONS_MAX or less. */
void flowd_http_server_limit(struct flowd_http_server *server, unsigned connections);
/* Sends what the sockets take without waiting, closes everything and cancels what is pending. */
void flowd_http_server_free(struct flowd_http_server *server);

/*
 * Listens on a numeric address; "::" takes both families. Returns 0, or -errno for what can never
 * work. Where it cannot listen yet (the address is not this machine's, another program has the
 * port), it says so in the log and tries again until it can: who is served must not stop what flowd
 * is for.
 */
int flowd_http_server_listen(struct flowd_http_server *server, const char *address, uint16_t port,
                             struct flowd_error *err);
/*
 * The same on a unix socket with these permission bits and group ("": leave it). A socket file that
 * nobody listens on is replaced; anything else at path stays, and is in the way.
 */
int flowd_http_server_listen_unix(struct flowd_http_server *server, const char *path, mode_t mode,
                                  const char *group, struct flowd_error *err);
/* 0 if it listens wherever it was told to; else -EAGAIN with the reason. */
int flowd_http_server_ready(const struct flowd_http_server *server, struct flowd_error *err);

/* Listens on a listening socket that is there (taken, also on failure): its name is for users, and
 * its file, if it is a unix socket (local), is left alone. Returns 0 or -errno. */
int flowd_http_server_adopt(struct flowd_http_server *server, int fd, const char *name, bool local,
                            struct flowd_error *err);

/* Whether other hosts can reach it over TCP where it listens. */
bool flowd_http_server_is_public(const struct flowd_http_server *server);

/* The n-th place to listen at as users write it ("127.0.0.1:7777" or a path); NULL: there is none.
 */
const char *flowd_http_server_listener(const struct flowd_http_server *server, unsigned n);
/* Adds to a module's status where it listens, and where it does not yet and why. */
void flowd_http_server_listeners(const struct flowd_http_server *server, json_t *object);
const struct flowd_http_counters *
flowd_http_server_counters(const struct flowd_http_server *server);
unsigned flowd_http_server_connections(const struct flowd_http_server *server);
/* The buffers of all connections hold so much that large answers should wait (503). */
bool flowd_http_server_crowded(const struct flowd_http_server *server);
/* Puts the server's counters; as metrics they have its name as the label "server". */
void flowd_http_server_count(const struct flowd_http_server *server,
                             const struct flowd_counter_sink *sink);

/*
 * The text that the next answer will have as its body, emptied. It belongs to the server, so it is
 * filled and sent (flowd_http_answer) before anybody else gets to run.
 */
struct flowd_text *flowd_http_body(struct flowd_http_exchange *exchange);

/* Answers with the text of flowd_http_body(). headers: more lines, each with CRLF; NULL: none. */
void flowd_http_answer(struct flowd_http_exchange *exchange, int status, const char *content_type,
                       const char *headers);
/* The same with a body of the caller's. */
void flowd_http_answer_bytes(struct flowd_http_exchange *exchange, int status,
                             const char *content_type, const char *headers, const char *body,
                             size_t length);

/*
 * Answers with a body of unknown length. The exchange is not used by the caller any more, but for
 * flowd_http_stop().
 */
void flowd_http_answer_stream(struct flowd_http_exchange *exchange, int status,
                              const char *content_type, const char *headers,
                              struct flowd_http_stream *stream);
/* Closes the connection of a stream that has not been released. */
void flowd_http_stop(struct flowd_http_exchange *exchange);

/*
 * Appends an RFC 9457 problem, without its closing brace if open, so that members can follow.
 * field and detail may be NULL.
 */
void flowd_http_problem_write(struct flowd_text *text, int status, const char *field,
                              size_t field_length, const char *detail, size_t detail_length,
                              bool open);
/* Answers with a problem. */
void flowd_http_answer_problem(struct flowd_http_exchange *exchange, int status,
                               const char *headers, const char *field, const char *detail);

/* "Not Found" for 404. */
const char *flowd_http_status_phrase(int status);
