/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver, with a DNS server on the same loop: in a network namespace of this program's own,
 * where port 53 is free, and with a resolv.conf and a hosts file of its own.
 *
 * A question (RFC 1035, 4.1) is a header of 12 bytes, the name in labels, and type and class. The
 * answer here repeats it and adds a record for each address, whose name is a pointer to byte 12.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "daemon/resolver/resolver.h"
#include "lab/scratch.h"

#define HEADER 12
#define TYPE_A 1
#define TYPE_AAAA 28
#define NXDOMAIN 3
#define SERVFAIL 2
#define WAIT_S 30

/* What the server knows; a name that is not here does not exist. */
struct record {
    const char *name;
    const char *v4, *v6; /* NULL: no such address */
    unsigned ttl_s;
    unsigned rcode;
    unsigned asked; /* for A */
};

struct server {
    int fd;
    struct ev_io watcher;
};

/* What is told of a name. */
struct told {
    struct flowd_name *name;
    unsigned count;
};

static struct ev_loop *loop;
static struct flowd_resolver *resolver;
static struct scratch scratch;
static struct server server;
static struct record records[4];

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return done;
}

static bool bring_loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

    if (fd >= 0)
        close(fd);
    return done;
}

static bool mount_file(const char *name, const char *over, const char *text)
{
    scratch_write(&scratch, name, text, strlen(text));
    return mount(scratch_path(&scratch, name), over, NULL, MS_BIND, NULL) == 0;
}

/* Whether this program got a place of its own; NULL, or what it may not do. */
static const char *isolate(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "namespaces";
    if (!bring_loopback_up())
        return "loopback";
    if (!mount_file("resolv.conf", "/etc/resolv.conf",
                    "nameserver 127.0.0.1\nsearch example.org\n") ||
        !mount_file("hosts", "/etc/hosts", "192.0.2.99 hosts.example.org\n"))
        return "mounts over /etc/resolv.conf and /etc/hosts";
    return NULL;
}

/* Writes the name of a question with dots; returns where it ends. */
static size_t read_name(const unsigned char *question, size_t length, char name[static 256])
{
    size_t at = HEADER, out = 0;

    while (at < length && question[at] != 0) {
        size_t label = question[at++];

        assert_true(at + label < length && out + label + 2 < 256);
        if (out > 0)
            name[out++] = '.';
        memcpy(name + out, question + at, label);
        out += label;
        at += label;
    }
    name[out] = '\0';
    return at + 1;
}

static size_t put_record(unsigned char *at, unsigned type, unsigned ttl_s, const char *address)
{
    const unsigned char head[] = {0xc0,
                                  HEADER,
                                  0,
                                  (unsigned char)type,
                                  0,
                                  1,
                                  0,
                                  0,
                                  (unsigned char)(ttl_s >> 8),
                                  (unsigned char)ttl_s,
                                  0,
                                  type == TYPE_A ? 4 : 16};

    memcpy(at, head, sizeof(head));
    assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, at + sizeof(head)), 1);
    return sizeof(head) + head[11];
}

static struct record *find_record(const char *name)
{
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        if (records[i].name != NULL && strcasecmp(records[i].name, name) == 0)
            return &records[i];
    return NULL;
}

static void on_question(struct ev_loop *of, struct ev_io *watcher, int events)
{
    unsigned char bytes[1024] = {0};
    struct sockaddr_in from;
    socklen_t from_length = sizeof(from);
    ssize_t got = recvfrom(watcher->fd, bytes, 512, 0, (struct sockaddr *)&from, &from_length);
    char name[256];
    size_t end;
    unsigned type;
    struct record *record;
    const char *address;

    (void)of;
    (void)events;
    assert_true(got > HEADER);
    end = read_name(bytes, (size_t)got, name) + 4;
    type = bytes[end - 3];
    record = find_record(name);
    address = record == NULL ? NULL : type == TYPE_A ? record->v4 : record->v6;
    if (record != NULL && type == TYPE_A)
        record->asked++;
    bytes[2] |= 0x80;
    bytes[3] = (unsigned char)(record != NULL ? record->rcode : NXDOMAIN);
    bytes[7] = address != NULL;
    bytes[11] = 0; /* no EDNS */
    if (address != NULL)
        end += put_record(bytes + end, type, record->ttl_s, address);
    (void)sendto(watcher->fd, bytes, end, 0, (struct sockaddr *)&from, from_length);
}

static void open_server(const char *address)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(53)};

    assert_int_equal(inet_pton(AF_INET, address, &own.sin_addr), 1);
    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&own, sizeof(own)), 0);
    ev_io_init(&server.watcher, on_question, server.fd, EV_READ);
    ev_io_start(loop, &server.watcher);
}

static void close_server(void)
{
    if (server.fd < 0)
        return;
    ev_io_stop(loop, &server.watcher);
    close(server.fd);
    server.fd = -1;
}

static int set_up(void **state)
{
    (void)state;
    memset(records, 0, sizeof(records));
    loop = ev_loop_new(0);
    open_server("127.0.0.1");
    return flowd_resolver_new(loop, &resolver, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    close_server();
    flowd_resolver_free(resolver);
    ev_loop_destroy(loop);
    return 0;
}

static void on_told(void *context, struct flowd_name *name)
{
    struct told *told = context;

    assert_ptr_equal(name, told->name);
    told->count++;
}

static struct flowd_name *ask(const char *host, int family, struct told *told)
{
    *told = (struct told){.name = NULL};
    assert_int_equal(flowd_name_new(resolver, host, family, on_told, told, &told->name, NULL), 0);
    return told->name;
}

static void on_deadline(struct ev_loop *of, struct ev_timer *watcher, int events)
{
    (void)of;
    (void)events;
    *(bool *)watcher->data = true;
}

/* Turns the loop until something was told count times. */
static void wait_told(const struct told *told, unsigned count)
{
    struct ev_timer deadline;
    bool over = false;

    ev_timer_init(&deadline, on_deadline, WAIT_S, 0);
    deadline.data = &over;
    ev_now_update(loop);
    ev_timer_start(loop, &deadline);
    while (told->count < count && !over)
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &deadline);
    assert_false(over);
}

/* The addresses of a name as "a b". */
static const char *shown(const struct flowd_name *name)
{
    static char text[1024];
    size_t count, length = 0;
    const struct flowd_address *addresses = flowd_name_addresses(name, &count);

    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text[length++] = ' ';
        length += flowd_address_format(addresses[i].family, &addresses[i].addr, text + length);
    }
    return text;
}

static void test_numeric(void **state)
{
    struct told told;
    struct flowd_name *name = ask("2001:db8::1", AF_UNSPEC, &told);

    (void)state;
    assert_int_equal(flowd_name_state(name), FLOWD_NAME_KNOWN);
    assert_string_equal(shown(name), "2001:db8::1");
    assert_null(flowd_name_failure(name));
    flowd_name_free(name);
}

static void test_what_is_no_name(void **state)
{
    static const struct {
        const char *host;
        int family;
    } wrong[] = {
        {"192.0.2.300", AF_UNSPEC}, {"a b", AF_UNSPEC}, {"", AF_UNSPEC},
        {"192.0.2.1", AF_INET6},    {"::1", AF_INET},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct flowd_name *name = NULL;
        struct flowd_error error;

        assert_int_equal(
            flowd_name_new(resolver, wrong[i].host, wrong[i].family, on_told, NULL, &name, &error),
            -EINVAL);
        assert_null(name);
    }
}

static void test_both_families(void **state)
{
    struct told both, v4, v6;

    (void)state;
    records[0] =
        (struct record){.name = "both.example.org", .v4 = "127.0.0.7", .v6 = "::1", .ttl_s = 300};
    ask("both.example.org", AF_UNSPEC, &both);
    ask("both.example.org", AF_INET, &v4);
    ask("both.example.org", AF_INET6, &v6);
    assert_int_equal(flowd_name_state(both.name), FLOWD_NAME_WAITING);
    wait_told(&both, 1);
    wait_told(&v4, 1);
    wait_told(&v6, 1);
    assert_int_equal(flowd_name_state(both.name), FLOWD_NAME_KNOWN);
    assert_non_null(strstr(shown(both.name), "127.0.0.7"));
    assert_non_null(strstr(shown(both.name), "::1"));
    assert_string_equal(shown(v4.name), "127.0.0.7");
    assert_string_equal(shown(v6.name), "::1");
    flowd_name_free(both.name);
    flowd_name_free(v4.name);
    flowd_name_free(v6.name);
}

static void test_hosts_and_search(void **state)
{
    struct told hosts, search;

    (void)state;
    records[0] = (struct record){.name = "short.example.org", .v4 = "192.0.2.5", .ttl_s = 300};
    ask("hosts.example.org", AF_INET, &hosts);
    ask("short", AF_UNSPEC, &search);
    wait_told(&hosts, 1);
    wait_told(&search, 1);
    assert_string_equal(shown(hosts.name), "192.0.2.99");
    assert_string_equal(shown(search.name), "192.0.2.5");
    flowd_name_free(hosts.name);
    flowd_name_free(search.name);
}

/* After the answer's time the name is asked for again, and its owner hears of other addresses. */
static void test_another_answer(void **state)
{
    struct told told;

    (void)state;
    records[0] = (struct record){.name = "moves.example.org", .v4 = "192.0.2.1", .ttl_s = 1};
    ask("moves.example.org", AF_UNSPEC, &told);
    wait_told(&told, 1);
    assert_string_equal(shown(told.name), "192.0.2.1");
    records[0].v4 = "192.0.2.2";
    wait_told(&told, 2);
    assert_string_equal(shown(told.name), "192.0.2.2");
    assert_int_equal(records[0].asked, 2);
    flowd_name_free(told.name);
}

/* It is asked for again by itself, and its owner is told once of the failure. */
static void test_unknown_name(void **state)
{
    struct told told;

    (void)state;
    ask("nobody.example.org", AF_UNSPEC, &told);
    wait_told(&told, 1);
    assert_int_equal(flowd_name_state(told.name), FLOWD_NAME_UNKNOWN);
    assert_non_null(flowd_name_failure(told.name));
    records[0] = (struct record){.name = "nobody.example.org", .v4 = "192.0.2.3", .ttl_s = 300};
    wait_told(&told, 2);
    assert_int_equal(flowd_name_state(told.name), FLOWD_NAME_KNOWN);
    assert_string_equal(shown(told.name), "192.0.2.3");
    flowd_name_free(told.name);
}

/* A server that is down, or can't say, takes no address away; one that says "no such name" does. */
static void test_last_good_answer(void **state)
{
    struct told told;

    (void)state;
    records[0] = (struct record){.name = "kept.example.org", .v4 = "192.0.2.4", .ttl_s = 300};
    ask("kept.example.org", AF_UNSPEC, &told);
    wait_told(&told, 1);
    close_server();
    flowd_resolver_refresh(resolver);
    wait_told(&told, 2);
    assert_int_equal(flowd_name_state(told.name), FLOWD_NAME_KNOWN);
    assert_non_null(flowd_name_failure(told.name));
    assert_string_equal(shown(told.name), "192.0.2.4");
    open_server("127.0.0.1");
    flowd_resolver_refresh(resolver);
    wait_told(&told, 3);
    assert_null(flowd_name_failure(told.name));
    records[0].rcode = SERVFAIL;
    records[0].v4 = NULL;
    flowd_resolver_refresh(resolver);
    wait_told(&told, 4);
    assert_string_equal(shown(told.name), "192.0.2.4");
    records[0].name = NULL;
    flowd_resolver_refresh(resolver);
    wait_told(&told, 5);
    assert_int_equal(flowd_name_state(told.name), FLOWD_NAME_UNKNOWN);
    flowd_name_free(told.name);
}

/* Another resolv.conf counts from the next question on. */
static void test_another_configuration(void **state)
{
    struct told told;

    (void)state;
    records[0] = (struct record){.name = "other.example.org", .v4 = "192.0.2.6", .ttl_s = 300};
    ask("other.example.org", AF_UNSPEC, &told);
    wait_told(&told, 1);
    close_server();
    assert_true(write_file("/etc/resolv.conf", "nameserver 127.0.0.53\nsearch example.org\n"));
    open_server("127.0.0.53");
    records[0].v4 = "192.0.2.7";
    flowd_resolver_refresh(resolver);
    wait_told(&told, 2);
    assert_string_equal(shown(told.name), "192.0.2.7");
    assert_true(write_file("/etc/resolv.conf", "nameserver 127.0.0.1\nsearch example.org\n"));
    flowd_name_free(told.name);
}

/* Names may go while they are asked for, and the resolver with questions open. */
static void test_free_while_waiting(void **state)
{
    struct told first, second;

    (void)state;
    records[0] = (struct record){.name = "b.example.org", .v4 = "192.0.2.8", .ttl_s = 300};
    ask("a.example.org", AF_UNSPEC, &first);
    ask("b.example.org", AF_UNSPEC, &second);
    ev_run(loop, EVRUN_ONCE);
    flowd_name_free(first.name);
    wait_told(&second, 1);
    flowd_resolver_refresh(resolver);
    ev_run(loop, EVRUN_ONCE);
    flowd_name_free(second.name);
    assert_int_equal(first.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numeric, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_both_families, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hosts_and_search, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_good_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_configuration, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_free_while_waiting, set_up, tear_down),
    };
    const char *missing;
    int failed;

    scratch_make(&scratch);
    missing = isolate();
    if (missing != NULL) {
        print_message("skipped: %s: not permitted\n", missing);
        scratch_remove(&scratch);
        return 0;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    umount("/etc/resolv.conf");
    umount("/etc/hosts");
    scratch_remove(&scratch);
    return failed;
}
