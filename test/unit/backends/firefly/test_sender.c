/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender on loopback sockets: order, both families, an address that nobody can reach, and a
 * queue that is full.
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
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/net/address.h"
#include "sender.h"

#define WAIT_MS 5000
#define WAITING_MAX 65536

/* What the sender has reported so far. */
struct reports {
    unsigned results[3]; /* by enum flowd_sent */
    uint64_t last_tag;
    unsigned out_of_order;
    int last_error;
    unsigned to_receiver_1;
    unsigned refused; /* ICMP errors */
    in_port_t refused_port;
};

struct peer {
    int fd;
    struct sockaddr_storage address;
};

static struct ev_loop *loop;
static struct flowd_sender *sender;
static struct reports reports;

static void on_done(void *context, uint64_t tag, unsigned receiver,
                    const struct sockaddr_storage *address, enum flowd_sent result, int error)
{
    struct reports *seen = context;

    assert_true(address->ss_family == AF_INET || address->ss_family == AF_INET6);
    assert_int_equal(result == FLOWD_SENT_FAILED, error != 0);
    seen->results[result]++;
    if (tag < seen->last_tag)
        seen->out_of_order++;
    seen->last_tag = tag;
    if (error != 0)
        seen->last_error = error;
    seen->to_receiver_1 += receiver;
}

static void on_refused(void *context, const struct sockaddr_storage *address, int error)
{
    struct reports *seen = context;

    assert_int_equal(error, ECONNREFUSED);
    seen->refused++;
    seen->refused_port = address->ss_family == AF_INET
                             ? ((const struct sockaddr_in *)address)->sin_port
                             : ((const struct sockaddr_in6 *)address)->sin6_port;
}

static int make_sender(void **state)
{
    (void)state;
    reports = (struct reports){0};
    loop = ev_loop_new(0);
    return flowd_sender_new(loop, on_done, on_refused, &reports, &sender, NULL);
}

static int free_sender(void **state)
{
    (void)state;
    flowd_sender_free(sender);
    ev_loop_destroy(loop);
    return 0;
}

/* A bound socket; fd -1 where the host lacks the family. */
static struct peer make_peer(const char *address)
{
    struct peer peer = {.fd = -1};
    socklen_t length;
    int size = 4 << 20;

    assert_int_equal(flowd_endpoint_parse(address, 1, &peer.address, &length), 0);
    if (peer.address.ss_family == AF_INET)
        ((struct sockaddr_in *)&peer.address)->sin_port = 0;
    else
        ((struct sockaddr_in6 *)&peer.address)->sin6_port = 0;
    peer.fd = socket(peer.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* Older kernels allow less of what is asked for. */
    if (setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (bind(peer.fd, (struct sockaddr *)&peer.address, length) < 0) {
        close(peer.fd);
        peer.fd = -1;
    } else {
        assert_int_equal(getsockname(peer.fd, (struct sockaddr *)&peer.address, &length), 0);
    }
    return peer;
}

/* The next datagram's number, or -1 if none comes. */
static int receive(const struct peer *peer)
{
    struct pollfd ready = {.fd = peer->fd, .events = POLLIN};
    char text[64] = "";
    int number;

    if (poll(&ready, 1, WAIT_MS) != 1 || recv(peer->fd, text, sizeof(text) - 1, 0) < 0)
        return -1;
    return sscanf(text, "datagram %d", &number) == 1 ? number : -1;
}

/* All are of one flow, so that none may overtake another. */
static void queue_number(const struct sockaddr_storage *address, unsigned number)
{
    char text[64];
    int length = snprintf(text, sizeof(text), "datagram %u", number);

    const struct flowd_outgoing outgoing = {
        .data = text, .length = (size_t)length, .tag = number, .order = 1};

    flowd_sender_queue(sender, address, 1, &outgoing);
}

static void test_order(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer peer = make_peer(addresses[i]);
        enum { COUNT = 1000 };

        if (peer.fd < 0) {
            print_message("no %s on this host\n", addresses[i]);
            continue;
        }
        reports = (struct reports){0};
        for (unsigned number = 0; number < COUNT; number++)
            queue_number(&peer.address, number);
        assert_int_equal(flowd_sender_waiting(sender), COUNT);
        assert_int_equal(reports.results[FLOWD_SENT_OK], 0);
        flowd_sender_flush(sender);
        while (flowd_sender_waiting(sender) > 0)
            ev_run(loop, EVRUN_ONCE);
        for (int number = 0; number < COUNT; number++)
            assert_int_equal(receive(&peer), number);
        assert_int_equal(reports.results[FLOWD_SENT_OK], COUNT);
        assert_int_equal(reports.out_of_order, 0);
        assert_int_equal(reports.to_receiver_1, COUNT);
        close(peer.fd);
    }
}

/* Every second datagram goes where the kernel refuses it (broadcast without permission). */
static void test_failing_address_blocks_nobody(void **state)
{
    struct peer peer = make_peer("127.0.0.1");
    struct sockaddr_storage broadcast;
    socklen_t length;
    enum { COUNT = 700 };

    (void)state;
    assert_int_equal(flowd_endpoint_parse("255.255.255.255:9", 1, &broadcast, &length), 0);
    for (unsigned number = 0; number < COUNT; number++)
        queue_number(number % 2 ? &broadcast : &peer.address, number);
    flowd_sender_flush(sender);
    while (flowd_sender_waiting(sender) > 0)
        ev_run(loop, EVRUN_ONCE);
    assert_int_equal(reports.results[FLOWD_SENT_OK], COUNT / 2);
    assert_int_equal(reports.results[FLOWD_SENT_FAILED], COUNT / 2);
    assert_true(reports.last_error == EACCES || reports.last_error == ENETUNREACH);
    assert_int_equal(reports.out_of_order, 0);
    for (int number = 0; number < COUNT; number += 2)
        assert_int_equal(receive(&peer), number);
    close(peer.fd);
}

/*
 * Where nobody listens, the ICMP answer to one datagram fails no other, is told of with its
 * address, and nothing is lost on the way to others.
 */
static void test_closed_port(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    enum { COUNT = 400 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer closed = make_peer(addresses[i]), open = make_peer(addresses[i]);
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)&closed.address;
        unsigned told;

        if (open.fd < 0)
            continue;
        reports = (struct reports){0};
        close(closed.fd);
        for (unsigned number = 0; number < COUNT; number++) {
            queue_number(number % 2 ? &closed.address : &open.address, number);
            if (number % 33 == 0) /* the last one is for the closed port, or not */
                flowd_sender_flush(sender);
        }
        flowd_sender_flush(sender);
        do {
            told = reports.refused;
            ev_run(loop, EVRUN_NOWAIT);
        } while (reports.refused > told);
        assert_int_equal(reports.results[FLOWD_SENT_OK], COUNT);
        assert_int_equal(reports.results[FLOWD_SENT_FAILED], 0);
        assert_in_range(reports.refused, 1, COUNT / 2);
        assert_int_equal(reports.refused_port, address->sin6_port);
        for (int number = 0; number < COUNT; number += 2)
            assert_int_equal(receive(&open), number);
        close(open.fd);
    }
}

/* What others send to the sender's own port wakes nobody. */
static void test_datagrams_from_others(void **state)
{
    struct peer peer = make_peer("127.0.0.1");
    struct sockaddr_storage from;
    socklen_t length = sizeof(from);
    char text[64];

    (void)state;
    queue_number(&peer.address, 1);
    flowd_sender_flush(sender);
    assert_true(recvfrom(peer.fd, text, sizeof(text), 0, (struct sockaddr *)&from, &length) > 0);
    assert_int_equal(sendto(peer.fd, "x", 1, 0, (struct sockaddr *)&from, length), 1);
    ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(ev_pending_count(loop), 0);
    queue_number(&peer.address, 2);
    flowd_sender_flush(sender);
    assert_int_equal(recv(peer.fd, text, sizeof(text), 0), strlen("datagram 2"));
    close(peer.fd);
}

static void test_too_large_for_udp(void **state)
{
    static char large[70000];
    struct peer peer = make_peer("127.0.0.1");

    (void)state;
    queue_number(&peer.address, 1);
    flowd_sender_queue(sender, &peer.address, 0,
                       &(struct flowd_outgoing){.data = large, .length = sizeof(large), .tag = 2});
    queue_number(&peer.address, 3);
    flowd_sender_flush(sender);
    assert_int_equal(receive(&peer), 1);
    assert_int_equal(receive(&peer), 3);
    assert_int_equal(reports.results[FLOWD_SENT_FAILED], 1);
    assert_int_equal(reports.last_error, EMSGSIZE);
    close(peer.fd);
}

/* A batch of a usual size leaves, and is reported, with the flush and not before. */
static void test_nothing_before_the_flush(void **state)
{
    struct peer peer = make_peer("127.0.0.1");
    struct pollfd ready = {.fd = peer.fd, .events = POLLIN};

    (void)state;
    for (unsigned number = 0; number < 20000; number++)
        queue_number(&peer.address, number);
    assert_int_equal(reports.results[FLOWD_SENT_OK] + reports.results[FLOWD_SENT_FAILED] +
                         reports.results[FLOWD_SENT_DROPPED],
                     0);
    assert_int_equal(poll(&ready, 1, 0), 0);
    close(peer.fd);
}

/* Each datagram is reported exactly once, and what waits is bounded. */
static void test_far_too_many(void **state)
{
    struct peer peer = make_peer("127.0.0.1");
    enum { COUNT = 200000 };

    (void)state;
    for (unsigned number = 0; number < COUNT; number++) {
        queue_number(&peer.address, number);
        assert_in_range(flowd_sender_waiting(sender), 0, WAITING_MAX);
    }
    flowd_sender_flush(sender);
    while (flowd_sender_waiting(sender) > 0)
        ev_run(loop, EVRUN_ONCE);
    assert_int_equal(reports.results[FLOWD_SENT_OK] + reports.results[FLOWD_SENT_FAILED] +
                         reports.results[FLOWD_SENT_DROPPED],
                     COUNT);
    close(peer.fd);
}

/* The one for which there is no room until those before it have left is sent as it was queued. */
static void test_one_more_than_may_wait(void **state)
{
    struct peer many = make_peer("127.0.0.1"), one = make_peer("127.0.0.1");

    (void)state;
    for (unsigned number = 0; number < WAITING_MAX; number++)
        queue_number(&many.address, number);
    assert_int_equal(flowd_sender_waiting(sender), WAITING_MAX);
    queue_number(&one.address, WAITING_MAX);
    flowd_sender_flush(sender);
    while (flowd_sender_waiting(sender) > 0)
        ev_run(loop, EVRUN_ONCE);
    assert_int_equal(receive(&one), WAITING_MAX);
    close(many.fd);
    close(one.fd);
}

static void test_free_sends_what_waits(void **state)
{
    struct peer peer = make_peer("127.0.0.1");

    (void)state;
    flowd_sender_flush(sender);
    assert_int_equal(flowd_sender_waiting(sender), 0);
    queue_number(&peer.address, 7);
    flowd_sender_free(sender);
    assert_int_equal(receive(&peer), 7);
    flowd_sender_free(NULL);
    assert_int_equal(flowd_sender_new(loop, on_done, on_refused, &reports, &sender, NULL), 0);
    close(peer.fd);
}

#define WITH_SENDER(test) cmocka_unit_test_setup_teardown(test, make_sender, free_sender)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SENDER(test_order),
        WITH_SENDER(test_failing_address_blocks_nobody),
        WITH_SENDER(test_closed_port),
        WITH_SENDER(test_datagrams_from_others),
        WITH_SENDER(test_too_large_for_udp),
        WITH_SENDER(test_nothing_before_the_flush),
        WITH_SENDER(test_far_too_many),
        WITH_SENDER(test_one_more_than_may_wait),
        WITH_SENDER(test_free_sends_what_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
