/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the server share: the server, its listeners, its connections. Internal to the
 * room; modules see server.h.
 *
 * server.c and listeners.c bring connections. A connection carries one exchange after another, a
 * request and its answer, and has one under way at a time, which is all that modules see of it.
 *
 *   connection.c         what comes next: it alone writes the state, calls the handler and closes
 *   connection_buffer.c  room for what comes, and the memory of what has gone
 *   request.c            reads: cuts head and body out of the buffer (framing.h, message.h,
 *                        chunks.h), and says what is wrong with them
 *   answer.c, stream.c   append answers to what is to be sent, and say when they are whole
 */
#pragma once

#include <ev.h>
#include <stddef.h>
#include <sys/types.h>

#include "chunks.h"
#include "daemon/base/log.h"
#include "daemon/http/server.h"
#include "framing.h"
#include "message.h"

/* Past the limit a few connections more are held, to be told that they are too many. */
#define FLOWD_HTTP_SPARE_CONNECTIONS 64
/* What all connections together may buffer beyond their small default buffers. */
#define FLOWD_HTTP_BUFFERED_MAX ((size_t)64 << 20)

/*
 * In this order, with STREAMING for some answers, and from the answer back to IN_HEAD. A request
 * that is refused is PENDING at once, wherever it is. LEAVING follows on IN_HEAD after the last
 * answer, CLOSED on each.
 */
enum flowd_http_connection_state {
    FLOWD_HTTP_CLOSED,
    FLOWD_HTTP_IN_HEAD, /* between requests, or in a header block */
    FLOWD_HTTP_IN_BODY,
    FLOWD_HTTP_PENDING,   /* the request is to be answered: by the handler, or refused */
    FLOWD_HTTP_STREAMING, /* the answer's body is being made and sent */
    FLOWD_HTTP_LEAVING,   /* the last answer is on its way; what comes in is thrown away */
};

/* What a connection waits for, each for so long (struct flowd_http_server). */
enum flowd_http_wait {
    FLOWD_HTTP_WAIT_NONE,    /* flowd itself, which takes its time */
    FLOWD_HTTP_WAIT_IDLE,    /* the next request */
    FLOWD_HTTP_WAIT_REQUEST, /* the rest of a request */
    FLOWD_HTTP_WAIT_WRITE,   /* room to write */
    FLOWD_HTTP_WAIT_LEAVING, /* the peer's end */
};
#define FLOWD_HTTP_WAITS 5

/* A request and its answer. Zero-initialised is one of which nothing has come. */
struct flowd_http_exchange {
    struct flowd_http_head head;
    struct flowd_http_message message;
    struct flowd_http_chunks chunks;
    size_t body_length;               /* of what of the body is there, without its chunks */
    struct flowd_http_stream *stream; /* while streaming */
    uint8_t empty_lines;              /* before the request that have been passed over */
    bool admitted;                    /* the handler lets the body come */
    bool head_only;                   /* the request is a HEAD */
};

struct flowd_http_connection {
    struct flowd_http_server *server;
    struct flowd_http_connection *next; /* in the server's list of connections, or of closed ones */
    struct flowd_http_connection *previous;
    struct flowd_http_connection *resume_next; /* in its list of those to go on with */
    struct flowd_http_connection *resume_previous;
    ev_io reader;
    ev_io writer;
    ev_timer deadline;
    int fd;
    uint8_t state;   /* enum flowd_http_connection_state */
    uint8_t awaited; /* enum flowd_http_wait; NONE: the next deadline begins anew */
    bool local;
    bool loopback; /* came over TCP to an address that only this machine reaches */
    bool resuming; /* in the server's list of those to go on with */
    bool handling; /* inside the handler's handle() or admit() */
    bool eof;      /* the peer will send nothing more */
    bool closing;  /* no request after this one */
    bool served;   /* at least one request has come in full */
    bool finished; /* our side is shut down */

    char *in;
    size_t in_start; /* the request under way begins here */
    size_t in_end;
    size_t in_capacity;
    struct flowd_http_exchange exchange; /* the one under way */
    struct flowd_text out;
    size_t out_sent;
    size_t accounted; /* what this connection adds to the server's buffered */
};

/* A place to listen at. What is needed to open it is kept: that may not be possible at first. */
struct flowd_http_listener {
    ev_io watcher;
    struct flowd_http_server *server;
    int fd; /* -1: not open */
    bool local;
    bool adopted;  /* opened by somebody else, whose file it is */
    bool loopback; /* only this machine's programs reach it, over TCP */
    uint16_t port;
    mode_t mode;
    char *address;   /* owned; or a path */
    char *group;     /* owned */
    uint64_t device; /* of the socket file */
    uint64_t inode;
    char name[128];
    char *trouble; /* owned; why it is not open, as the log has it; NULL: nobody has said so */
};

#define FLOWD_HTTP_LISTENERS_MAX 32

struct flowd_http_server {
    struct ev_loop *loop;
    const char *name;
    const struct flowd_http_handler *handler;
    void *context;
    struct flowd_http_listener listeners[FLOWD_HTTP_LISTENERS_MAX];
    unsigned listener_count;
    ev_timer listen_again;
    ev_timer accept_pause;
    struct flowd_log_lasting refusals; /* of connections, for want of a descriptor */
    ev_idle resume;
    struct flowd_http_connection *connections;
    struct flowd_http_connection *closed;   /* kept for reuse */
    struct flowd_http_connection *resuming; /* had more input than one turn should take */
    unsigned turn;                          /* of the loop, in which a request was handled last */
    int64_t turn_ends_us;                   /* when that has taken long enough; CLOCK_BOOTTIME */
    unsigned count;
    unsigned connections_max;
    size_t buffered;
    double wait_s[FLOWD_HTTP_WAITS]; /* by enum flowd_http_wait */
    struct flowd_http_counters counters;
    struct flowd_text body;
    int64_t date_s;
    char date[40];
    char hostname[256]; /* this machine's; "": unknown */
};

static inline struct flowd_http_connection *
flowd_http_connection_of(struct flowd_http_exchange *exchange)
{
    return (void *)((char *)exchange - offsetof(struct flowd_http_connection, exchange));
}

/* server.c: takes the connections that have come to a listener. */
void flowd_http_server_accept(struct ev_loop *loop, ev_io *watcher, int events);

/* listeners.c. */
void flowd_http_listeners_init(struct flowd_http_server *server);
/* Has connections be accepted, or not for now. */
void flowd_http_listeners_watch(struct flowd_http_server *server, bool watched);
void flowd_http_listeners_fini(struct flowd_http_server *server);

/* connection.c. */

/* Takes fd (connected, non-blocking). Returns NULL and closes fd if there is no memory. */
struct flowd_http_connection *flowd_http_connection_new(struct flowd_http_server *server, int fd,
                                                        bool local);
/* Closes at once; what is pending is cancelled. The struct is kept for the next connection. */
void flowd_http_connection_close(struct flowd_http_connection *connection);
/* Answers with a problem on behalf of the server itself and lets the connection go. */
void flowd_http_connection_reject(struct flowd_http_connection *connection, int status,
                                  const char *reason);
/* Goes on with a connection that had more input than one turn should take. */
void flowd_http_connection_run(struct flowd_http_connection *connection);
/* The answer is whole. Goes on, or leaves that to who has called the handler. */
void flowd_http_connection_answered(struct flowd_http_connection *connection);
/* The same for an answer whose body stream is to make. */
void flowd_http_connection_streams(struct flowd_http_connection *connection,
                                   struct flowd_http_stream *stream);

/* connection_buffer.c. */

/* How many bytes of input the state allows to hold. */
size_t flowd_http_connection_allowed(const struct flowd_http_connection *connection);
/* Makes room to read into. Returns the room in bytes, 0 if nothing should be read, or -ENOMEM. */
ssize_t flowd_http_connection_room(struct flowd_http_connection *connection);
/* Gives back what is empty: large buffers as soon as nothing is in them. */
void flowd_http_connection_release(struct flowd_http_connection *connection);

/*
 * request.c. Both return FLOWD_HTTP_MORE (bytes are needed), FLOWD_HTTP_DONE, or the HTTP status of
 * the refusal with *reason (static text).
 */

/* The header block: found, checked, parsed. */
int flowd_http_request_head(struct flowd_http_connection *connection, const char **reason);
/* The body. *end is where the request ends in the buffer. */
int flowd_http_request_body(struct flowd_http_connection *connection, size_t *end,
                            const char **reason);
/* What the handler gets to see, without a body. Good until the buffer moves. */
void flowd_http_request_view(const struct flowd_http_connection *connection,
                             struct flowd_http_request *request);

/* answer.c: appends what stands before a body. length: of the body; SIZE_MAX: it is a stream. */
void flowd_http_answer_head(struct flowd_http_connection *connection, int status,
                            const char *content_type, const char *headers, size_t length);

/* stream.c. */

/*
 * Appends the next part of the body to what is to be sent. Returns FLOWD_HTTP_MORE, FLOWD_HTTP_DONE
 * after the last one, or -errno: it can't be made.
 */
int flowd_http_stream_part(struct flowd_http_connection *connection);
/* Lets the stream go, if there is one. */
void flowd_http_stream_release(struct flowd_http_exchange *exchange);
