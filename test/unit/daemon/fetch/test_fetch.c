/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching from a server on the same loop: what is handed over, which limits hold, and that nothing
 * is left of a request that was cancelled. TLS and names are tested end to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/fetch/fetch.h"
#include "daemon/http/server.h"

#define DEADLINE_S 30
#define SIZE_LIMIT 1000
#define SHORT_MS 50

struct bench {
    struct ev_loop *loop;
    struct flowd_http_server *server;
    struct flowd_fetcher *fetcher;
    struct flowd_fetch *fetch; /* the latest */
    uint16_t port;
    unsigned requests;
    unsigned kept;
    /* What was handed over last. */
    unsigned answers;
    int result;
    long status;
    char body[2 * SIZE_LIMIT];
    char etag[64];
    char last_modified[64];
    char error[256];
    const char *then; /* a path that is fetched from the callback */
};

static void take(void *context, const struct flowd_fetch_answer *answer);

static void answer_length(struct flowd_http_exchange *exchange, size_t length)
{
    char *body = malloc(length);

    assert_non_null(body);
    memset(body, 'x', length);
    flowd_http_answer_bytes(exchange, 200, "text/plain", NULL, body, length);
    free(body);
}

static bool is_path(const struct flowd_http_request *request, const char *path)
{
    return request->path.length == strlen(path) &&
           memcmp(request->path.data, path, request->path.length) == 0;
}

/* "/redirect3" leads to "/redirect2" and so on, to "/plain". */
static void redirect(struct flowd_http_exchange *exchange, const struct flowd_http_request *request)
{
    char header[64];
    char step = request->path.data[request->path.length - 1];

    if (step == 'f')
        snprintf(header, sizeof(header), "Location: file:///etc/hostname\r\n");
    else if (step == '1')
        snprintf(header, sizeof(header), "Location: /plain\r\n");
    else
        snprintf(header, sizeof(header), "ETag: \"way\"\r\nLocation: /redirect%c\r\n", step - 1);
    flowd_http_answer_bytes(exchange, 302, "text/plain", header, "away", 4);
}

static void handle(void *context, struct flowd_http_exchange *exchange,
                   const struct flowd_http_request *request)
{
    struct bench *bench = context;

    bench->requests++;
    if (is_path(request, "/tagged"))
        flowd_http_answer_bytes(
            exchange, 200, "text/plain",
            "eTaG:  \"one\" \r\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\n", "body", 4);
    else if (is_path(request, "/same"))
        flowd_http_answer_bytes(exchange, 304, "text/plain", NULL, "", 0);
    else if (is_path(request, "/limit"))
        answer_length(exchange, SIZE_LIMIT);
    else if (is_path(request, "/more"))
        answer_length(exchange, SIZE_LIMIT + 1);
    else if (is_path(request, "/never"))
        bench->kept++;
    else if (is_path(request, "/plain"))
        flowd_http_answer_bytes(exchange, 200, "text/plain", NULL, "plain", 5);
    else if (request->path.length == strlen("/redirectN"))
        redirect(exchange, request);
    else
        flowd_http_answer_bytes(exchange, 404, "text/plain", NULL, "none", 4);
}

static void cancel(void *context, struct flowd_http_exchange *exchange)
{
    struct bench *bench = context;

    (void)exchange;
    bench->kept--; /* at the latest with the server */
}

static const struct flowd_http_handler handler = {.handle = handle, .cancel = cancel};

/* A listening socket on a port of its own. */
static int listen_somewhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    int fd;

    assert_non_null(bench);
    bench->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(bench->loop);
    assert_int_equal(
        flowd_http_server_new(bench->loop, "test", &handler, bench, &bench->server, NULL), 0);
    fd = listen_somewhere(&bench->port);
    assert_int_equal(flowd_http_server_adopt(bench->server, fd, "test", false, NULL), 0);
    bench->fetcher = flowd_fetcher_new(bench->loop);
    assert_non_null(bench->fetcher);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    flowd_fetcher_free(bench->fetcher);
    flowd_http_server_free(bench->server);
    ev_loop_destroy(bench->loop);
    free(bench);
    return 0;
}

static int start_url(struct bench *bench, const char *url, int64_t timeout_ms, const char *etag)
{
    const struct flowd_fetch_request request = {
        .url = url,
        .etag = etag,
        .size_max = SIZE_LIMIT,
        .timeout_ms = timeout_ms,
        .connect_timeout_ms = DEADLINE_S * 1000,
        .done = take,
        .context = bench,
    };

    return flowd_fetch_start(bench->fetcher, &request, &bench->fetch, NULL);
}

static void start(struct bench *bench, const char *path, int64_t timeout_ms, const char *etag)
{
    char url[128];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", bench->port, path);
    assert_int_equal(start_url(bench, url, timeout_ms, etag), 0);
}

static void copy(char *out, size_t size, const char *text)
{
    assert_true(strlen(text) < size);
    memcpy(out, text, strlen(text) + 1);
}

static void take(void *context, const struct flowd_fetch_answer *answer)
{
    struct bench *bench = context;

    bench->answers++;
    bench->result = answer->result;
    bench->status = answer->status;
    assert_int_equal(strlen(answer->body), answer->size);
    copy(bench->body, sizeof(bench->body), answer->body);
    copy(bench->etag, sizeof(bench->etag), answer->etag);
    copy(bench->last_modified, sizeof(bench->last_modified), answer->last_modified);
    copy(bench->error, sizeof(bench->error), answer->error);
    assert_true((answer->result == 0) == (answer->error[0] == '\0'));
    if (bench->then != NULL) {
        const char *path = bench->then;

        bench->then = NULL;
        start(bench, path, DEADLINE_S * 1000, NULL);
    }
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fail_msg("nothing comes");
}

/* Turns the loop until the condition of the number holds. */
static void turn_until(struct bench *bench, const unsigned *number, unsigned wanted)
{
    struct ev_timer deadline;

    ev_timer_init(&deadline, on_deadline, DEADLINE_S, 0);
    ev_timer_start(bench->loop, &deadline);
    while (*number != wanted)
        ev_run(bench->loop, EVRUN_ONCE);
    ev_timer_stop(bench->loop, &deadline);
}

static void fetch(struct bench *bench, const char *path, const char *etag)
{
    start(bench, path, DEADLINE_S * 1000, etag);
    assert_int_equal(bench->answers, 0);
    turn_until(bench, &bench->answers, 1);
    bench->answers = 0;
}

static void expect(const struct bench *bench, long status, const char *body)
{
    assert_int_equal(bench->result, 0);
    assert_int_equal(bench->status, status);
    assert_string_equal(bench->body, body);
}

static void an_answer_is_handed_over(void **state)
{
    struct bench *bench = *state;

    fetch(bench, "/tagged", NULL);
    expect(bench, 200, "body");
    assert_string_equal(bench->etag, "\"one\"");
    assert_string_equal(bench->last_modified, "Sat, 01 Jan 2022 00:00:00 GMT");
    fetch(bench, "/plain", NULL);
    expect(bench, 200, "plain");
    assert_string_equal(bench->etag, "");
}

static void statuses_are_the_callers(void **state)
{
    struct bench *bench = *state;

    fetch(bench, "/same", "\"one\"");
    expect(bench, 304, "");
    fetch(bench, "/nowhere", NULL);
    expect(bench, 404, "none");
}

static void bodies_have_a_limit(void **state)
{
    struct bench *bench = *state;

    fetch(bench, "/limit", NULL);
    assert_int_equal(bench->result, 0);
    assert_int_equal(strlen(bench->body), SIZE_LIMIT);
    fetch(bench, "/more", NULL);
    assert_int_equal(bench->result, -EFBIG);
    assert_non_null(strstr(bench->error, "1000 bytes"));
}

static void redirects_have_a_limit(void **state)
{
    struct bench *bench = *state;

    fetch(bench, "/redirect3", NULL);
    expect(bench, 200, "plain");
    assert_string_equal(bench->etag, "");
    fetch(bench, "/redirect4", NULL);
    assert_int_equal(bench->result, -EPROTO);
}

static void only_http_is_spoken(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(start_url(bench, "file:///etc/hostname", SHORT_MS, NULL), -EINVAL);
    assert_int_equal(start_url(bench, "ftp://127.0.0.1/", SHORT_MS, NULL), -EINVAL);
    assert_int_equal(start_url(bench, "", SHORT_MS, NULL), -EINVAL);
    fetch(bench, "/redirectf", NULL);
    assert_int_equal(bench->result, -EPROTO);
    assert_string_not_equal(bench->body, "plain");
}

static void a_silent_server_is_left(void **state)
{
    struct bench *bench = *state;

    start(bench, "/never", SHORT_MS, NULL);
    turn_until(bench, &bench->answers, 1);
    assert_int_equal(bench->result, -ETIMEDOUT);
    assert_int_equal(bench->status, 0);
}

static void nobody_listens(void **state)
{
    struct bench *bench = *state;
    char url[64];
    uint16_t port;
    int fd = listen_somewhere(&port);

    close(fd);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
    assert_int_equal(start_url(bench, url, DEADLINE_S * 1000, NULL), 0);
    turn_until(bench, &bench->answers, 1);
    assert_int_equal(bench->result, -EHOSTUNREACH);
}

/* The kernel answers for a server that does not accept; a TLS handshake is never answered. */
static void a_connection_has_a_limit(void **state)
{
    struct bench *bench = *state;
    char url[64];
    uint16_t port;
    int fd = listen_somewhere(&port);
    const struct flowd_fetch_request request = {
        .url = url,
        .size_max = SIZE_LIMIT,
        .timeout_ms = DEADLINE_S * 1000,
        .connect_timeout_ms = SHORT_MS,
        .done = take,
        .context = bench,
    };

    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", port);
    assert_int_equal(flowd_fetch_start(bench->fetcher, &request, &bench->fetch, NULL), 0);
    turn_until(bench, &bench->answers, 1);
    assert_int_equal(bench->result, -ETIMEDOUT);
    assert_non_null(strstr(bench->error, "no connection"));
    close(fd);
}

static void nothing_is_heard_of_what_was_cancelled(void **state)
{
    struct bench *bench = *state;

    start(bench, "/never", DEADLINE_S * 1000, NULL);
    turn_until(bench, &bench->kept, 1);
    flowd_fetch_cancel(bench->fetch);
    start(bench, "/plain", DEADLINE_S * 1000, NULL);
    flowd_fetch_cancel(bench->fetch);
    flowd_fetch_cancel(NULL);
    fetch(bench, "/tagged", NULL);
    expect(bench, 200, "body");
}

static void another_begins_in_the_callback(void **state)
{
    struct bench *bench = *state;

    bench->then = "/plain";
    start(bench, "/tagged", DEADLINE_S * 1000, NULL);
    turn_until(bench, &bench->answers, 2);
    expect(bench, 200, "plain");
    bench->then = "/plain";
    start(bench, "/never", SHORT_MS, NULL);
    turn_until(bench, &bench->answers, 4);
    expect(bench, 200, "plain");
}

static void the_end_forgets_what_is_under_way(void **state)
{
    struct bench *bench = *state;

    start(bench, "/never", DEADLINE_S * 1000, NULL);
    turn_until(bench, &bench->kept, 1);
    start(bench, "/plain", DEADLINE_S * 1000, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_handed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(statuses_are_the_callers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bodies_have_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(redirects_have_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_http_is_spoken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_server_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_listens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_has_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_heard_of_what_was_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_begins_in_the_callback, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_forgets_what_is_under_way, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
