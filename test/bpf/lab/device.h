/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interface whose other end is this process: a tap device (Ethernet) or a tun device (no link
 * header), in a network namespace in which the kernel itself sends nothing. Packets are sent
 * through a packet socket, pass the marker's program at the egress (clsact), and are read where
 * they would leave. So the kernel makes what BPF_PROG_TEST_RUN can't make: packets that are still
 * to be cut into segments, packets whose headers are not in linear memory, packets without a link
 * header.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_net.h>

struct device {
    int index;
    bool ethernet;
    int tun_fd;
    int packet_fd;
    bool datagrams; /* UDP that is still to be cut can be handed to it (Linux 6.2) */
};

/*
 * Enters a network namespace of its own, once for the process. Returns why that can't be, or NULL.
 */
const char *device_enter_namespace(void);

/* The index must be free. Returns 0 or -1 with errno. */
int device_open(struct device *device, bool ethernet, int index, unsigned mtu);
void device_close(struct device *device);

int device_set_mtu(const struct device *device, unsigned mtu);
/* Whether the device takes packets that are still to be cut. */
int device_set_segmentation(struct device *device, bool on);
/* Puts the program in the place of the one that had its priority. Return 0 or -errno. */
int device_attach(const struct device *device, int program_fd, unsigned priority);
int device_detach(const struct device *device, unsigned priority);

/* header says what is to be cut and how many bytes are to lie in linear memory. */
int device_send(const struct device *device, const struct virtio_net_hdr *header, const void *frame,
                size_t length);
/* Returns the length of the next packet that leaves, or -1 if there is none for some time. */
long device_receive(const struct device *device, struct virtio_net_hdr *header, void *frame,
                    size_t size);
