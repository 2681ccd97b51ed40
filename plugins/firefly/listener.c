/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP in batches: recvmmsg(2) as long as whole batches come, and no more of them in one turn of the
 * loop than others can wait for. The kernel's buffer is as large as the kernel allows, because what
 * does not fit is lost; how much that is it tells (SO_MEMINFO).
 */
#include "listener.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/net/address.h"

#define BATCH 64
#define BATCHES_PER_WAKEUP 8
/* After a batch of so many bytes others get to run: fireflies have some 500. */
#define BYTES_PER_WAKEUP (256 << 10)
/* The last read before flowd stops: as many as a buffer may hold. */
#define BATCHES_AT_STOP 1024
#define DATAGRAM_MAX 65536
/* Some 20,000 fireflies: a fifth of a second at the highest rate. */
#define RECEIVE_BUFFER (32 << 20)

struct firefly_batch {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_storage senders[BATCH];
    char bytes[BATCH][DATAGRAM_MAX];
};

static void set_buffer(int fd)
{
    int size = RECEIVE_BUFFER;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* The kernel's count of datagrams that the socket had no room for, since it was made. */
static uint32_t drops_of(int fd)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(info);

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) < 0 ||
        size <= SK_MEMINFO_DROPS * sizeof(info[0]))
        return 0;
    return info[SK_MEMINFO_DROPS];
}

uint64_t firefly_listener_drops(const struct firefly_listener *listener)
{
    uint64_t drops = 0;

    for (size_t i = 0; i < listener->count; i++)
        drops += drops_of(listener->sockets[i].fd);
    return drops;
}

static void prepare(struct firefly_batch *batch)
{
    for (size_t i = 0; i < BATCH; i++) {
        batch->vectors[i] =
            (struct iovec){.iov_base = batch->bytes[i], .iov_len = sizeof(batch->bytes[i])};
        batch->messages[i].msg_hdr = (struct msghdr){.msg_name = &batch->senders[i],
                                                     .msg_namelen = sizeof(batch->senders[i]),
                                                     .msg_iov = &batch->vectors[i],
                                                     .msg_iovlen = 1};
    }
}

/* Returns whether there may be more, and lowers *budget by the bytes that were read, down to 0. */
static bool read_batch(struct firefly_socket *one, size_t *budget)
{
    struct firefly_listener *listener = one->listener;
    struct firefly_batch *batch = listener->batch;
    int count = recvmmsg(one->fd, batch->messages, BATCH, MSG_DONTWAIT, NULL);

    for (int i = 0; i < count; i++) {
        listener->take(listener->context, &batch->senders[i], batch->bytes[i],
                       batch->messages[i].msg_len);
        *budget -= batch->messages[i].msg_len < *budget ? batch->messages[i].msg_len : *budget;
        batch->messages[i].msg_hdr.msg_namelen = sizeof(batch->senders[i]);
    }
    /* An error is of a datagram that this socket never sent; the next read goes on. */
    return count == BATCH;
}

static void read_batches(struct firefly_socket *one, unsigned batches, size_t budget)
{
    while (batches-- > 0 && read_batch(one, &budget) && budget > 0)
        ;
}

static void listener_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    read_batches(watcher->data, BATCHES_PER_WAKEUP, BYTES_PER_WAKEUP);
}

static void add_socket(struct firefly_listener *listener, int fd, bool handed)
{
    struct firefly_socket *one = &listener->sockets[listener->count++];
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);

    *one = (struct firefly_socket){.listener = listener, .fd = fd, .handed = handed};
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
        (address.ss_family == AF_INET || address.ss_family == AF_INET6))
        flowd_endpoint_format(&address, one->text);
    set_buffer(fd);
    ev_io_init(&one->readable, listener_on_readable, fd, EV_READ);
    one->readable.data = one;
    ev_io_start(listener->loop, &one->readable);
}

static void take_handed(struct firefly_listener *listener, struct flowd_listen_fds *handed,
                        const char *address, uint16_t port)
{
    const struct flowd_listen_wish wish = {.use = FLOWD_LISTEN_FOR_FIREFLY,
                                           .kind = FLOWD_LISTEN_DATAGRAM,
                                           .address = address,
                                           .port = port};
    const struct flowd_listen_fd *one;

    while (listener->count < FIREFLY_SOCKETS_MAX &&
           (one = flowd_listen_fds_take(handed, &wish)) != NULL) {
        add_socket(listener, one->fd, true);
        flowd_info("firefly", "%s was handed over in place of what is configured", one->text);
    }
}

/* "::" is for IPv4, too, whatever the system's default is. */
static int open_socket(const struct sockaddr_storage *address, socklen_t length)
{
    int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int off = 0;

    if (fd < 0)
        return -errno;
    if ((address->ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
        bind(fd, (const struct sockaddr *)address, length) < 0) {
        int result = -errno;

        close(fd);
        return result;
    }
    return fd;
}

static int open_configured(struct firefly_listener *listener, const char *text, uint16_t port,
                           struct flowd_error *err)
{
    struct sockaddr_storage address = {0};
    struct flowd_address numeric;
    char endpoint[FLOWD_ENDPOINT_SIZE];
    socklen_t length;
    int fd;

    if (flowd_address_parse(text, strlen(text), &numeric) < 0)
        return flowd_fail(err, EINVAL, "bindAddress \"%s\": not a numeric address", text);
    length = flowd_endpoint_make(numeric.family, &numeric.addr, port, &address);
    flowd_endpoint_format(&address, endpoint);
    fd = open_socket(&address, length);
    if (fd < 0)
        return flowd_fail_errno(err, -fd, "listen for fireflies on %s", endpoint);
    add_socket(listener, fd, false);
    return 0;
}

int firefly_listener_open(struct firefly_listener *listener, struct flowd_listen_fds *handed,
                          const char *address, uint16_t port, struct flowd_error *err)
{
    int result;

    listener->batch = malloc(sizeof(*listener->batch));
    if (listener->batch == NULL)
        return flowd_fail_errno(err, ENOMEM, "listener");
    prepare(listener->batch);
    take_handed(listener, handed, address, port);
    result = listener->count == 0 ? open_configured(listener, address, port, err) : 0;
    if (result < 0) {
        free(listener->batch);
        listener->batch = NULL;
    }
    return result;
}

void firefly_listener_close(struct firefly_listener *listener)
{
    for (size_t i = 0; i < listener->count; i++) {
        struct firefly_socket *one = &listener->sockets[i];

        if (!one->handed)
            read_batches(one, BATCHES_AT_STOP, SIZE_MAX);
        ev_io_stop(listener->loop, &one->readable);
        close(one->fd);
    }
    listener->count = 0;
    free(listener->batch);
}
