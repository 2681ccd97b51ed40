/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender's messages of several datagrams: whatever the kernel has against them, each receiver
 * gets the datagrams that it gets without them, each once, and those of a flow in their order.
 * sendmmsg(2) is a function here that says no where a test wants it to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "batch.h"
#include "daemon/net/address.h"
#include "segment_limits.h"
#include "sender.h"

#define RECEIVERS 3
#define FLOWS 50u
#define COUNT_MAX 4000u
#define FLUSH 400u
#define TEXT_SIZE 2048

/* What sendmmsg() refuses, and what it has seen. */
struct kernel {
    int error;          /* 0: nothing */
    bool singles;       /* it is for messages of one datagram, too */
    in_port_t port;     /* of those to this port alone; 0: of all */
    size_t longer_than; /* of those whose datagrams are longer */
    unsigned times;     /* so often */
    unsigned refused, grouped, in_groups, single;
    unsigned takes; /* messages until it says EAGAIN once; 0: all */
};

/* Datagram n as it was queued. */
struct made {
    char text[TEXT_SIZE];
    size_t length;
    unsigned receiver;
    unsigned flow;
};

static struct ev_loop *loop;
static struct flowd_sender *sender;
static struct kernel kernel;
static unsigned results[3]; /* by enum flowd_sent */
static unsigned refused;    /* by ICMP */
static int last_error;
static int fds[RECEIVERS + 1];
static struct sockaddr_storage addresses[RECEIVERS + 1];
static struct made made[COUNT_MAX];
static unsigned received[COUNT_MAX];
static unsigned reported[COUNT_MAX];
static unsigned next[RECEIVERS + 1][FLOWS]; /* what may come of a flow */

static bool is_refused(const struct msghdr *message)
{
    const struct sockaddr_in6 *to = message->msg_name;
    bool is_group = message->msg_controllen > 0;
    uint16_t segment = 0;

    if (is_group)
        memcpy(&segment, CMSG_DATA(CMSG_FIRSTHDR(message)), sizeof(segment));
    return kernel.error != 0 && kernel.refused < kernel.times && (is_group || kernel.singles) &&
           (kernel.port == 0 || kernel.port == to->sin6_port) && segment >= kernel.longer_than;
}

static void count_message(const struct msghdr *message)
{
    size_t bytes = 0;
    uint16_t segment;

    if (message->msg_controllen == 0) {
        kernel.single++;
        return;
    }
    memcpy(&segment, CMSG_DATA(CMSG_FIRSTHDR(message)), sizeof(segment));
    for (size_t i = 0; i < message->msg_iovlen; i++)
        bytes += message->msg_iov[i].iov_len;
    assert_int_equal(bytes % segment, 0);
    kernel.grouped++;
    kernel.in_groups += (unsigned)(bytes / segment);
}

/* Instead of libc's; the real one sends what is not refused. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    unsigned sent = 0;

    for (; sent < count; sent++) {
        if (is_refused(&messages[sent].msg_hdr))
            break;
        if (kernel.takes > 0 && --kernel.takes == 0) {
            if (sent == 0)
                errno = EAGAIN;
            else
                kernel.takes = 1; /* the next call says it */
            return sent == 0 ? -1 : (int)sent;
        }
        if (syscall(SYS_sendmmsg, fd, &messages[sent], 1, flags) != 1)
            return sent > 0 ? (int)sent : -1;
        count_message(&messages[sent].msg_hdr);
    }
    if (sent > 0)
        return (int)sent;
    kernel.refused++;
    errno = kernel.error;
    return -1;
}

static void on_done(void *context, uint64_t tag, unsigned receiver,
                    const struct sockaddr_storage *address, enum flowd_sent result, int error)
{
    (void)context;
    assert_int_equal(made[tag].receiver, receiver);
    assert_memory_equal(address, &addresses[receiver], sizeof(struct sockaddr_in6));
    results[result]++;
    reported[tag]++;
    if (error != 0)
        last_error = error;
}

static void on_refused(void *context, const struct sockaddr_storage *address, int error)
{
    (void)context;
    (void)address;
    assert_int_equal(error, ECONNREFUSED);
    refused++;
}

/* Receivers 1 and 3 are on IPv6 where the host has it, the others on IPv4. */
static void bind_receiver(unsigned receiver)
{
    socklen_t length;
    int size = 4 << 20;
    const char *text = receiver % 2 == 1 ? "::1" : "127.0.0.1";

    for (; fds[receiver] < 0; text = "127.0.0.1") {
        assert_int_equal(flowd_endpoint_parse(text, 1, &addresses[receiver], &length), 0);
        flowd_endpoint_make(text[0] == ':' ? AF_INET6 : AF_INET,
                            text[0] == ':' ? &in6addr_loopback
                                           : &(struct in6_addr){.s6_addr = {127, 0, 0, 1}},
                            0, &addresses[receiver]);
        fds[receiver] =
            socket(addresses[receiver].ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (bind(fds[receiver], (struct sockaddr *)&addresses[receiver], length) < 0) {
            close(fds[receiver]);
            fds[receiver] = -1;
        }
    }
    /* Older kernels allow less of what is asked for. */
    if (setsockopt(fds[receiver], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fds[receiver], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    assert_int_equal(getsockname(fds[receiver], (struct sockaddr *)&addresses[receiver], &length),
                     0);
}

static int set_up(void **state)
{
    (void)state;
    kernel = (struct kernel){.times = UINT32_MAX};
    memset(results, 0, sizeof(results));
    memset(received, 0, sizeof(received));
    memset(reported, 0, sizeof(reported));
    memset(next, 0, sizeof(next));
    refused = 0;
    last_error = 0;
    for (unsigned receiver = 0; receiver <= RECEIVERS; receiver++) {
        fds[receiver] = -1;
        bind_receiver(receiver);
    }
    loop = ev_loop_new(0);
    return flowd_sender_new(loop, on_done, on_refused, NULL, &sender, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    flowd_sender_free(sender);
    ev_loop_destroy(loop);
    for (unsigned receiver = 0; receiver <= RECEIVERS; receiver++)
        close(fds[receiver]);
    return 0;
}

static void make(unsigned n, unsigned receiver, size_t length)
{
    unsigned flow = n * 7 % FLOWS;
    int head = snprintf(made[n].text, TEXT_SIZE, "datagram %u ", n);

    memset(made[n].text + head, 'a' + (char)(n % 26), TEXT_SIZE - (size_t)head);
    made[n].length = length;
    made[n].receiver = receiver;
    made[n].flow = flow;
}

/* Reads all that has come for a receiver: each one as it was made, in order within its flow. */
static void receive(unsigned receiver)
{
    char text[TEXT_SIZE + 1];
    ssize_t length;
    unsigned n;

    while ((length = recv(fds[receiver], text, TEXT_SIZE, 0)) >= 0) {
        text[length] = '\0';
        assert_int_equal(sscanf(text, "datagram %u ", &n), 1);
        assert_in_range(n, 0, COUNT_MAX - 1);
        assert_int_equal(made[n].receiver, receiver);
        assert_int_equal(length, made[n].length);
        assert_memory_equal(text, made[n].text, made[n].length);
        assert_int_equal(received[n]++, 0);
        if (receiver > 0)
            assert_true(n >= next[receiver][made[n].flow]);
        next[receiver][made[n].flow] = n + 1;
    }
}

static void flush(void)
{
    flowd_sender_flush(sender);
    while (flowd_sender_waiting(sender) > 0)
        ev_run(loop, EVRUN_ONCE);
    for (unsigned receiver = 0; receiver <= RECEIVERS; receiver++)
        receive(receiver);
}

static void send_all(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        const struct flowd_outgoing outgoing = {
            .data = made[n].text, .length = made[n].length, .tag = n, .order = made[n].flow};

        flowd_sender_queue(sender, &addresses[made[n].receiver], made[n].receiver, &outgoing);
        if (n % FLUSH == FLUSH - 1)
            flush();
    }
    flush();
}

/* Lengths from 300 on, some of each, to everybody. */
static void make_mixture(unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        make(n, n * 31 / 8 % (RECEIVERS + 1), 300 + n * n % 13);
}

static void assert_all_came(unsigned count)
{
    assert_int_equal(results[FLOWD_SENT_OK], count);
    for (unsigned n = 0; n < count; n++) {
        assert_int_equal(received[n], 1);
        assert_int_equal(reported[n], 1);
    }
}

static void test_all_at_once(void **state)
{
    (void)state;
    make_mixture(COUNT_MAX);
    send_all(COUNT_MAX);
    assert_all_came(COUNT_MAX);
    /* Three of four are for receivers of many. */
    assert_in_range(kernel.in_groups, COUNT_MAX * 5 / 8, COUNT_MAX * 3 / 4);
    assert_true(kernel.in_groups > 3 * kernel.grouped);
}

/* Each refusal stands for one that there is: each receiver's messages are refused once. */
static void test_refusals(void **state)
{
    static const int errors[] = {EINVAL, EIO, EOPNOTSUPP, EMSGSIZE, ENOPROTOOPT};

    (void)state;
    make_mixture(COUNT_MAX);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        kernel.error = errors[i];
        send_all(COUNT_MAX);
        assert_all_came(COUNT_MAX);
        assert_int_equal(kernel.grouped, 0);
        /* It was tried again once, because the error might have been an old one. */
        assert_int_equal(kernel.refused, 2 * RECEIVERS);
        tear_down(state);
        set_up(state);
    }
}

static void test_one_receiver_refuses(void **state)
{
    (void)state;
    make_mixture(COUNT_MAX);
    kernel.error = EIO;
    kernel.port = ((const struct sockaddr_in6 *)&addresses[2])->sin6_port;
    send_all(COUNT_MAX);
    assert_all_came(COUNT_MAX);
    assert_int_equal(kernel.refused, 2);
    assert_in_range(kernel.in_groups, COUNT_MAX * 3 / 8, COUNT_MAX / 2);
}

/* A path with a smaller MTU: short ones still go together. */
static void test_small_mtu(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 1000; n++)
        make(n, 1, n % 2 ? 1300 : 400);
    kernel.error = EMSGSIZE;
    kernel.longer_than = 1233;
    send_all(1000);
    assert_all_came(1000);
    assert_int_equal(kernel.refused, 2);
    assert_int_equal(kernel.single, 500);
    assert_int_equal(kernel.in_groups, 500);
}

/* What is no fault of the form costs one round, and the next messages are of several again. */
static void test_passing_error(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 1000; n++)
        make(n, 1, 400);
    kernel.error = EPERM;
    kernel.times = 2;
    send_all(1000);
    assert_all_came(1000);
    assert_int_equal(kernel.single, BATCH_SEGMENTS_MAX);
}

/* An error of long ago that nothing else is known of: the datagram that met it is sent. */
static void test_pending_error(void **state)
{
    (void)state;
    make_mixture(1000);
    kernel.error = ECONNREFUSED;
    kernel.singles = true;
    kernel.times = 1;
    send_all(1000);
    assert_all_came(1000);
    assert_int_equal(kernel.refused, 1);
}

/* A queue of the network that is full may have taken some: none of them is sent again. */
static void test_no_buffers(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 300; n++)
        make(n, 1, 400);
    kernel.error = ENOBUFS;
    kernel.times = 1;
    send_all(300);
    assert_int_equal(results[FLOWD_SENT_FAILED], BATCH_SEGMENTS_MAX);
    assert_int_equal(results[FLOWD_SENT_OK], 300 - BATCH_SEGMENTS_MAX);
    assert_int_equal(last_error, ENOBUFS);
    for (unsigned n = 0; n < 300; n++) {
        assert_int_equal(reported[n], 1);
        assert_int_equal(received[n], n >= BATCH_SEGMENTS_MAX);
    }
}

/* The socket is full again and again, amid a batch, and more is queued meanwhile. */
static void test_full_socket(void **state)
{
    (void)state;
    make_mixture(COUNT_MAX);
    for (unsigned n = 0; n < COUNT_MAX; n++) {
        const struct flowd_outgoing outgoing = {
            .data = made[n].text, .length = made[n].length, .tag = n, .order = made[n].flow};

        flowd_sender_queue(sender, &addresses[made[n].receiver], made[n].receiver, &outgoing);
        if (n % 300 != 299)
            continue;
        kernel.takes = 1 + n % 17;
        flowd_sender_flush(sender);
        if (n % 1200 == 1199)
            flush();
        for (unsigned receiver = 0; receiver <= RECEIVERS; receiver++)
            receive(receiver);
    }
    kernel.takes = 0;
    flush();
    assert_int_equal(flowd_sender_waiting(sender), 0);
    assert_all_came(COUNT_MAX);
}

/* Nobody listens at one receiver: those of the others come, and errors are told of. */
static void test_one_is_closed(void **state)
{
    unsigned told;

    (void)state;
    make_mixture(COUNT_MAX);
    close(fds[2]);
    fds[2] = -1;
    send_all(COUNT_MAX);
    do {
        told = refused;
        ev_run(loop, EVRUN_NOWAIT);
    } while (refused > told);
    assert_int_equal(results[FLOWD_SENT_OK], COUNT_MAX);
    assert_true(refused > 0);
    for (unsigned n = 0; n < COUNT_MAX; n++) {
        assert_int_equal(received[n], made[n].receiver != 2);
        assert_int_equal(reported[n], 1);
    }
}

#define WITH_SENDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SENDER(test_all_at_once),          WITH_SENDER(test_refusals),
        WITH_SENDER(test_one_receiver_refuses), WITH_SENDER(test_small_mtu),
        WITH_SENDER(test_passing_error),        WITH_SENDER(test_pending_error),
        WITH_SENDER(test_no_buffers),           WITH_SENDER(test_full_socket),
        WITH_SENDER(test_one_is_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
