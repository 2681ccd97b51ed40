/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are made while they are sent: how their end is told, that they keep their place
 * among other answers, that little of them is in memory, and that none outlives its connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab/http_fixture.h"

#define HOST "Host: localhost\r\n"
#define SHORT_S 0.02
#define LARGE "1000000"

static int set_up(void **state)
{
    struct http_bench *bench;

    http_bench_open(state);
    bench = *state;
    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_WRITE] = SHORT_S * 1000;
    return 0;
}

static void expect_body(const struct http_answer *answer, size_t length)
{
    assert_int_equal(answer->status, 200);
    assert_int_equal(answer->length, length);
    for (size_t i = 0; i < length; i++)
        if (answer->body[i] != (char)('0' + i % 10))
            fail_msg("byte %zu of %zu is %c", i, length, answer->body[i]);
}

static void test_chunked(void **state)
{
    static const size_t sizes[] = {0, 1, 3999, 4000, 4001, 12000, 300000};
    struct http_bench *bench = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct http_answer answer;
        char request[128];

        snprintf(request, sizeof(request), "GET /stream?%zu HTTP/1.1\r\n" HOST "\r\n", sizes[i]);
        http_client_puts(&bench->client, request);
        http_client_take(&bench->client, false, &answer);
        expect_body(&answer, sizes[i]);
        assert_non_null(strstr(answer.head, "\r\nTransfer-Encoding: chunked\r\n"));
        assert_non_null(strstr(answer.head, "\r\nX: y\r\n"));
        assert_null(strstr(answer.head, "Content-Length"));
        assert_null(strstr(answer.head, "Connection:"));
        http_answer_free(&answer);
        assert_int_equal(bench->fixture.streams, 0);
    }
    assert_int_equal(flowd_http_server_counters(bench->fixture.server)->answers[2],
                     sizeof(sizes) / sizeof(sizes[0]));
}

/* HTTP/1.0 knows no chunks: the body ends with the connection, whatever the client asked for. */
static void test_http_1_0(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "GET /stream?5000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    http_client_take(&bench->client, false, &answer);
    expect_body(&answer, 5000);
    assert_null(strstr(answer.head, "Transfer-Encoding"));
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    http_answer_free(&answer);
}

static void test_head(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "HEAD /stream?5000 HTTP/1.1\r\n" HOST "\r\n");
    http_client_take(&bench->client, true, &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nTransfer-Encoding: chunked\r\n"));
    http_answer_free(&answer);
    assert_int_equal(bench->fixture.streams, 0);
    http_client_puts(&bench->client, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&bench->client, 200, "GET /a ? localhost");
}

static void test_pipelined(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "GET /a HTTP/1.1\r\n" HOST "\r\n"
                                     "GET /stream?100000 HTTP/1.1\r\n" HOST "\r\n"
                                     "GET /b HTTP/1.1\r\n" HOST "\r\n"
                                     "GET /stream?2 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    http_client_expect(&bench->client, 200, "GET /a ? localhost");
    http_client_take(&bench->client, false, &answer);
    expect_body(&answer, 100000);
    http_answer_free(&answer);
    http_client_expect(&bench->client, 200, "GET /b ? localhost");
    http_client_take(&bench->client, false, &answer);
    expect_body(&answer, 2);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    http_answer_free(&answer);
    http_client_expect_end(&bench->client);
}

/* A client that asks for more and ends its side still gets all of it. */
static void test_client_has_finished(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "GET /stream?100000 HTTP/1.1\r\n" HOST "\r\n");
    http_client_finish(&bench->client);
    http_client_take(&bench->client, false, &answer);
    expect_body(&answer, 100000);
    http_answer_free(&answer);
    http_client_expect_end(&bench->client);
}

/* No last chunk: the client can tell that the body is not whole. */
static void test_broken(void **state)
{
    struct http_bench *bench = *state;
    size_t length;

    http_client_puts(&bench->client, "GET /broken?9000 HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_connections(&bench->fixture, 0);
    assert_int_equal(bench->fixture.streams, 0);
    length = http_client_read(&bench->client, 65536);
    assert_true(length > 8000);
    assert_memory_not_equal(bench->client.data + length - 5, "0\r\n\r\n", 5);
    bench->client.length = 0;
    http_client_expect_end(&bench->client);
}

/* Both ends of a TCP connection, the second one non-blocking. */
static void connect_tcp(int fds[2])
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    fds[0] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0 && fds[0] >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&address, sizeof(address)), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(fds[1] >= 0);
    close(listener);
}

/* Where the end of the connection is that of the body, the connection does not just end. */
static void test_broken_without_chunks(void **state)
{
    struct http_bench *bench = *state;
    char buffer[4096];
    ssize_t received;
    int fds[2];

    connect_tcp(fds);
    http_client_close(&bench->client);
    http_client_adopt(&bench->client, &bench->fixture, fds[0]);
    assert_non_null(flowd_http_connection_new(bench->fixture.server, fds[1], false));
    http_client_puts(&bench->client, "GET /broken?9000 HTTP/1.0\r\n\r\n");
    http_fixture_connections(&bench->fixture, 0);
    while ((received = recv(fds[0], buffer, sizeof(buffer), 0)) > 0)
        ;
    assert_int_equal(received, -1);
    assert_int_equal(errno, ECONNRESET);
}

static void test_unread(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "GET /stream?" LARGE " HTTP/1.1\r\n" HOST "\r\n");
    for (int turn = 0; turn < 2000; turn++)
        http_fixture_turn(&bench->fixture);
    /* It stopped at what the socket takes, and what is held is not even a second part. */
    assert_int_equal(bench->fixture.streams, 1);
    assert_true(flowd_http_connection_of(bench->fixture.streaming)->out.length < 8192);
    /* Others are served meanwhile. */
    for (int i = 0; i < 3; i++) {
        struct http_client other;

        http_client_open(&other, &bench->fixture);
        http_client_puts(&other, "GET /b HTTP/1.1\r\n" HOST "\r\n");
        http_client_expect(&other, 200, "GET /b ? localhost");
        http_client_close(&other);
    }
    http_client_take(&bench->client, false, &answer);
    expect_body(&answer, 1000000);
    http_answer_free(&answer);
}

static void test_never_read(void **state)
{
    struct http_bench *bench = *state;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_WRITE] = SHORT_S;
    http_client_puts(&bench->client, "GET /stream?" LARGE " HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_connections(&bench->fixture, 0);
    assert_int_equal(bench->fixture.streams, 0);
    assert_int_equal(flowd_http_server_counters(bench->fixture.server)->timeouts, 1);
}

static void test_client_leaves(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET /stream?" LARGE " HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_settle(&bench->fixture);
    assert_int_equal(bench->fixture.streams, 1);
    http_client_close(&bench->client);
    bench->client = (struct http_client){.fd = -1};
    http_fixture_connections(&bench->fixture, 0);
    assert_int_equal(bench->fixture.streams, 0);
}

static void test_stopped(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET /stream?" LARGE " HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_settle(&bench->fixture);
    flowd_http_stop(bench->fixture.streaming);
    assert_int_equal(bench->fixture.streams, 0);
    assert_int_equal(flowd_http_server_connections(bench->fixture.server), 0);
}

/* The fixture's end looks for streams that are left. */
static void test_server_ends(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET /stream?" LARGE " HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_settle(&bench->fixture);
    assert_int_equal(bench->fixture.streams, 1);
}

static void test_accept(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET /accept HTTP/1.1\r\n" HOST "ACCEPT:  a/b;q=1, c/d \r\n"
                                     "Accept-Encoding: gzip\r\n\r\n");
    http_client_expect(&bench->client, 200, "a/b;q=1, c/d");
    http_client_puts(&bench->client,
                     "GET /accept HTTP/1.1\r\n" HOST "Accept: a/b\r\nAccept: c/d\r\n\r\n");
    http_client_expect(&bench->client, 200, "a/b");
    http_client_puts(&bench->client, "GET /accept HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&bench->client, 200, "");
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, http_bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_chunked),
        test(test_http_1_0),
        test(test_head),
        test(test_pipelined),
        test(test_client_has_finished),
        test(test_broken),
        test(test_broken_without_chunks),
        test(test_unread),
        test(test_never_read),
        test(test_client_leaves),
        test(test_stopped),
        test(test_server_ends),
        test(test_accept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
