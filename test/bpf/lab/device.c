/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See device.h.
 */
#include "lab/device.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Since Linux 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define RECEIVE_TIMEOUT_MS 5000

static int write_setting(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t written = fd < 0 ? -1 : write(fd, text, strlen(text));

    if (fd >= 0)
        close(fd);
    return written < 0 ? -1 : 0;
}

const char *device_enter_namespace(void)
{
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        return "there is no /dev/net/tun";
    if (unshare(CLONE_NEWNET) < 0)
        return "no network namespace can be made";
    /* Neighbour discovery and listener reports would mix with the test's packets. */
    if (write_setting("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") < 0)
        return "the namespace's settings can't be written";
    return NULL;
}

static int control(struct ifreq *request, unsigned long what)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -1 : ioctl(fd, what, request);

    if (fd >= 0)
        close(fd);
    return result;
}

static void name_of(const struct device *device, struct ifreq *request)
{
    memset(request, 0, sizeof(*request));
    snprintf(request->ifr_name, sizeof(request->ifr_name), "t%s%d", device->ethernet ? "ap" : "un",
             device->index);
}

int device_set_mtu(const struct device *device, unsigned mtu)
{
    struct ifreq request;

    name_of(device, &request);
    request.ifr_mtu = (int)mtu;
    return control(&request, SIOCSIFMTU);
}

int device_set_segmentation(struct device *device, bool on)
{
    unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    unsigned datagrams = TUN_F_USO4 | TUN_F_USO6;

    if (!on)
        return ioctl(device->tun_fd, TUNSETOFFLOAD, 0u);
    device->datagrams = ioctl(device->tun_fd, TUNSETOFFLOAD, offloads | datagrams) == 0;
    if (device->datagrams)
        return 0;
    /* A kernel that does not know the bits: its packet sockets don't know such packets either. */
    return errno == EINVAL ? ioctl(device->tun_fd, TUNSETOFFLOAD, offloads) : -1;
}

static int make_interface(struct device *device, unsigned mtu)
{
    struct ifreq request;

    name_of(device, &request);
    request.ifr_flags = (short)((device->ethernet ? IFF_TAP : IFF_TUN) | IFF_NO_PI | IFF_VNET_HDR);
    if (ioctl(device->tun_fd, TUNSETIFINDEX, &device->index) < 0 ||
        ioctl(device->tun_fd, TUNSETIFF, &request) < 0 ||
        device_set_segmentation(device, true) < 0 || device_set_mtu(device, mtu) < 0)
        return -1;
    name_of(device, &request);
    request.ifr_flags = IFF_UP;
    return control(&request, SIOCSIFFLAGS);
}

static int open_socket(const struct device *device)
{
    const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = device->index};
    int on = 1;

    /* Of no protocol: it only sends. */
    if (setsockopt(device->packet_fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
        return -1;
    return bind(device->packet_fd, (const struct sockaddr *)&address, sizeof(address));
}

int device_open(struct device *device, bool ethernet, int index, unsigned mtu)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);

    *device = (struct device){.index = index, .ethernet = ethernet, .packet_fd = -1};
    device->tun_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (device->tun_fd >= 0)
        device->packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (device->packet_fd >= 0 && make_interface(device, mtu) == 0 && open_socket(device) == 0 &&
        bpf_tc_hook_create(&hook) == 0)
        return 0;
    device_close(device);
    return -1;
}

void device_close(struct device *device)
{
    if (device->packet_fd >= 0)
        close(device->packet_fd);
    if (device->tun_fd >= 0)
        close(device->tun_fd); /* the interface goes with it */
    device->packet_fd = device->tun_fd = -1;
}

int device_attach(const struct device *device, int program_fd, unsigned priority)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = device->index, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program_fd, .handle = 1, .priority = priority,
                .flags = BPF_TC_F_REPLACE);

    return bpf_tc_attach(&hook, &options);
}

int device_detach(const struct device *device, unsigned priority)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = device->index, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = 1, .priority = priority);

    return bpf_tc_detach(&hook, &options);
}

/* The protocol that the kernel takes the frame for. */
static uint16_t protocol_be(const struct device *device, const uint8_t *frame)
{
    uint16_t ethertype_be;

    if (!device->ethernet)
        return htons(frame[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
    memcpy(&ethertype_be, frame + 12, sizeof(ethertype_be));
    return ethertype_be;
}

int device_send(const struct device *device, const struct virtio_net_hdr *header, const void *frame,
                size_t length)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = protocol_be(device, frame),
                                  .sll_ifindex = device->index};
    struct iovec parts[] = {{(void *)header, sizeof(*header)}, {(void *)frame, length}};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(device->packet_fd, &message, 0);

    return sent == (ssize_t)(sizeof(*header) + length) ? 0 : -1;
}

long device_receive(const struct device *device, struct virtio_net_hdr *header, void *frame,
                    size_t size)
{
    struct iovec parts[] = {{header, sizeof(*header)}, {frame, size}};
    ssize_t length = readv(device->tun_fd, parts, 2);

    if (length < 0 && errno == EAGAIN) {
        struct pollfd ready = {.fd = device->tun_fd, .events = POLLIN};

        if (poll(&ready, 1, RECEIVE_TIMEOUT_MS) == 1)
            length = readv(device->tun_fd, parts, 2);
    }
    return length < (ssize_t)sizeof(*header) ? -1 : (long)length - (long)sizeof(*header);
}
