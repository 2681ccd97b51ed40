/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recording handler and the clients.
 */
#include "lab/http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"

#define PATIENCE_S 20

static bool is_path(const struct flowd_http_request *request, const char *path)
{
    return request->path.length == strlen(path) &&
           memcmp(request->path.data, path, request->path.length) == 0;
}

static bool admit(void *context, struct flowd_http_exchange *exchange,
                  const struct flowd_http_request *request)
{
    struct http_fixture *fixture = context;

    assert_null(request->body);
    if (is_path(request, "/forbidden")) {
        flowd_http_answer_problem(exchange, 401, "WWW-Authenticate: Bearer\r\n", NULL, "no");
        return false;
    }
    fixture->admitted++;
    return true;
}

static void describe(struct flowd_text *body, const struct flowd_http_request *request)
{
    static const char *const methods[] = {"GET",   "HEAD",   "POST",    "PUT",
                                          "PATCH", "DELETE", "OPTIONS", "OTHER"};

    flowd_text_puts(body, methods[request->method]);
    flowd_text_char(body, ' ');
    flowd_text_append(body, request->path.data, request->path.length);
    flowd_text_puts(body, " ?");
    flowd_text_append(body, request->query.data, request->query.length);
    flowd_text_char(body, ' ');
    flowd_text_append(body, request->host.data, request->host.length);
}

static void fill(struct flowd_text *body, const struct flowd_http_request *request)
{
    uint64_t count = 0;

    assert_int_equal(
        flowd_integer_parse(request->query.data, request->query.length, 0, 1u << 26, &count), 0);
    while (count-- > 0)
        flowd_text_char(body, 'x');
}

#define PART_SIZE 4000

/* A body of "0123456789012...", made in parts; each second time there is nothing to give. */
struct counting {
    struct flowd_http_stream stream;
    struct http_fixture *fixture;
    uint64_t size;
    uint64_t made;
    bool breaks;
    bool pause;
};

static int produce(struct flowd_http_stream *stream, struct flowd_text *out)
{
    struct counting *counting = (struct counting *)stream;

    counting->pause = !counting->pause;
    if (counting->pause)
        return 1;
    for (int i = 0; i < PART_SIZE && counting->made < counting->size; i++)
        flowd_text_char(out, (char)('0' + counting->made++ % 10));
    if (counting->made < counting->size)
        return 1;
    return counting->breaks ? -EIO : 0;
}

static void release(struct flowd_http_stream *stream)
{
    struct counting *counting = (struct counting *)stream;

    counting->fixture->streams--;
    free(counting);
}

static void begin_stream(struct http_fixture *fixture, struct flowd_http_exchange *exchange,
                         const struct flowd_http_request *request)
{
    struct counting *counting = calloc(1, sizeof(*counting));

    assert_non_null(counting);
    *counting = (struct counting){.stream = {.produce = produce, .release = release},
                                  .fixture = fixture,
                                  .breaks = is_path(request, "/broken")};
    assert_int_equal(flowd_integer_parse(request->query.data, request->query.length, 0, 1u << 26,
                                         &counting->size),
                     0);
    fixture->streams++;
    fixture->streaming = exchange;
    flowd_http_answer_stream(exchange, 200, "text/plain", "X: y\r\n", &counting->stream);
}

static void handle(void *context, struct flowd_http_exchange *exchange,
                   const struct flowd_http_request *request)
{
    struct http_fixture *fixture = context;
    struct flowd_text *body;

    flowd_text_append(&fixture->seen, request->path.data, request->path.length);
    flowd_text_char(&fixture->seen, '\n');
    if (is_path(request, "/defer")) {
        assert_true(fixture->kept_count < HTTP_KEPT_MAX);
        fixture->kept[fixture->kept_count++] = exchange;
        return;
    }
    if (is_path(request, "/stream") || is_path(request, "/broken")) {
        begin_stream(fixture, exchange, request);
        return;
    }
    body = flowd_http_body(exchange);
    if (is_path(request, "/accept"))
        flowd_text_append(body, request->accept.data, request->accept.length);
    else if (is_path(request, "/echo"))
        flowd_text_append(body, request->body, request->body_length);
    else if (is_path(request, "/length"))
        flowd_text_u64(body, request->body_length);
    else if (is_path(request, "/large"))
        fill(body, request);
    else
        describe(body, request);
    flowd_http_answer(exchange, 200, "text/plain", NULL);
}

static void cancel(void *context, struct flowd_http_exchange *exchange)
{
    struct http_fixture *fixture = context;

    for (unsigned i = 0; i < fixture->kept_count; i++)
        if (fixture->kept[i] == exchange) {
            fixture->kept_count--;
            memmove(&fixture->kept[i], &fixture->kept[i + 1],
                    (fixture->kept_count - i) * sizeof(fixture->kept[0]));
            fixture->cancelled++;
            return;
        }
    fail_msg("an exchange is cancelled that was not kept");
}

static const struct flowd_http_handler handler = {
    .admit = admit,
    .handle = handle,
    .cancel = cancel,
};

void http_fixture_begin(struct http_fixture *fixture)
{
    struct flowd_error err;

    *fixture = (struct http_fixture){.loop = ev_loop_new(EVFLAG_AUTO)};
    assert_non_null(fixture->loop);
    assert_int_equal(
        flowd_http_server_new(fixture->loop, "test", &handler, fixture, &fixture->server, &err), 0);
}

void http_fixture_end(struct http_fixture *fixture)
{
    flowd_http_server_free(fixture->server);
    assert_int_equal(fixture->kept_count, 0);
    assert_int_equal(fixture->streams, 0);
    flowd_text_fini(&fixture->seen);
    assert_false(ev_run(fixture->loop, EVRUN_NOWAIT)); /* no watcher is left */
    ev_loop_destroy(fixture->loop);
}

void http_fixture_turn(struct http_fixture *fixture)
{
    ev_run(fixture->loop, EVRUN_NOWAIT);
}

void http_fixture_settle(struct http_fixture *fixture)
{
    for (int turn = 0; turn < 4; turn++)
        http_fixture_turn(fixture);
}

void http_fixture_answer(struct http_fixture *fixture)
{
    struct flowd_http_exchange *exchange = fixture->kept[0];

    assert_true(fixture->kept_count > 0);
    fixture->kept_count--;
    memmove(&fixture->kept[0], &fixture->kept[1], fixture->kept_count * sizeof(fixture->kept[0]));
    flowd_text_puts(flowd_http_body(exchange), "late");
    flowd_http_answer(exchange, 201, "text/plain", NULL);
}

void http_fixture_seen(struct http_fixture *fixture, const char *paths)
{
    flowd_text_char(&fixture->seen, '\0');
    assert_string_equal(fixture->seen.data, paths);
    flowd_text_clear(&fixture->seen);
}

static time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void http_fixture_connections(struct http_fixture *fixture, unsigned count)
{
    time_t deadline = now_s() + PATIENCE_S;

    while (flowd_http_server_connections(fixture->server) != count) {
        assert_true(now_s() < deadline);
        http_fixture_turn(fixture);
        poll(NULL, 0, 1);
    }
}

void http_client_adopt(struct http_client *client, struct http_fixture *fixture, int fd)
{
    *client = (struct http_client){.fixture = fixture, .fd = fd};
}

void http_client_open(struct http_client *client, struct http_fixture *fixture)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    http_client_adopt(client, fixture, fds[0]);
    assert_non_null(flowd_http_connection_new(fixture->server, fds[1], true));
}

void http_client_close(struct http_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    free(client->data);
}

void http_client_send(struct http_client *client, const char *data, size_t length)
{
    time_t deadline = now_s() + PATIENCE_S;

    while (length > 0) {
        ssize_t sent = send(client->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            assert_true(now_s() < deadline);
            http_fixture_turn(client->fixture);
            continue;
        }
        data += sent;
        length -= (size_t)sent;
    }
}

void http_client_puts(struct http_client *client, const char *text)
{
    http_client_send(client, text, strlen(text));
}

void http_client_finish(struct http_client *client)
{
    assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
}

/* Returns what recv() does; makes room first. */
static ssize_t receive(struct http_client *client, size_t length)
{
    ssize_t received;

    if (client->length + length > client->capacity) {
        client->capacity = (client->length + length) * 2;
        client->data = realloc(client->data, client->capacity);
        assert_non_null(client->data);
    }
    received = recv(client->fd, client->data + client->length, length, MSG_DONTWAIT);
    if (received > 0)
        client->length += (size_t)received;
    return received;
}

size_t http_client_read(struct http_client *client, size_t length)
{
    ssize_t received = receive(client, length);

    return received > 0 ? (size_t)received : 0;
}

/* Turns the loop until something has come: its length, 0 at the end. */
static size_t wait_more(struct http_client *client)
{
    time_t deadline = now_s() + PATIENCE_S;

    for (;;) {
        struct pollfd ready = {.fd = client->fd, .events = POLLIN};
        ssize_t received = receive(client, 65536);

        if (received >= 0)
            return (size_t)received;
        assert_int_equal(errno, EAGAIN);
        if (now_s() >= deadline)
            fail_msg("nothing comes behind \"%.*s\"", (int)client->length, client->data);
        http_fixture_turn(client->fixture);
        poll(&ready, 1, 1);
    }
}

static size_t head_length(const struct http_client *client)
{
    const char *end =
        client->length > 0 ? memmem(client->data, client->length, "\r\n\r\n", 4) : NULL;

    return end != NULL ? (size_t)(end - client->data) + 4 : 0;
}

static uint64_t content_length(const struct http_answer *answer)
{
    const char *number = strstr(answer->head, "\r\nContent-Length: ");
    uint64_t length = 0;

    if (number == NULL)
        return 0;
    number += strlen("\r\nContent-Length: ");
    assert_int_equal(flowd_integer_parse(number, strcspn(number, "\r"), 0, INT32_MAX, &length), 0);
    return length;
}

static void drop(struct http_client *client, size_t length)
{
    client->length -= length;
    memmove(client->data, client->data + length, client->length);
}

/* Moves length bytes, which are waited for, from the client to the answer's body. */
static void take_bytes(struct http_client *client, struct http_answer *answer, size_t length)
{
    while (client->length < length)
        assert_true(wait_more(client) > 0);
    answer->body = realloc(answer->body, answer->length + length + 1);
    assert_non_null(answer->body);
    if (length > 0)
        memcpy(answer->body + answer->length, client->data, length);
    answer->length += length;
    answer->body[answer->length] = '\0';
    drop(client, length);
}

static void take_chunks(struct http_client *client, struct http_answer *answer)
{
    size_t length;

    do {
        const char *end;
        char *behind;

        while (client->length == 0 ||
               (end = memmem(client->data, client->length, "\r\n", 2)) == NULL)
            assert_true(wait_more(client) > 0);
        length = strtoul(client->data, &behind, 16);
        assert_true(behind == end && end > client->data);
        drop(client, (size_t)(end - client->data) + 2);
        take_bytes(client, answer, length);
        while (client->length < 2)
            assert_true(wait_more(client) > 0);
        assert_memory_equal(client->data, "\r\n", 2);
        drop(client, 2);
    } while (length > 0);
}

static void take_body(struct http_client *client, struct http_answer *answer)
{
    if (strstr(answer->head, "\r\nTransfer-Encoding: chunked\r\n") != NULL) {
        take_chunks(client, answer);
    } else if (strstr(answer->head, "\r\nContent-Length: ") != NULL) {
        take_bytes(client, answer, content_length(answer));
    } else {
        while (wait_more(client) > 0)
            ;
        take_bytes(client, answer, client->length);
    }
}

void http_client_take(struct http_client *client, bool head_only, struct http_answer *answer)
{
    size_t head;
    uint64_t status;

    while ((head = head_length(client)) == 0)
        if (wait_more(client) == 0)
            fail_msg("the server ends in the middle of \"%.*s\"", (int)client->length,
                     client->data != NULL ? client->data : "");
    assert_true(head < sizeof(answer->head));
    memcpy(answer->head, client->data, head);
    answer->head[head] = '\0';
    drop(client, head);
    assert_memory_equal(answer->head, "HTTP/1.1 ", 9);
    assert_int_equal(flowd_integer_parse(answer->head + 9, 3, 100, 599, &status), 0);
    answer->status = (int)status;
    answer->body = NULL;
    answer->length = 0;
    take_bytes(client, answer, 0);
    if (!head_only)
        take_body(client, answer);
}

void http_answer_free(struct http_answer *answer)
{
    free(answer->body);
}

void http_client_expect(struct http_client *client, int status, const char *body)
{
    struct http_answer answer;

    http_client_take(client, false, &answer);
    if (answer.status != status)
        fail_msg("%d was expected: %s%s", status, answer.head, answer.body);
    if (body != NULL)
        assert_string_equal(answer.body, body);
    http_answer_free(&answer);
}

void http_client_expect_nothing(struct http_client *client)
{
    http_fixture_settle(client->fixture);
    assert_true(receive(client, 4096) < 0);
    assert_int_equal(client->length, 0);
}

void http_client_expect_end(struct http_client *client)
{
    assert_int_equal(wait_more(client), 0);
    assert_int_equal(client->length, 0);
}

int http_bench_open_server(void **state)
{
    struct http_bench *bench = calloc(1, sizeof(*bench));

    assert_non_null(bench);
    http_fixture_begin(&bench->fixture);
    bench->client.fd = -1;
    *state = bench;
    return 0;
}

int http_bench_open(void **state)
{
    struct http_bench *bench;

    http_bench_open_server(state);
    bench = *state;
    http_client_open(&bench->client, &bench->fixture);
    return 0;
}

int http_bench_close(void **state)
{
    struct http_bench *bench = *state;

    http_client_close(&bench->client);
    http_fixture_end(&bench->fixture);
    free(bench);
    return 0;
}
