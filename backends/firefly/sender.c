/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender of fireflies: one queue and one unconnected UDP socket for each address family,
 * emptied by sendmmsg(2) in batches. Datagrams to one receiver that are of one length leave as one
 * message, out of which the kernel cuts them (udp(7), UDP_SEGMENT): most of what a datagram costs
 * is its way through the network's layers. Where the kernel refuses that, they leave one by one.
 *
 * The sockets are not connected: a connected one keeps the source address that it had at first, as
 * hosts do not.
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
#include <linux/udp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/base/vector.h"
#include "daemon/net/address.h"
#include "segment_limits.h"

#define MESSAGES_MAX 256
#define WAITING_MAX 65536
#define SEND_BUFFER (4 << 20)
/* ICMP errors that are read at once, and how often a datagram is sent again because of them. */
#define ERRORS_MAX 64
#define TRIES_MAX 8

struct queue {
    struct flowd_sender *sender;
    int fd; /* -1: the host lacks this family */
    struct ev_io writable;
    struct ev_io errors; /* of ICMP */
    unsigned tries;      /* of the message at the head */
    struct flowd_text bytes;
    struct datagram *datagrams; /* owned */
    size_t count;
    size_t capacity;
    size_t begin;       /* those before it are done */
    struct batch batch; /* of those from begin on */
};

/* What goes to sendmmsg(2). */
struct messages {
    struct mmsghdr headers[MESSAGES_MAX];
    uint16_t sizes[MESSAGES_MAX]; /* in datagrams */
    unsigned count;
    struct iovec vectors[BATCH_MAX];
    size_t vector_count;
    struct {
        _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } controls[MESSAGES_MAX];
};

struct flowd_sender {
    struct ev_loop *loop;
    flowd_sender_done done;
    flowd_sender_refused refused;
    void *context;
    struct segment_limits limits;
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

static size_t queue_waiting(const struct queue *queue)
{
    return queue->count - queue->begin - queue->batch.at;
}

static struct datagram *datagram_at(const struct queue *queue, size_t position)
{
    return &queue->datagrams[queue->begin + queue->batch.places[position]];
}

/* Tells the owner about the next count datagrams and passes over them. */
static void sender_finish(struct queue *queue, size_t count, enum flowd_sent result, int error)
{
    struct flowd_sender *sender = queue->sender;

    queue->tries = 0;
    for (; count > 0; count--) {
        const struct datagram *datagram = datagram_at(queue, queue->batch.at++);

        sender->done(sender->context, datagram->tag, datagram->receiver,
                     (const struct sockaddr_storage *)&datagram->address, result, error);
    }
}

/* Plans for what waits, where nothing is left of the last plan. */
static void plan_batch(struct queue *queue)
{
    size_t left;

    if (queue->batch.at < queue->batch.count)
        return;
    queue->begin += queue->batch.count;
    left = queue->count - queue->begin;
    batch_plan(&queue->batch, queue->datagrams + queue->begin, left < BATCH_MAX ? left : BATCH_MAX,
               &queue->sender->limits);
}

/* Adds the bytes of count datagrams to the message, and returns how many vectors that takes. */
static size_t put_vectors(const struct queue *queue, size_t position, size_t count,
                          struct iovec vectors[])
{
    size_t used = 0, end = 0;

    for (size_t i = position; i < position + count; i++) {
        const struct datagram *datagram = datagram_at(queue, i);

        if (used > 0 && datagram->offset == end)
            vectors[used - 1].iov_len += datagram->length;
        else
            vectors[used++] = (struct iovec){.iov_base = queue->bytes.data + datagram->offset,
                                             .iov_len = datagram->length};
        end = datagram->offset + datagram->length;
    }
    return used;
}

/* Has the kernel cut datagrams of length bytes out of the message. */
static void put_segment(struct msghdr *message, void *control, size_t size, uint32_t length)
{
    uint16_t segment = (uint16_t)length;
    struct cmsghdr *part;

    message->msg_control = control;
    message->msg_controllen = size;
    part = CMSG_FIRSTHDR(message);
    *part = (struct cmsghdr){
        .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof(segment))};
    memcpy(CMSG_DATA(part), &segment, sizeof(segment));
}

static void put_message(const struct queue *queue, size_t position, size_t count,
                        struct messages *messages)
{
    struct datagram *first = datagram_at(queue, position);
    struct iovec *vectors = &messages->vectors[messages->vector_count];
    size_t used = put_vectors(queue, position, count, vectors);
    struct mmsghdr *header = &messages->headers[messages->count];

    *header = (struct mmsghdr){.msg_hdr = {.msg_name = &first->address,
                                           .msg_namelen = first->address.sin6_family == AF_INET
                                                              ? sizeof(struct sockaddr_in)
                                                              : sizeof(struct sockaddr_in6),
                                           .msg_iov = vectors,
                                           .msg_iovlen = used}};
    if (count > 1)
        put_segment(&header->msg_hdr, &messages->controls[messages->count],
                    sizeof(messages->controls[0]), first->length);
    messages->vector_count += used;
    messages->sizes[messages->count++] = (uint16_t)count;
}

static void prepare_messages(const struct queue *queue, struct messages *messages)
{
    size_t position = queue->batch.at;

    messages->count = 0;
    messages->vector_count = 0;
    while (position < queue->batch.count && messages->count < MESSAGES_MAX) {
        size_t together = batch_together(&queue->batch, position);

        put_message(queue, position, together, messages);
        position += together;
    }
}

/* Has the datagrams of the message at the head, which was refused, leave one by one. */
static void break_up(struct queue *queue, int error)
{
    const struct datagram *first = datagram_at(queue, queue->batch.at);
    struct segment_limits *limits = &queue->sender->limits;
    char text[FLOWD_ENDPOINT_SIZE];

    queue->tries = 0;
    if (segment_limits_refuse(limits, first->receiver, &first->address, first->length, error)) {
        flowd_endpoint_format((const struct sockaddr_storage *)&first->address, text);
        flowd_debug("firefly", "datagrams of %u bytes to %s leave one by one: %s", first->length,
                    text, strerror(error));
    }
    batch_split(&queue->batch, queue->datagrams + queue->begin, limits);
}

/*
 * Takes the failure of the message at the head, which holds count datagrams. Returns false when the
 * socket takes no more for the time being.
 */
static bool take_failure(struct queue *queue, size_t count, int error)
{
    /* Behind the socket some of its datagrams may have gone. */
    bool has_left = error == ENOBUFS || error == ENETDOWN;

    if (error == EAGAIN || error == EWOULDBLOCK)
        return false;
    if (error == EINTR)
        return true;
    /* The error may be that of a datagram long gone, of which the full queue of errors knows
     * nothing. */
    if (queue->tries < TRIES_MAX && (read_errors(queue) > 0 || (queue->tries == 0 && !has_left)))
        queue->tries++;
    else if (count > 1 && !has_left)
        break_up(queue, error);
    else
        sender_finish(queue, count, FLOWD_SENT_FAILED, error);
    return true;
}

/* Sends one batch. Returns false when the socket takes no more for the time being. */
static bool send_batch(struct queue *queue)
{
    static struct messages messages;
    int sent, error;

    plan_batch(queue);
    prepare_messages(queue, &messages);
    sent = sendmmsg(queue->fd, messages.headers, messages.count, MSG_NOSIGNAL);
    error = errno;
    for (int i = 0; i < sent; i++)
        sender_finish(queue, messages.sizes[i], FLOWD_SENT_OK, 0);
    return sent >= 0 || take_failure(queue, messages.sizes[0], error);
}

/*
 * Moves what is waiting, and what is done of the same batch, to the front, so that a queue that
 * never runs empty does not grow.
 */
static void queue_compact(struct queue *queue)
{
    size_t done =
        queue->begin < queue->count ? queue->datagrams[queue->begin].offset : queue->bytes.length;

    queue->count -= queue->begin;
    memmove(queue->datagrams, queue->datagrams + queue->begin,
            queue->count * sizeof(*queue->datagrams));
    queue->begin = 0;
    for (size_t i = 0; i < queue->count; i++)
        queue->datagrams[i].offset -= done;
    queue->bytes.length -= done;
    memmove(queue->bytes.data, queue->bytes.data + done, queue->bytes.length);
}

static void queue_flush(struct queue *queue)
{
    bool open = true;

    while (open && queue_waiting(queue) > 0)
        open = send_batch(queue);
    if (queue_waiting(queue) == 0) {
        queue->begin = queue->count = 0;
        queue->batch.at = queue->batch.count = 0;
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
                        unsigned receiver, const struct flowd_outgoing *outgoing)
{
    struct queue *queue = address->ss_family == AF_INET ? &sender->v4 : &sender->v6;
    struct datagram *datagram;
    size_t offset;

    /* A turn's burst may be larger than what may wait: send before anything is dropped. */
    if (queue->fd >= 0 && queue_waiting(queue) >= WAITING_MAX)
        queue_flush(queue);
    if (queue->fd < 0) {
        sender->done(sender->context, outgoing->tag, receiver, address, FLOWD_SENT_FAILED,
                     EAFNOSUPPORT);
        return;
    }
    offset = queue->bytes.length;
    flowd_text_append(&queue->bytes, outgoing->data, outgoing->length);
    if (queue_waiting(queue) >= WAITING_MAX || flowd_text_failed(&queue->bytes) ||
        flowd_vector_reserve(&queue->datagrams, &queue->capacity, queue->count + 1) < 0) {
        if (!flowd_text_failed(&queue->bytes))
            queue->bytes.length = offset;
        queue->bytes.failed = false;
        sender->done(sender->context, outgoing->tag, receiver, address, FLOWD_SENT_DROPPED, 0);
        return;
    }
    datagram = &queue->datagrams[queue->count++];
    *datagram = (struct datagram){.offset = offset,
                                  .length = (uint32_t)outgoing->length,
                                  .receiver = receiver,
                                  .tag = outgoing->tag,
                                  .order = outgoing->order};
    memcpy(&datagram->address, address, sizeof(datagram->address));
}

size_t flowd_sender_waiting(const struct flowd_sender *sender)
{
    return queue_waiting(&sender->v4) + queue_waiting(&sender->v6);
}
