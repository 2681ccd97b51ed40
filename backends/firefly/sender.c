/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender of fireflies: one queue and one unconnected UDP socket for each address family,
 * emptied by sendmmsg(2) in batches.
 *
 * A datagram that the kernel refuses (no route, wrong scope) is reported and passed over: it never
 * holds up those behind it. A full socket buffer stops the queue until it is writable.
 */
#include "sender.h"

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "daemon/base/vector.h"

#define BATCH 256
#define WAITING_MAX 65536
#define SEND_BUFFER (4 << 20)

struct datagram {
    size_t offset; /* of its bytes in the queue's text */
    uint32_t length;
    bool to_collector;
    uint64_t tag;
    struct sockaddr_in6 address; /* or a sockaddr_in, by its family */
};

struct queue {
    struct flowd_sender *sender;
    int fd; /* -1: the host lacks this family */
    struct ev_io writable;
    struct flowd_text bytes;
    struct datagram *datagrams; /* owned */
    size_t sent;                /* those before it are done */
    size_t count;
    size_t capacity;
};

struct flowd_sender {
    struct ev_loop *loop;
    flowd_sender_done done;
    void *context;
    struct queue v4;
    struct queue v6;
};

static void on_writable(struct ev_loop *loop, struct ev_io *watcher, int events);

static void queue_init(struct queue *queue, struct flowd_sender *sender, int family)
{
    int size = SEND_BUFFER;

    queue->sender = sender;
    queue->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (queue->fd < 0)
        return;
    (void)setsockopt(queue->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    ev_io_init(&queue->writable, on_writable, queue->fd, EV_WRITE);
    queue->writable.data = queue;
}

static void queue_fini(struct queue *queue)
{
    if (queue->fd >= 0) {
        ev_io_stop(queue->sender->loop, &queue->writable);
        close(queue->fd);
    }
    flowd_text_fini(&queue->bytes);
    free(queue->datagrams);
}

int flowd_sender_new(struct ev_loop *loop, flowd_sender_done done, void *context,
                     struct flowd_sender **out, struct flowd_error *err)
{
    struct flowd_sender *sender = calloc(1, sizeof(*sender));

    if (sender == NULL)
        return flowd_fail_errno(err, ENOMEM, "UDP sender");
    *sender = (struct flowd_sender){.loop = loop, .done = done, .context = context};
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

    queue->sender->done(queue->sender->context, datagram->tag, datagram->to_collector,
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

    for (int i = 0; i < sent; i++)
        sender_finish(queue, FLOWD_SENT_OK, 0);
    if (sent >= 0)
        return true;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return false;
    if (errno != EINTR)
        sender_finish(queue, FLOWD_SENT_FAILED, errno);
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
                        const char *data, size_t length, uint64_t tag, bool to_collector)
{
    struct queue *queue = address->ss_family == AF_INET ? &sender->v4 : &sender->v6;
    struct datagram *datagram;
    size_t offset = queue->bytes.length;

    /* A turn's burst may be larger than what may wait: send before anything is dropped. */
    if (queue->fd >= 0 && queue->count - queue->sent >= WAITING_MAX)
        queue_flush(queue);
    if (queue->fd < 0) {
        sender->done(sender->context, tag, to_collector, address, FLOWD_SENT_FAILED, EAFNOSUPPORT);
        return;
    }
    flowd_text_append(&queue->bytes, data, length);
    if (queue->count - queue->sent >= WAITING_MAX || flowd_text_failed(&queue->bytes) ||
        flowd_vector_reserve(&queue->datagrams, &queue->capacity, queue->count + 1) < 0) {
        if (!flowd_text_failed(&queue->bytes))
            queue->bytes.length = offset;
        queue->bytes.failed = false;
        sender->done(sender->context, tag, to_collector, address, FLOWD_SENT_DROPPED, 0);
        return;
    }
    datagram = &queue->datagrams[queue->count++];
    *datagram = (struct datagram){
        .offset = offset, .length = (uint32_t)length, .to_collector = to_collector, .tag = tag};
    memcpy(&datagram->address, address, sizeof(datagram->address));
}

size_t flowd_sender_waiting(const struct flowd_sender *sender)
{
    return sender->v4.count - sender->v4.sent + sender->v6.count - sender->v6.sent;
}
