/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender of fireflies: one queue and one unconnected UDP socket for each address family,
 * emptied by sendmmsg(2) in batches.
 *
 * A datagram that the kernel refuses (no route, wrong scope) is reported and passed over: it never
 * holds up those behind it. A full socket buffer stops the queue until it is writable.
 *
 * ICMP errors come back long after their datagram: the kernel queues them (ip(7), IP_RECVERR) and
 * fails whatever is sent next, to whomever. So after a failure that queue is read first, and where
 * there was something in it, the same datagram is sent again.
 */
#include "sender.h"

#include <errno.h>
#include <ev.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "daemon/base/vector.h"

#define BATCH 256
#define WAITING_MAX 65536
#define SEND_BUFFER (4 << 20)
/* ICMP errors that are read at once, and how often a datagram is sent again because of them. */
#define ERRORS_MAX 64
#define TRIES_MAX 8

struct datagram {
    size_t offset; /* of its bytes in the queue's text */
    uint32_t length;
    unsigned receiver;
    uint64_t tag;
    struct sockaddr_in6 address; /* or a sockaddr_in, by its family */
};

struct queue {
    struct flowd_sender *sender;
    int fd; /* -1: the host lacks this family */
    struct ev_io writable;
    struct ev_io errors; /* of ICMP */
    unsigned tries;      /* of the datagram at the head */
    struct flowd_text bytes;
    struct datagram *datagrams; /* owned */
    size_t sent;                /* those before it are done */
    size_t count;
    size_t capacity;
};

struct flowd_sender {
    struct ev_loop *loop;
    flowd_sender_done done;
    flowd_sender_refused refused;
    void *context;
    struct queue v4;
    struct queue v6;
};

static void on_writable(struct ev_loop *loop, struct ev_io *watcher, int events);

/* Reports the error if it is one of ICMP, and returns whether it is. */
static bool report_error(struct queue *queue, struct msghdr *message)
{
    struct cmsghdr *part;

    for (part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        struct sock_extended_err found;

        if (!(part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) &&
            !(part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(&found, CMSG_DATA(part), sizeof(found));
        if (found.ee_origin != SO_EE_ORIGIN_ICMP && found.ee_origin != SO_EE_ORIGIN_ICMP6)
            return false;
        queue->sender->refused(queue->sender->context, message->msg_name, (int)found.ee_errno);
        return true;
    }
    return false;
}

/* Reads what ICMP brought, a bounded number; returns how much that was. */
static unsigned read_errors(struct queue *queue)
{
    unsigned found = 0;

    for (unsigned i = 0; i < ERRORS_MAX; i++) {
        struct sockaddr_storage address = {0};
        _Alignas(struct cmsghdr) char control[512];
        char byte;
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        struct msghdr message = {.msg_name = &address,
                                 .msg_namelen = sizeof(address),
                                 .msg_iov = &vector,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};

        if (recvmsg(queue->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        found += report_error(queue, &message);
    }
    return found;
}

static void on_errors(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct queue *queue = watcher->data;
    int error;
    socklen_t length = sizeof(error);

    (void)loop;
    (void)events;
    /* An error without an entry in the queue, which was full, would wake the loop again and again.
     */
    if (read_errors(queue) == 0)
        (void)getsockopt(queue->fd, SOL_SOCKET, SO_ERROR, &error, &length);
}

/* Nobody has anything to say to these sockets but ICMP. */
static void refuse_datagrams(int fd)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &nothing};

    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static void queue_init(struct queue *queue, struct flowd_sender *sender, int family)
{
    int size = SEND_BUFFER, on = 1;

    queue->sender = sender;
    queue->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (queue->fd < 0)
        return;
    (void)setsockopt(queue->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    refuse_datagrams(queue->fd);
    if (family == AF_INET)
        (void)setsockopt(queue->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
    else
        (void)setsockopt(queue->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
    ev_io_init(&queue->writable, on_writable, queue->fd, EV_WRITE);
    ev_io_init(&queue->errors, on_errors, queue->fd, EV_READ);
    queue->writable.data = queue->errors.data = queue;
    ev_io_start(sender->loop, &queue->errors);
}

static void queue_fini(struct queue *queue)
{
    if (queue->fd >= 0) {
        ev_io_stop(queue->sender->loop, &queue->writable);
        ev_io_stop(queue->sender->loop, &queue->errors);
        close(queue->fd);
    }
    flowd_text_fini(&queue->bytes);
    free(queue->datagrams);
}

int flowd_sender_new(struct ev_loop *loop, flowd_sender_done done, flowd_sender_refused refused,
                     void *context, struct flowd_sender **out, struct flowd_error *err)
{
    struct flowd_sender *sender = calloc(1, sizeof(*sender));

    if (sender == NULL)
        return flowd_fail_errno(err, ENOMEM, "UDP sender");
    *sender =
        (struct flowd_sender){.loop = loop, .done = done, .refused = refused, .context = context};
    queue_init(&sender->v4, sender, AF_INET);
    queue_init(&sender->v6, sender, AF_INET6);
    if (sender->v4.fd < 0 && sender->v6.fd < 0) {
        int errnum = errno;

        free(sender);
        return flowd_fail_errno(err, errnum, "make a UDP socket");
    }
    *out = sender;
    return 0;
}

/* Tells the owner about the datagram at the head of the queue and passes over it. */
static void sender_finish(struct queue *queue, enum flowd_sent result, int error)
{
    const struct datagram *datagram = &queue->datagrams[queue->sent++];

    queue->tries = 0;
    queue->sender->done(queue->sender->context, datagram->tag, datagram->receiver,
                        (const struct sockaddr_storage *)&datagram->address, result, error);
}

static unsigned prepare_batch(const struct queue *queue, struct mmsghdr messages[static BATCH],
                              struct iovec vectors[static BATCH])
{
    unsigned count = 0;

    for (size_t i = queue->sent; i < queue->count && count < BATCH; i++, count++) {
        struct datagram *datagram = &queue->datagrams[i];

        vectors[count] = (struct iovec){.iov_base = queue->bytes.data + datagram->offset,
                                        .iov_len = datagram->length};
        messages[count] =
            (struct mmsghdr){.msg_hdr = {.msg_name = &datagram->address,
                                         .msg_namelen = datagram->address.sin6_family == AF_INET
                                                            ? sizeof(struct sockaddr_in)
                                                            : sizeof(struct sockaddr_in6),
                                         .msg_iov = &vectors[count],
                                         .msg_iovlen = 1}};
    }
    return count;
}

/* Sends one batch. Returns false when the socket takes no more for the time being. */
static bool send_batch(struct queue *queue)
{
    static struct mmsghdr messages[BATCH];
    static struct iovec vectors[BATCH];
    unsigned count = prepare_batch(queue, messages, vectors);
    int sent = sendmmsg(queue->fd, messages, count, MSG_NOSIGNAL);
    int error = errno;

    for (int i = 0; i < sent; i++)
        sender_finish(queue, FLOWD_SENT_OK, 0);
    if (sent >= 0)
        return true;
    if (error == EAGAIN || error == EWOULDBLOCK)
        return false;
    if (error == EINTR)
        return true;
    /* The error may be that of a datagram long gone. */
    if (queue->tries < TRIES_MAX && read_errors(queue) > 0)
        queue->tries++;
    else
        sender_finish(queue, FLOWD_SENT_FAILED, error);
    return true;
}

/* Moves what is waiting to the front, so that a queue that never runs empty does not grow. */
static void queue_compact(struct queue *queue)
{
    size_t done =
        queue->sent < queue->count ? queue->datagrams[queue->sent].offset : queue->bytes.length;

    queue->count -= queue->sent;
    memmove(queue->datagrams, queue->datagrams + queue->sent,
            queue->count * sizeof(*queue->datagrams));
    queue->sent = 0;
    for (size_t i = 0; i < queue->count; i++)
        queue->datagrams[i].offset -= done;
    queue->bytes.length -= done;
    memmove(queue->bytes.data, queue->bytes.data + done, queue->bytes.length);
}

static void queue_flush(struct queue *queue)
{
    bool open = true;

    while (open && queue->sent < queue->count)
        open = send_batch(queue);
    if (queue->sent == queue->count) {
        queue->sent = queue->count = 0;
        flowd_text_clear(&queue->bytes);
        if (queue->fd >= 0)
            ev_io_stop(queue->sender->loop, &queue->writable);
    } else {
        queue_compact(queue);
        ev_io_start(queue->sender->loop, &queue->writable);
    }
}

static void on_writable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    queue_flush(watcher->data);
}

void flowd_sender_flush(struct flowd_sender *sender)
{
    queue_flush(&sender->v4);
    queue_flush(&sender->v6);
}

void flowd_sender_free(struct flowd_sender *sender)
{
    if (sender == NULL)
        return;
    flowd_sender_flush(sender);
    queue_fini(&sender->v4);
    queue_fini(&sender->v6);
    free(sender);
}

void flowd_sender_queue(struct flowd_sender *sender, const struct sockaddr_storage *address,
                        const char *data, size_t length, uint64_t tag, unsigned receiver)
{
    struct queue *queue = address->ss_family == AF_INET ? &sender->v4 : &sender->v6;
    struct datagram *datagram;
    size_t offset;

    /* A turn's burst may be larger than what may wait: send before anything is dropped. */
    if (queue->fd >= 0 && queue->count - queue->sent >= WAITING_MAX)
        queue_flush(queue);
    if (queue->fd < 0) {
        sender->done(sender->context, tag, receiver, address, FLOWD_SENT_FAILED, EAFNOSUPPORT);
        return;
    }
    offset = queue->bytes.length;
    flowd_text_append(&queue->bytes, data, length);
    if (queue->count - queue->sent >= WAITING_MAX || flowd_text_failed(&queue->bytes) ||
        flowd_vector_reserve(&queue->datagrams, &queue->capacity, queue->count + 1) < 0) {
        if (!flowd_text_failed(&queue->bytes))
            queue->bytes.length = offset;
        queue->bytes.failed = false;
        sender->done(sender->context, tag, receiver, address, FLOWD_SENT_DROPPED, 0);
        return;
    }
    datagram = &queue->datagrams[queue->count++];
    *datagram = (struct datagram){
        .offset = offset, .length = (uint32_t)length, .receiver = receiver, .tag = tag};
    memcpy(&datagram->address, address, sizeof(datagram->address));
}

size_t flowd_sender_waiting(const struct flowd_sender *sender)
{
    return sender->v4.count - sender->v4.sent + sender->v6.count - sender->v6.sent;
}
