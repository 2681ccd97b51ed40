/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening: TCP and unix sockets, what may stand in their way, and too many connections.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lab/http_fixture.h"
#include "lab/scratch.h"

#define REQUEST "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define SURPLUS 80 /* connections past the limit: more than are told so */

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    assert_true(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* A TCP socket bound to a free port of the IPv6 loopback address; *port is that port. */
static int bind_tcp(uint16_t *port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin6_port);
    return fd;
}

static void test_unix(void **state)
{
    struct http_fixture fixture;
    struct http_client client;
    struct scratch scratch;
    struct flowd_error err;
    struct stat status;
    const char *path;

    (void)state;
    scratch_make(&scratch);
    path = scratch_path(&scratch, "api.sock");
    http_fixture_begin(&fixture);
    assert_int_equal(flowd_http_server_listen_unix(fixture.server, path, 0640, "", &err), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_string_equal(flowd_http_server_listener(fixture.server, 0), path);
    assert_null(flowd_http_server_listener(fixture.server, 1));
    http_client_adopt(&client, &fixture, connect_unix(path));
    http_client_puts(&client, REQUEST);
    http_client_expect(&client, 200, "GET /a ? localhost");
    http_client_close(&client);
    http_fixture_end(&fixture);
    assert_int_equal(stat(path, &status), -1);
    assert_int_equal(errno, ENOENT);
    scratch_remove(&scratch);
}

/* The server does not listen at name, and says why. */
static void expect_trouble(const struct flowd_http_server *server, const char *name,
                           const char *why)
{
    struct flowd_error err;

    assert_int_equal(flowd_http_server_ready(server, &err), -EAGAIN);
    if (strstr(err.message, name) == NULL || strstr(err.message, why) == NULL)
        fail_msg("\"%s\" tells neither \"%s\" nor \"%s\"", err.message, name, why);
}

/* What stood in its way is gone: the server listens sooner or later. */
static void wait_listening(struct http_fixture *fixture)
{
    while (flowd_http_server_ready(fixture->server, NULL) < 0)
        http_fixture_turn(fixture);
}

/* A socket file whose owner is gone is replaced, one that is in use is not. */
static void test_unix_stale(void **state)
{
    struct http_fixture first, second;
    struct http_client client;
    struct scratch scratch;
    struct flowd_error err;
    char path[SCRATCH_PATH_SIZE];
    char other[SCRATCH_PATH_SIZE];

    (void)state;
    scratch_make(&scratch);
    snprintf(path, sizeof(path), "%s", scratch_path(&scratch, "api.sock"));
    snprintf(other, sizeof(other), "%s", scratch_path(&scratch, "other.sock"));
    http_fixture_begin(&first);
    http_fixture_begin(&second);
    assert_int_equal(flowd_http_server_listen_unix(first.server, path, 0600, "", &err), 0);
    assert_int_equal(flowd_http_server_listen_unix(second.server, path, 0600, "", &err), 0);
    expect_trouble(second.server, path, "in use");
    /* Moved away before its server ends, it stays behind with nobody listening. */
    assert_int_equal(rename(path, other), 0);
    http_fixture_end(&first);
    assert_int_equal(rename(other, path), 0);
    wait_listening(&second);
    http_client_adopt(&client, &second, connect_unix(path));
    http_client_puts(&client, REQUEST);
    http_client_expect(&client, 200, "GET /a ? localhost");
    http_client_close(&client);
    http_fixture_end(&second);
    scratch_remove(&scratch);
}

static void test_unix_in_the_way(void **state)
{
    static const char *const groups[] = {"", "", "no-such-group"};
    static const char *const files[] = {"file", "none/api.sock", "api.sock"};
    static const char *const reasons[] = {"is not a socket", "No such file", "no-such-group"};
    struct http_fixture fixture;
    struct scratch scratch;
    struct flowd_error err;
    struct stat status;
    char path[SCRATCH_PATH_SIZE];
    char text[300];

    (void)state;
    scratch_make(&scratch);
    scratch_write(&scratch, "file", "precious", 8);
    for (unsigned i = 0; i < 3; i++) {
        http_fixture_begin(&fixture);
        snprintf(path, sizeof(path), "%s", scratch_path(&scratch, files[i]));
        assert_int_equal(flowd_http_server_listen_unix(fixture.server, path, 0600, groups[i], &err),
                         0);
        expect_trouble(fixture.server, i < 2 ? path : "", reasons[i]);
        http_fixture_end(&fixture);
    }
    assert_int_equal(stat(path, &status), -1);
    assert_int_equal(stat(scratch_path(&scratch, "file"), &status), 0);
    assert_true(S_ISREG(status.st_mode));
    assert_int_equal(status.st_size, 8);

    http_fixture_begin(&fixture);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(flowd_http_server_listen_unix(fixture.server, text, 0600, "", &err),
                     -ENAMETOOLONG);
    assert_null(flowd_http_server_listener(fixture.server, 0));
    http_fixture_end(&fixture);
    scratch_remove(&scratch);
}

static void test_tcp(void **state)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct http_fixture fixture;
    struct http_client client;
    struct flowd_error err;
    uint16_t port;
    char name[32];
    int fd;

    (void)state;
    http_fixture_begin(&fixture);
    fd = bind_tcp(&port);
    assert_int_equal(flowd_http_server_listen(fixture.server, "::1", port, &err), 0);
    snprintf(name, sizeof(name), "[::1]:%u", port);
    expect_trouble(fixture.server, name, "in use");
    close(fd);
    wait_listening(&fixture);
    assert_string_equal(flowd_http_server_listener(fixture.server, 0), name);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin6_port = htons(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    http_client_adopt(&client, &fixture, fd);
    http_client_puts(&client, REQUEST REQUEST);
    http_client_expect(&client, 200, "GET /a ? localhost");
    http_client_expect(&client, 200, "GET /a ? localhost");
    http_client_close(&client);
    http_fixture_connections(&fixture, 0);
    assert_int_equal(flowd_http_server_listen(fixture.server, "localhost", port, &err), -EINVAL);
    assert_int_equal(flowd_http_server_listen(fixture.server, "", port, &err), -EINVAL);
    http_fixture_end(&fixture);
}

/* A reset while the handler has the request, as only TCP does it. */
static void test_tcp_reset(void **state)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct http_fixture fixture;
    struct http_client client;
    struct flowd_error err;
    uint16_t port;
    int fd;

    (void)state;
    http_fixture_begin(&fixture);
    close(bind_tcp(&port));
    assert_int_equal(flowd_http_server_listen(fixture.server, "::1", port, &err), 0);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin6_port = htons(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    http_client_adopt(&client, &fixture, fd);
    http_client_puts(&client, "GET /defer HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (fixture.kept_count == 0)
        http_fixture_turn(&fixture);
    http_client_close(&client);
    http_fixture_connections(&fixture, 0);
    assert_int_equal(fixture.cancelled, 1);
    http_fixture_end(&fixture);
}

/* Past the limit each connection is told so, or closed when even those are many. */
static void test_too_many_connections(void **state)
{
    static struct http_client clients[FLOWD_HTTP_CONNECTIONS_MAX + SURPLUS];
    struct rlimit limit;
    struct rlimit larger;
    struct http_fixture fixture;
    struct scratch scratch;
    struct flowd_error err;
    const char *path;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    larger = limit;
    larger.rlim_cur = 4096;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < larger.rlim_cur) {
        print_message("RLIMIT_NOFILE can't be raised to 4096\n");
        skip();
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &larger), 0);
    scratch_make(&scratch);
    path = scratch_path(&scratch, "api.sock");
    http_fixture_begin(&fixture);
    assert_int_equal(flowd_http_server_listen_unix(fixture.server, path, 0600, "", &err), 0);
    for (unsigned i = 0; i < FLOWD_HTTP_CONNECTIONS_MAX; i++) {
        http_client_adopt(&clients[i], &fixture, connect_unix(path));
        http_fixture_turn(&fixture);
    }
    http_fixture_connections(&fixture, FLOWD_HTTP_CONNECTIONS_MAX);
    for (unsigned i = 0; i < SURPLUS; i++) {
        struct http_client *client = &clients[FLOWD_HTTP_CONNECTIONS_MAX + i];

        http_client_adopt(client, &fixture, connect_unix(path));
        if (i < FLOWD_HTTP_SPARE_CONNECTIONS)
            http_client_expect(client, 503, NULL);
        http_client_expect_end(client);
    }
    assert_int_equal(flowd_http_server_counters(fixture.server)->refused, SURPLUS);
    /* Those who were there first are served, and a place that becomes free is taken. */
    http_client_puts(&clients[7], REQUEST);
    http_client_expect(&clients[7], 200, "GET /a ? localhost");
    for (unsigned i = 0; i < SURPLUS; i++)
        http_client_close(&clients[FLOWD_HTTP_CONNECTIONS_MAX + i]);
    http_client_close(&clients[0]);
    http_fixture_connections(&fixture, FLOWD_HTTP_CONNECTIONS_MAX - 1);
    http_client_adopt(&clients[0], &fixture, connect_unix(path));
    http_client_puts(&clients[0], REQUEST);
    http_client_expect(&clients[0], 200, "GET /a ? localhost");
    for (unsigned i = 0; i < FLOWD_HTTP_CONNECTIONS_MAX; i++)
        http_client_close(&clients[i]);
    http_fixture_end(&fixture);
    scratch_remove(&scratch);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A server may be content with less. */
static void test_fewer_connections(void **state)
{
    struct http_client clients[3];
    struct http_fixture fixture;
    struct scratch scratch;
    struct flowd_error err;
    const char *path;

    (void)state;
    scratch_make(&scratch);
    path = scratch_path(&scratch, "api.sock");
    http_fixture_begin(&fixture);
    flowd_http_server_limit(fixture.server, 2);
    flowd_http_server_limit(fixture.server, FLOWD_HTTP_CONNECTIONS_MAX);
    assert_int_equal(flowd_http_server_listen_unix(fixture.server, path, 0600, "", &err), 0);
    for (unsigned i = 0; i < 3; i++) {
        http_client_adopt(&clients[i], &fixture, connect_unix(path));
        http_fixture_settle(&fixture);
    }
    http_client_expect(&clients[2], 503, NULL);
    http_client_puts(&clients[1], REQUEST);
    http_client_expect(&clients[1], 200, "GET /a ? localhost");
    for (unsigned i = 0; i < 3; i++)
        http_client_close(&clients[i]);
    http_fixture_end(&fixture);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_unix_stale),
        cmocka_unit_test(test_unix_in_the_way),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_tcp_reset),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_fewer_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
