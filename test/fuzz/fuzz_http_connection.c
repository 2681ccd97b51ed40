/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a whole connection, through the real server over a pair of sockets: which requests
 * it hands over does not depend on how the bytes are cut into pieces (the first byte says how), and
 * an answer begins as one of HTTP does.
 */
#include <ev.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/http/internal.h"
#include "daemon/http/server.h"
#include "fuzz_target.h"

#define TURNS_MAX 100
#define INPUT_MAX 60000 /* fits the socket's buffer */

/* What one run made of the bytes. */
struct outcome {
    struct ev_loop *loop;
    struct flowd_http_server *server;
    struct flowd_text requests; /* method, path, query and body of each */
    struct flowd_text answers;
};

static bool admit(void *context, struct flowd_http_exchange *exchange,
                  const struct flowd_http_request *request)
{
    (void)context;
    (void)exchange;
    REQUIRE(request->body == NULL);
    return true;
}

static void handle(void *context, struct flowd_http_exchange *exchange,
                   const struct flowd_http_request *request)
{
    struct outcome *outcome = context;

    flowd_text_printf(&outcome->requests, "%d ", (int)request->method);
    flowd_text_append(&outcome->requests, request->path.data, request->path.length);
    flowd_text_char(&outcome->requests, '?');
    flowd_text_append(&outcome->requests, request->query.data, request->query.length);
    flowd_text_char(&outcome->requests, ' ');
    flowd_text_append(&outcome->requests, request->body, request->body_length);
    flowd_text_char(&outcome->requests, '\n');
    flowd_text_append(flowd_http_body(exchange), request->path.data, request->path.length);
    flowd_http_answer(exchange, 200, "text/plain", NULL);
}

static void cancel(void *context, struct flowd_http_exchange *exchange)
{
    (void)context;
    (void)exchange;
    REQUIRE(false); /* none is kept */
}

static const struct flowd_http_handler handler = {
    .admit = admit, .handle = handle, .cancel = cancel};

static void read_answers(int fd, struct outcome *outcome)
{
    char bytes[4096];
    ssize_t length;

    while ((length = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        flowd_text_append(&outcome->answers, bytes, (size_t)length);
}

/* Lets the server read what is there. */
static void turn(int fd, struct outcome *outcome)
{
    for (int i = 0; i < 3; i++)
        ev_run(outcome->loop, EVRUN_NOWAIT);
    read_answers(fd, outcome);
}

static void converse(const uint8_t *data, size_t size, size_t piece, struct outcome *outcome)
{
    int fds[2];

    *outcome = (struct outcome){.loop = ev_loop_new(EVFLAG_AUTO)};
    REQUIRE(outcome->loop != NULL);
    REQUIRE(flowd_http_server_new(outcome->loop, "fuzz", &handler, outcome, &outcome->server,
                                  NULL) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(flowd_http_connection_new(outcome->server, fds[1], true) != NULL);
    for (size_t at = 0; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        ssize_t sent = send(fds[0], data + at, length, MSG_NOSIGNAL);

        if (sent < 0)
            break; /* it has closed: what it answered is there */
        REQUIRE((size_t)sent == length);
        turn(fds[0], outcome);
    }
    (void)shutdown(fds[0], SHUT_WR);
    /* A server that lingers waits for the client's end, by a timer: that is no part of this. */
    for (int i = 0; i < TURNS_MAX && flowd_http_server_connections(outcome->server) > 0; i++)
        turn(fds[0], outcome);
    read_answers(fds[0], outcome);
    close(fds[0]);
    flowd_http_server_free(outcome->server);
    ev_loop_destroy(outcome->loop);
}

static bool are_equal(const struct flowd_text *one, const struct flowd_text *other)
{
    return one->length == other->length &&
           (one->length == 0 || memcmp(one->data, other->data, one->length) == 0);
}

static bool begins_as_answer(const struct flowd_text *answers)
{
    return answers->length == 0 ||
           (answers->length > 12 && memcmp(answers->data, "HTTP/1.1 ", 9) == 0);
}

static void forget(struct outcome *outcome)
{
    flowd_text_fini(&outcome->requests);
    flowd_text_fini(&outcome->answers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    converse(data + 1, size - 1, size - 1, &whole);
    converse(data + 1, size - 1, 1 + data[0], &pieces);
    REQUIRE(are_equal(&whole.requests, &pieces.requests));
    REQUIRE(begins_as_answer(&whole.answers) && begins_as_answer(&pieces.answers));
    forget(&whole);
    forget(&pieces);
    return 0;
}
