/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of sock_diag(7): what is read of whole ones, of those of older kernels, and of broken
 * ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "daemon/tcp/tcp_sample.h"
#include "lab/diag_message.h"

#define TAKEN 1767225600000000

/* Attributes as include/uapi/linux/inet_diag.h numbers them. */
enum { INFO = 2, VEGAS = 3, CONG = 4, SKMEM = 7, DCTCP = 9, BBR = 16 };

static const uint8_t v4_src[] = {192, 0, 2, 1};
static const uint8_t v4_dst[] = {198, 51, 100, 2};
static const uint8_t v6_src[] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
static const uint8_t v6_dst[] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
static const uint8_t mapped_src[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
static const uint8_t mapped_dst[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 2};

/*
 * As Linux 6.18 sends it (little endian): a netlink header (length 0x8c, type 20, sequence 7); at
 * 16 struct inet_diag_msg (AF_INET, established, no timer, ports 1094 and 40000, the addresses
 * 192.0.2.1 and 198.51.100.2, a cookie of two halves); at 88 the attribute CONG, "cubic" and its
 * NUL in a length of 10, with two bytes of padding; at 100 the attribute SKMEMINFO, nine numbers.
 */
static const uint8_t golden[] = {
    0x8c, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x02, 0x01, 0x00, 0x00, 0x04, 0x46, 0x9c, 0x40, 0xc0, 0x00, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc6, 0x33, 0x64, 0x02, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x39, 0x30, 0x00, 0x00, 0x0a, 0x00, 0x04, 0x00, 0x63, 0x75, 0x62, 0x69,
    0x63, 0x00, 0x00, 0x00, 0x28, 0x00, 0x07, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00,
};

static struct flowd_tcp_socket decode(const struct diag_message *message)
{
    struct flowd_tcp_socket socket;

    memset(&socket, 0xa5, sizeof(socket));
    assert_int_equal(flowd_tcp_socket_decode(message->bytes, message->length, TAKEN, &socket), 0);
    return socket;
}

static void expect_address(const struct in6_addr *address, const uint8_t *bytes, size_t size)
{
    static const uint8_t zeros[16];

    assert_memory_equal(address, bytes, size);
    assert_memory_equal((const uint8_t *)address + size, zeros, 16 - size);
}

static void test_golden(void **state)
{
    struct flowd_tcp_socket socket;

    (void)state;
    assert_int_equal(flowd_tcp_socket_decode(golden, sizeof(golden), TAKEN, &socket), 0);
    assert_int_equal(socket.sequence, 7);
    assert_int_equal(socket.key.family, AF_INET);
    assert_int_equal(socket.key.protocol, IPPROTO_TCP);
    assert_int_equal(socket.key.src_port, 1094);
    assert_int_equal(socket.key.dst_port, 40000);
    expect_address(&socket.key.src, v4_src, 4);
    expect_address(&socket.key.dst, v4_dst, 4);
    assert_int_equal(socket.sample.taken_us, TAKEN);
    assert_int_equal(socket.sample.cookie, 0x0000000200000001);
    assert_int_equal(socket.sample.state, TCP_ESTABLISHED);
    assert_string_equal(socket.sample.congestion, "cubic");
    assert_int_equal(socket.sample.has, FLOWD_TCP_HAS_MEMORY);
    for (unsigned i = 0; i < FLOWD_TCP_MEMORY_FIELDS; i++)
        assert_int_equal(socket.sample.memory[i], i + 1);
    assert_int_equal(socket.sample.info_length, 0);
    assert_false(flowd_tcp_sample_usage(&socket.sample, &(struct flowd_tcp_usage){0}));
}

static void test_families(void **state)
{
    struct diag_message message;
    struct flowd_tcp_socket socket;

    (void)state;
    diag_message_begin(&message, AF_INET6, v6_src, v6_dst);
    socket = decode(&message);
    assert_int_equal(socket.key.family, AF_INET6);
    expect_address(&socket.key.src, v6_src, 16);
    expect_address(&socket.key.dst, v6_dst, 16);
    /* An IPv6 socket that carries IPv4. */
    diag_message_begin(&message, AF_INET6, mapped_src, mapped_dst);
    socket = decode(&message);
    assert_int_equal(socket.key.family, AF_INET);
    expect_address(&socket.key.src, v4_src, 4);
    expect_address(&socket.key.dst, v4_dst, 4);
    /* What stands behind the four bytes of an IPv4 address does not get into the key. */
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    memset(message.bytes + 28, 0xff, 12);
    socket = decode(&message);
    expect_address(&socket.key.src, v4_src, 4);
}

/* As much of tcp_info as the kernel gave, whatever this program was built for. */
static void test_info_lengths(void **state)
{
    static const struct {
        size_t given, known;
        bool usage;
    } rows[] = {
        {0, 0, false},     {1, 1, false},    {104, 104, false}, {128, 128, false},
        {135, 135, false}, {136, 136, true}, {192, 192, true},  {224, 224, true},
        {280, 280, true},  {281, 280, true}, {400, 280, true},
    };
    struct diag_message message;
    uint8_t info[400];

    (void)state;
    memset(info, 0x11, sizeof(info));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_tcp_socket socket;
        struct flowd_tcp_usage usage;
        const uint8_t *bytes = (const uint8_t *)&socket.sample.info;

        diag_message_begin(&message, AF_INET, v4_src, v4_dst);
        diag_message_add(&message, INFO, info, rows[i].given);
        diag_message_add(&message, CONG, "reno", 5);
        socket = decode(&message);
        assert_int_equal(socket.sample.info_length, rows[i].known);
        assert_int_equal(flowd_tcp_sample_usage(&socket.sample, &usage), rows[i].usage);
        for (size_t at = 0; at < sizeof(socket.sample.info); at++)
            assert_int_equal(bytes[at], at < rows[i].known ? 0x11 : 0);
        /* What follows is found whatever the length. */
        assert_string_equal(socket.sample.congestion, "reno");
    }
}

static void test_algorithms(void **state)
{
    static const uint32_t bbr[] = {1000, 1, 25000, 739, 512};
    static const uint32_t vegas[] = {1, 2, 300, 200};
    static const uint32_t dctcp[] = {0x00010001, 1024, 5, 6};
    struct diag_message message;
    struct flowd_tcp_socket socket;

    (void)state;
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    diag_message_add(&message, BBR, bbr, sizeof(bbr));
    socket = decode(&message);
    assert_int_equal(socket.sample.has, FLOWD_TCP_HAS_BBR);
    assert_int_equal(socket.sample.bbr.bbr_bw_lo, 1000);
    assert_int_equal(socket.sample.bbr.bbr_cwnd_gain, 512);
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    diag_message_add(&message, VEGAS, vegas, sizeof(vegas));
    socket = decode(&message);
    assert_int_equal(socket.sample.has, FLOWD_TCP_HAS_VEGAS);
    assert_int_equal(socket.sample.vegas.tcpv_minrtt, 200);
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    diag_message_add(&message, DCTCP, dctcp, sizeof(dctcp));
    socket = decode(&message);
    assert_int_equal(socket.sample.has, FLOWD_TCP_HAS_DCTCP);
    assert_int_equal(socket.sample.dctcp.dctcp_alpha, 1024);
    /* Too short for what they are: not there. */
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    diag_message_add(&message, BBR, bbr, sizeof(bbr) - 4);
    diag_message_add(&message, SKMEM, NULL, 32);
    diag_message_add(&message, CONG, "a-name-of-17-byte", 17);
    diag_message_add(&message, CONG, NULL, 0);
    diag_message_add(&message, 99, bbr, sizeof(bbr));
    socket = decode(&message);
    assert_int_equal(socket.sample.has, 0);
    assert_string_equal(socket.sample.congestion, "");
    /* A name without its NUL gets one. */
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    diag_message_add(&message, CONG, "0123456789abcdef", 16);
    socket = decode(&message);
    assert_string_equal(socket.sample.congestion, "0123456789abcde");
}

/* Attributes that reach past the message, or are shorter than their own head, end the reading. */
static void test_broken_attributes(void **state)
{
    static const uint16_t lengths[] = {0, 3, 60, 0xffff};
    struct diag_message message;

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct flowd_tcp_socket socket;

        diag_message_begin(&message, AF_INET, v4_src, v4_dst);
        diag_message_add(&message, CONG, "reno", 5);
        diag_message_add(&message, SKMEM, NULL, 36);
        memcpy(message.bytes + DIAG_HEAD + 12, &lengths[i], sizeof(lengths[i]));
        socket = decode(&message);
        assert_string_equal(socket.sample.congestion, "reno");
        assert_int_equal(socket.sample.has, 0);
    }
}

/* Each length of a message that is cut off: refused, or read up to there. */
static void test_cut_off(void **state)
{
    struct flowd_tcp_socket socket;
    struct diag_message message;

    (void)state;
    for (size_t length = 0; length < sizeof(golden); length++) {
        memset(&socket, 0xa5, sizeof(socket));
        assert_int_equal(flowd_tcp_socket_decode(golden, length, TAKEN, &socket), -EINVAL);
        assert_int_equal(socket.sequence, 0xa5a5a5a5);
    }
    for (uint32_t length = 0; length < sizeof(golden); length++) {
        memcpy(message.bytes, golden, sizeof(golden));
        memcpy(message.bytes, &length, sizeof(length));
        assert_int_equal(flowd_tcp_socket_decode(message.bytes, sizeof(golden), TAKEN, &socket),
                         length < DIAG_HEAD ? -EINVAL : 0);
    }
}

static void test_no_such_message(void **state)
{
    struct flowd_tcp_socket socket;
    struct diag_message message;

    (void)state;
    diag_message_begin(&message, AF_UNIX, v6_src, v6_dst);
    assert_int_equal(flowd_tcp_socket_decode(message.bytes, message.length, TAKEN, &socket),
                     -EINVAL);
    /* One end mapped, the other not: a listener of both families. */
    diag_message_begin(&message, AF_INET6, mapped_src, v6_dst);
    assert_int_equal(flowd_tcp_socket_decode(message.bytes, message.length, TAKEN, &socket),
                     -EINVAL);
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    message.bytes[4] = 3; /* NLMSG_DONE */
    assert_int_equal(flowd_tcp_socket_decode(message.bytes, message.length, TAKEN, &socket),
                     -EINVAL);
}

/* Of a socket that nobody has any more the kernel says by a timer that it only waits. */
static void test_life(void **state)
{
    static const struct {
        uint8_t tcp_state, timer;
        enum flowd_tcp_life life;
    } rows[] = {
        {TCP_SYN_SENT, 1, FLOWD_TCP_CONNECTED},
        {TCP_SYN_RECV, 0, FLOWD_TCP_CONNECTED},
        {TCP_ESTABLISHED, 0, FLOWD_TCP_CONNECTED},
        {TCP_ESTABLISHED, 2, FLOWD_TCP_CONNECTED},
        {TCP_ESTABLISHED, 4, FLOWD_TCP_CONNECTED},
        {TCP_FIN_WAIT1, 1, FLOWD_TCP_CONNECTED},
        {TCP_FIN_WAIT2, 0, FLOWD_TCP_CONNECTED},
        {TCP_FIN_WAIT2, 3, FLOWD_TCP_LINGERS},
        {TCP_CLOSE_WAIT, 0, FLOWD_TCP_CONNECTED},
        {TCP_LAST_ACK, 1, FLOWD_TCP_CONNECTED},
        {TCP_CLOSING, 1, FLOWD_TCP_CONNECTED},
        {TCP_TIME_WAIT, 3, FLOWD_TCP_CLOSED},
        {TCP_LISTEN, 0, FLOWD_TCP_GONE},
        {TCP_CLOSE, 0, FLOWD_TCP_GONE},
        {0, 0, FLOWD_TCP_GONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_tcp_socket socket;
        struct diag_message message;

        diag_message_begin(&message, AF_INET, v4_src, v4_dst);
        message.bytes[17] = rows[i].tcp_state;
        message.bytes[18] = rows[i].timer;
        socket = decode(&message);
        assert_int_equal(flowd_tcp_socket_life(&socket), rows[i].life);
        assert_int_equal(socket.time_wait, rows[i].timer == 3);
    }
}

static uint64_t sent(const struct flowd_tcp_sample *sample)
{
    struct flowd_tcp_usage usage;

    assert_true(flowd_tcp_sample_usage(sample, &usage));
    return usage.sent;
}

/* Bytes sent are counted once however often they went out. */
/* A socket without a remote port: an aborted one still has the address. */
static void test_closure(void **state)
{
    static const uint8_t nobody[4];
    struct flowd_tcp_socket socket;
    struct diag_message message;

    (void)state;
    diag_message_begin(&message, AF_INET, v4_src, v4_dst);
    socket = decode(&message);
    assert_int_equal(flowd_tcp_socket_closure(&socket), FLOWD_TCP_CLOSURE);
    memset(message.bytes + 22, 0, 2);
    socket = decode(&message);
    assert_int_equal(flowd_tcp_socket_closure(&socket), FLOWD_TCP_CLOSURE_ABORT);
    diag_message_begin(&message, AF_INET, v4_src, nobody);
    memset(message.bytes + 22, 0, 2);
    socket = decode(&message);
    assert_int_equal(flowd_tcp_socket_closure(&socket), FLOWD_TCP_CLOSURE_NONE);
}

static void test_usage(void **state)
{
    struct flowd_tcp_sample sample = {
        .info_length = sizeof(sample.info),
        .info = {
            .bytes_sent = 5000, .bytes_retrans = 1000, .bytes_acked = 4002, .bytes_received = 70}};
    struct flowd_tcp_usage usage;

    (void)state;
    assert_true(flowd_tcp_sample_usage(&sample, &usage));
    assert_int_equal(usage.sent, 4000);
    assert_int_equal(usage.received, 70);
    sample.info.bytes_retrans = 6000;
    assert_int_equal(sent(&sample), 0);
    /* Dropped before they left the host, segments are counted as sent twice. */
    sample.info.bytes_retrans = 1000;
    sample.info.bytes_acked = 3001;
    assert_int_equal(sent(&sample), 3001);
    /* What is under way may still be lost. */
    sample.info.unacked = 2;
    sample.info.snd_mss = 400;
    assert_int_equal(sent(&sample), 3001);
    /* Before Linux 4.19 only what was acknowledged is known. */
    sample.info_length = offsetof(struct flowd_tcp_info, bytes_sent);
    assert_int_equal(sent(&sample), 3001);
}

/* What the destination's socket received is what the source has sent. */
static void test_usage_at_the_destination(void **state)
{
    const struct flowd_tcp_sample sample = {
        .info_length = sizeof(sample.info),
        .at_destination = true,
        .info = {.bytes_sent = 300, .bytes_acked = 300, .bytes_received = 52428800}};
    struct flowd_tcp_usage usage;

    (void)state;
    assert_true(flowd_tcp_sample_usage(&sample, &usage));
    assert_int_equal(usage.sent, 52428800);
    assert_int_equal(usage.received, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_info_lengths),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_broken_attributes),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_no_such_message),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_closure),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_usage_at_the_destination),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
