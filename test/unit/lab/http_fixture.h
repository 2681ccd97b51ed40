/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server with a handler that records what it is asked, and clients that talk to it byte by byte.
 * Everything runs on one thread: the clients turn the server's loop while they wait, up to a
 * deadline that only a failing test reaches.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/text.h"
#include "daemon/http/internal.h"
#include "daemon/http/server.h"

#define HTTP_KEPT_MAX 64

/*
 * What the handler does depends on the path: /defer is kept until http_fixture_answer(), /echo
 * gives the body back, /length the number of its bytes, /large a body of as many bytes as the query
 * says, /stream the same made while it is sent, /broken such a one that fails at its end,
 * /forbidden is not admitted, /accept answers with that header; anything else is described: "GET
 * /path ?query host".
 */
struct http_fixture {
    struct ev_loop *loop;
    struct flowd_http_server *server;
    struct flowd_text seen; /* the paths in the order in which they were handled, each with "\n" */
    struct flowd_http_exchange *kept[HTTP_KEPT_MAX];
    unsigned kept_count;
    unsigned cancelled;
    unsigned admitted;
    unsigned streams;                      /* that are not released */
    struct flowd_http_exchange *streaming; /* the latest one's */
};

struct http_client {
    struct http_fixture *fixture;
    int fd;
    char *data; /* received and not taken yet */
    size_t length;
    size_t capacity;
};

struct http_answer {
    int status;
    char head[1024]; /* the header block */
    char *body;      /* NUL-terminated; owned */
    size_t length;
};

void http_fixture_begin(struct http_fixture *fixture);
void http_fixture_end(struct http_fixture *fixture);
/* Turns the loop once without waiting. */
void http_fixture_turn(struct http_fixture *fixture);
/* Turns the loop until nothing is left to do at once. */
void http_fixture_settle(struct http_fixture *fixture);
/* Answers the oldest kept exchange with its number. */
void http_fixture_answer(struct http_fixture *fixture);
void http_fixture_seen(struct http_fixture *fixture, const char *paths);
/* Turns the loop until the server holds so many connections. */
void http_fixture_connections(struct http_fixture *fixture, unsigned count);

/* A connection to the server over a socket pair. */
void http_client_open(struct http_client *client, struct http_fixture *fixture);
/* Takes fd, which is connected to the server. */
void http_client_adopt(struct http_client *client, struct http_fixture *fixture, int fd);
void http_client_close(struct http_client *client);
void http_client_send(struct http_client *client, const char *data, size_t length);
void http_client_puts(struct http_client *client, const char *text);
/* The client sends nothing more. */
void http_client_finish(struct http_client *client);
/* Reads at most length bytes that have come; returns how many. */
size_t http_client_read(struct http_client *client, size_t length);
/*
 * Waits for the next answer and takes it, chunked or not; one of no length goes to the end of the
 * connection. head_only: it has no body, whatever it says.
 */
void http_client_take(struct http_client *client, bool head_only, struct http_answer *answer);
void http_answer_free(struct http_answer *answer);
/* Waits for the next answer, which must have this status and (NULL: any) this body. */
void http_client_expect(struct http_client *client, int status, const char *body);
/* The server has sent nothing that was not taken. */
void http_client_expect_nothing(struct http_client *client);
/* The server ends its side and has sent nothing more. */
void http_client_expect_end(struct http_client *client);

/* A server and a connection to it: the state of most tests. */
struct http_bench {
    struct http_fixture fixture;
    struct http_client client;
};

/* Set-up and tear-down of a test. */
int http_bench_open(void **state);
/* Without the connection: no deadline has been set that a test could not shorten. */
int http_bench_open_server(void **state);
int http_bench_close(void **state);
