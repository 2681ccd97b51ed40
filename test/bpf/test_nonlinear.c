/*
 * Packets that BPF_PROG_TEST_RUN can't make, sent through a packet socket on the loopback device of
 * a network namespace of its own, where the program is attached by clsact: those whose headers are
 * not in the linear part of the kernel's buffer (a virtio header asks for few linear bytes), and
 * those that end within the IPv6 header.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <cmocka.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "marker_program.h"
#include "packet.h"

#define LABEL 0x2468a
/* Longer than a page: a shorter packet is made linear whatever the virtio header says. */
#define FRAME_SIZE 6000

static struct marker_program program;
static int sender = -1;
static int receiver = -1;

static const struct packet_recipe plain = {
    .src = "2001:db8::1",
    .dst = "2001:db8::2",
    .src_port = 1094,
    .dst_port = 40000,
    .protocol = IPPROTO_TCP,
};

static int loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &request);

    if (fd >= 0)
        close(fd);
    return result;
}

static int attach(void)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("lo"),
                .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program.program_fd, .handle = 1, .priority = 1);

    return bpf_tc_hook_create(&hook) < 0 ? -1 : bpf_tc_attach(&hook, &options);
}

static int open_sockets(void)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex("lo")};
    int on = 1;

    receiver = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (receiver < 0 || sender < 0 ||
        bind(receiver, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        setsockopt(sender, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
        return -1;
    return 0;
}

/* Sends size bytes, `linear` of them linear, and returns how they arrive at the receiver. */
static void pass(const uint8_t frame[static FRAME_SIZE], size_t size, uint16_t linear,
                 uint8_t out[static FRAME_SIZE])
{
    struct virtio_net_hdr header = {.gso_type = VIRTIO_NET_HDR_GSO_NONE, .hdr_len = linear};
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_IPV6),
                                  .sll_ifindex = (int)if_nametoindex("lo"),
                                  .sll_halen = 6};
    static uint8_t both[sizeof(header) + FRAME_SIZE];
    struct sockaddr_ll from;
    socklen_t from_length = sizeof(from);
    struct pollfd ready = {.fd = receiver, .events = POLLIN};
    ssize_t length;

    memcpy(both, &header, sizeof(header));
    memcpy(both + sizeof(header), frame, size);
    assert_int_equal(sendto(sender, both, sizeof(header) + size, 0,
                            (const struct sockaddr *)&address, sizeof(address)),
                     sizeof(header) + size);
    do {
        assert_int_equal(poll(&ready, 1, 5000), 1);
        length = recvfrom(receiver, out, FRAME_SIZE, 0, (struct sockaddr *)&from, &from_length);
    } while (length != (ssize_t)size || from.sll_pkttype == PACKET_OUTGOING);
}

static void check(const struct packet_recipe *recipe, uint16_t linear)
{
    struct flowd_marker_key key = packet_key(recipe);
    uint8_t frame[FRAME_SIZE] = {0};
    uint8_t out[FRAME_SIZE];
    struct flowd_marker_counters before;
    struct flowd_marker_counters after;
    struct packet packet;

    packet_compose(recipe, &packet);
    memcpy(frame, packet.bytes, packet.length);
    assert_int_equal(marker_program_clear(&program), 0);
    pass(frame, FRAME_SIZE, linear, out);
    assert_memory_equal(out, frame, FRAME_SIZE);

    assert_int_equal(marker_program_add(&program, &key, LABEL), 0);
    assert_int_equal(marker_program_counters(&program, if_nametoindex("lo"), &before), 0);
    pass(frame, FRAME_SIZE, linear, out);
    assert_int_equal(marker_program_counters(&program, if_nametoindex("lo"), &after), 0);
    packet_set_label(&packet, LABEL);
    memcpy(frame, packet.bytes, packet.length);
    assert_memory_equal(out, frame, FRAME_SIZE);
    assert_int_equal(after.packets[FLOWD_MARKER_MARKED] - before.packets[FLOWD_MARKER_MARKED], 1);
}

static void test_plain(void **state)
{
    static const uint16_t linear[] = {14, 18, 54, 57, 58, 200};
    struct packet_recipe recipe = plain;

    (void)state;
    for (unsigned i = 0; i < sizeof(linear) / sizeof(linear[0]); i++) {
        recipe.protocol = IPPROTO_TCP;
        check(&recipe, linear[i]);
        recipe.protocol = IPPROTO_UDP;
        check(&recipe, linear[i]);
    }
}

static void test_extension_headers(void **state)
{
    static const uint16_t linear[] = {14, 54, 62, 70, 78};
    struct packet_recipe recipe = plain;

    (void)state;
    recipe.chain[0] = PACKET_HOP_BY_HOP;
    recipe.chain[1] = PACKET_DESTINATION;
    recipe.chain_length = 2;
    for (unsigned i = 0; i < sizeof(linear) / sizeof(linear[0]); i++)
        check(&recipe, linear[i]);
}

static void test_short_frames(void **state)
{
    struct flowd_marker_key key = packet_key(&plain);
    uint8_t frame[FRAME_SIZE] = {0};
    uint8_t out[FRAME_SIZE];
    struct packet packet;

    (void)state;
    packet_compose(&plain, &packet);
    memcpy(frame, packet.bytes, packet.length);
    assert_int_equal(marker_program_clear(&program), 0);
    assert_int_equal(marker_program_add(&program, &key, LABEL), 0);
    for (uint16_t size = ETH_HLEN; size < packet.network + 44; size++) {
        struct flowd_marker_counters before;
        struct flowd_marker_counters after;

        assert_int_equal(marker_program_counters(&program, if_nametoindex("lo"), &before), 0);
        pass(frame, size, size, out);
        assert_int_equal(marker_program_counters(&program, if_nametoindex("lo"), &after), 0);
        assert_memory_equal(out, frame, size);
        assert_int_equal(
            after.packets[FLOWD_MARKER_TRUNCATED] - before.packets[FLOWD_MARKER_TRUNCATED], 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_extension_headers),
        cmocka_unit_test(test_short_frames),
    };
    const char *reason = marker_program_unavailable();
    int failed;

    if (reason == NULL && unshare(CLONE_NEWNET) < 0)
        reason = "no network namespace can be made";
    if (reason != NULL) {
        fprintf(stderr, "skipped: %s\n", reason);
        return 77;
    }
    if (marker_program_load(&program, false, false, 16) < 0 || loopback_up() < 0 || attach() < 0 ||
        open_sockets() < 0) {
        perror("set-up");
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    close(sender);
    close(receiver);
    marker_program_unload(&program);
    return failed;
}
