/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flowctl's client says of servers that are silent, gone, or not to be named so. Answers are
 * for the end-to-end tests.
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

#include "client.h"

#define LIMIT_MS 50

static int listener = -1;
static char url[64];

/* Whoever connects is let in by the kernel, and nobody answers. */
static int open_listener(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    (void)state;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(address.sin_port));
    return 0;
}

static int close_listener(void **state)
{
    (void)state;
    if (listener >= 0)
        close(listener);
    listener = -1;
    return 0;
}

static void expect(const struct client_endpoint *endpoint, int result, const char *message)
{
    struct flowd_text answer = {0};
    struct flowd_error err;
    int status = -1;

    assert_int_equal(client_request(endpoint, "GET", "/", NULL, &status, &answer, &err), result);
    assert_string_equal(err.message, message);
    assert_int_equal(status, -1);
    flowd_text_fini(&answer);
}

static void test_silent(void **state)
{
    const struct client_endpoint endpoint = {.url = url, .timeout_ms = LIMIT_MS};

    (void)state;
    expect(&endpoint, -ETIMEDOUT, "no answer in time");
}

/* The queue of a listener is full: a connection is never there. */
static void test_never_connected(void **state)
{
    const struct client_endpoint endpoint = {.url = url, .timeout_ms = LIMIT_MS};
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    char message[128];
    int fds[4];

    (void)state;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&address, length);
    }
    snprintf(message, sizeof(message), "%s: no answer in time", url);
    expect(&endpoint, -ETIMEDOUT, message);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
}

static void test_nobody(void **state)
{
    const struct client_endpoint endpoint = {.url = url, .timeout_ms = 10000};
    char message[128];

    close_listener(state);
    snprintf(message, sizeof(message), "%s: connect: Connection refused", url);
    expect(&endpoint, -ECONNREFUSED, message);
}

static void test_paths(void **state)
{
    struct client_endpoint endpoint = {.unix_path = "/nowhere/at/all", .timeout_ms = 10000};
    char path[120], message[200];

    (void)state;
    expect(&endpoint, -ENOENT, "/nowhere/at/all: connect: No such file or directory");
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    snprintf(message, sizeof(message), "%s: too long for a unix socket", path);
    endpoint.unix_path = path;
    expect(&endpoint, -ENAMETOOLONG, message);
}

static void test_names(void **state)
{
    static const struct {
        const char *url, *message;
    } rows[] = {
        {"https://127.0.0.1:7777", "https://127.0.0.1:7777: wants http://ADDRESS[:PORT]"},
        {"http://", ": wants http://ADDRESS[:PORT]"},
        {"http://127.0.0.1/v1", "127.0.0.1/v1: wants http://ADDRESS[:PORT]"},
        {"http://example.org", "example.org: is neither a numeric address nor localhost"},
        {"http://a@127.0.0.1", "a@127.0.0.1: is neither a numeric address nor localhost"},
        {"http://127.0.0.1:0", "127.0.0.1:0: is neither a numeric address nor localhost"},
        {"http://localhosts", "localhosts: is neither a numeric address nor localhost"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct client_endpoint endpoint = {.url = rows[i].url, .timeout_ms = LIMIT_MS};

        expect(&endpoint, -EINVAL, rows[i].message);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_listener, close_listener)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_silent), TEST(test_never_connected), TEST(test_nobody),
        TEST(test_paths),  TEST(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
