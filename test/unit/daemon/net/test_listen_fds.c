/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager hands over: the environment, who gets which descriptor, and what is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/net/listen_fds.h"
#include "lab/scratch.h"

#define FIRST_FD 3
#define FDS_MAX 40

static struct scratch scratch;
static int handed; /* descriptors from FIRST_FD on */
static uint16_t port;

static int set_up(void **state)
{
    (void)state;
    flowd_log_configure(FLOWD_LOG_ERROR, FLOWD_LOG_TEXT);
    scratch_make(&scratch);
    handed = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int fd = FIRST_FD; fd < FIRST_FD + FDS_MAX; fd++)
        close(fd);
    scratch_remove(&scratch);
    return 0;
}

/* Puts fd where the next one is looked for, as it would come through exec. */
static void hand_over(int fd)
{
    assert_true(fd >= 0);
    if (fd != FIRST_FD + handed) {
        assert_int_equal(dup2(fd, FIRST_FD + handed), FIRST_FD + handed);
        close(fd);
    }
    handed++;
}

static int make_tcp(const char *address, bool listening)
{
    struct sockaddr_in6 place = {.sin6_family = AF_INET6, .sin6_port = 0};
    socklen_t length = sizeof(place);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);

    assert_int_equal(inet_pton(AF_INET6, address, &place.sin6_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&place, sizeof(place)), 0);
    if (listening)
        assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&place, &length), 0);
    port = ntohs(place.sin6_port);
    return fd;
}

static int make_unix(const char *name)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(snprintf(place.sun_path, sizeof(place.sun_path), "%s/%s", scratch.path, name) > 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&place, sizeof(place)), 0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static int make_fifo(const char *name, int flags)
{
    assert_int_equal(mkfifo(scratch_path(&scratch, name), 0600), 0);
    return open(scratch_path(&scratch, name), flags | O_NONBLOCK);
}

static void set_environment(const char *names)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%d", handed);
    setenv("LISTEN_FDS", text, 1);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
}

static const struct flowd_listen_wish fifo = {.use = FLOWD_LISTEN_FOR_FIFO,
                                              .kind = FLOWD_LISTEN_FIFO};

/* The TCP sockets of api at address and the port that was bound last. */
static struct flowd_listen_wish api_at(const char *address)
{
    return (struct flowd_listen_wish){
        .use = FLOWD_LISTEN_FOR_API, .kind = FLOWD_LISTEN_TCP, .address = address, .port = port};
}

static int take(struct flowd_listen_fds *fds, const struct flowd_listen_wish *wish)
{
    const struct flowd_listen_fd *one = flowd_listen_fds_take(fds, wish);

    return one != NULL ? one->fd : -1;
}

static void test_nothing(void **state)
{
    static const char *const rows[][2] = {{NULL, NULL},  {"1", "1"},     {"x", "1"},
                                          {"SELF", "0"}, {"SELF", "-1"}, {"SELF", "one"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDS");
        set_environment(NULL);
        if (rows[i][0] == NULL)
            unsetenv("LISTEN_PID");
        else if (strcmp(rows[i][0], "SELF") != 0)
            setenv("LISTEN_PID", rows[i][0], 1);
        setenv("LISTEN_FDS", rows[i][1] != NULL ? rows[i][1] : "1", 1);
        flowd_log_configure(FLOWD_LOG_ERROR, FLOWD_LOG_TEXT);
        assert_null(flowd_listen_fds_new());
        assert_null(getenv("LISTEN_FDS"));
    }
    assert_null(flowd_listen_fds_take(NULL, &fifo));
    flowd_listen_fds_report(NULL);
    flowd_listen_fds_free(NULL);
}

static void test_by_name(void **state)
{
    struct flowd_listen_fds *fds;
    struct flowd_listen_wish tcp,
        unix_wish = {.use = FLOWD_LISTEN_FOR_API, .kind = FLOWD_LISTEN_UNIX, .path = ""};
    struct flowd_listen_wish metrics;

    (void)state;
    hand_over(make_fifo("f", O_RDWR));
    hand_over(make_tcp("::1", true));
    hand_over(make_tcp("::", true));
    hand_over(make_unix("u"));
    hand_over(make_tcp("::1", true));
    set_environment("namedPipe:api:api:api:metrics");
    fds = flowd_listen_fds_new();
    assert_non_null(fds);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDNAMES"));
    for (int fd = FIRST_FD; fd < FIRST_FD + 5; fd++) {
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    }
    /* The port is that of the metrics, whose name keeps the API from taking it. */
    tcp = api_at("::1");
    assert_int_equal(take(fds, &tcp), 4);
    assert_int_equal(take(fds, &tcp), 5);
    assert_int_equal(take(fds, &tcp), -1);
    assert_int_equal(take(fds, &unix_wish), 6);
    assert_int_equal(take(fds, &fifo), 3);
    assert_int_equal(take(fds, &fifo), -1);
    metrics = (struct flowd_listen_wish){
        .use = FLOWD_LISTEN_FOR_METRICS, .kind = FLOWD_LISTEN_TCP, .address = "192.0.2.1"};
    assert_int_equal(take(fds, &metrics), 7);
    flowd_listen_fds_free(fds);
    /* What was taken is the taker's. */
    assert_true(fcntl(3, F_GETFD) >= 0);
}

/* Without names: a fifo, and listening sockets at the configured place. */
static void test_by_what_it_is(void **state)
{
    static const struct {
        const char *bound, *configured;
        bool fits;
    } rows[] = {
        {"::1", "::1", true},        {"::1", "::", true},
        {"::", "127.0.0.1", true},   {"::ffff:127.0.0.1", "127.0.0.1", false},
        {"::1", "127.0.0.1", false}, {"::1", "no address", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_listen_wish wish;
        struct flowd_listen_fds *fds;

        handed = 0;
        hand_over(make_tcp(rows[i].bound, true));
        set_environment(i % 2 ? "flowd.socket" : NULL);
        fds = flowd_listen_fds_new();
        wish = api_at(rows[i].configured);
        wish.port++;
        assert_int_equal(take(fds, &wish), -1);
        wish.port--;
        if ((take(fds, &wish) >= 0) != rows[i].fits)
            fail_msg("%s for %s", rows[i].bound, rows[i].configured);
        flowd_listen_fds_free(fds);
    }
}

static void test_unix_and_fifo_by_what_they_are(void **state)
{
    char path[SCRATCH_PATH_SIZE];
    struct flowd_listen_wish wish = {
        .use = FLOWD_LISTEN_FOR_API, .kind = FLOWD_LISTEN_UNIX, .path = "/elsewhere"};
    const struct flowd_listen_fd *one;
    struct flowd_listen_fds *fds;

    (void)state;
    snprintf(path, sizeof(path), "%s", scratch_path(&scratch, "u"));
    hand_over(make_unix("u"));
    hand_over(make_fifo("f", O_RDWR));
    set_environment("");
    fds = flowd_listen_fds_new();
    assert_int_equal(take(fds, &wish), -1);
    wish.path = path;
    assert_int_equal(take(fds, &wish), 3);
    one = flowd_listen_fds_take(fds, &fifo);
    assert_non_null(one);
    assert_string_equal(one->text, scratch_path(&scratch, "f"));
    flowd_listen_fds_free(fds);
}

/* Without a name a datagram socket is for fireflies if it is at their place. */
static void test_datagram_socket(void **state)
{
    static const struct flowd_listen_wish wishes[] = {
        {.use = FLOWD_LISTEN_FOR_FIREFLY, .kind = FLOWD_LISTEN_DATAGRAM, .address = "::1"},
        {.use = FLOWD_LISTEN_FOR_FIREFLY, .kind = FLOWD_LISTEN_DATAGRAM, .address = "::2"},
        {.use = FLOWD_LISTEN_FOR_FIREFLY, .kind = FLOWD_LISTEN_TCP, .address = "::1"},
    };
    struct sockaddr_in6 place = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t length = sizeof(place);
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct flowd_listen_fds *fds;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&place, sizeof(place)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&place, &length), 0);
    hand_over(fd);
    hand_over(socket(AF_UNIX, SOCK_DGRAM, 0));
    set_environment("");
    fds = flowd_listen_fds_new();
    assert_non_null(fds);
    for (int i = 2; i >= 0; i--) {
        struct flowd_listen_wish wish = wishes[i];

        wish.port = ntohs(place.sin6_port);
        assert_int_equal(take(fds, &wish), i == 0 ? 3 : -1);
        assert_int_equal(take(fds, &wish), -1);
    }
    flowd_listen_fds_free(fds);
    close(3);
}

/* A socket that does not listen, a datagram socket, a fifo that would report its end, a file. */
static void test_what_does_not_fit(void **state)
{
    struct flowd_listen_fds *fds;
    struct flowd_listen_wish wish;

    (void)state;
    hand_over(make_tcp("::1", false));
    hand_over(socket(AF_INET6, SOCK_DGRAM, 0));
    hand_over(make_fifo("f", O_RDONLY));
    scratch_write(&scratch, "file", "x", 1);
    hand_over(open(scratch_path(&scratch, "file"), O_RDWR));
    set_environment("api:api:fifo:fifo");
    fds = flowd_listen_fds_new();
    assert_non_null(fds);
    wish = api_at("::1");
    assert_int_equal(take(fds, &wish), -1);
    assert_int_equal(take(fds, &fifo), -1);
    flowd_listen_fds_report(fds);
    flowd_listen_fds_free(fds);
    assert_int_equal(fcntl(3, F_GETFD), -1);
}

/* More than are there, and more than are used: nothing stays open in a child. */
static void test_counts_that_are_wrong(void **state)
{
    struct flowd_listen_fds *fds;

    (void)state;
    hand_over(make_fifo("f", O_RDWR));
    set_environment("fifo");
    setenv("LISTEN_FDS", "7", 1);
    fds = flowd_listen_fds_new();
    assert_int_equal(take(fds, &fifo), 3);
    flowd_listen_fds_free(fds);
    while (handed < FLOWD_LISTEN_FDS_MAX + 2)
        hand_over(open("/dev/null", O_RDWR));
    set_environment(NULL);
    fds = flowd_listen_fds_new();
    for (int fd = FIRST_FD; fd < FIRST_FD + handed; fd++)
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    flowd_listen_fds_free(fds);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_nothing),
        READY(test_by_name),
        READY(test_by_what_it_is),
        READY(test_unix_and_fifo_by_what_they_are),
        READY(test_datagram_socket),
        READY(test_what_does_not_fit),
        READY(test_counts_that_are_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
