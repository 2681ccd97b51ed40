/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel of c-ares on the loop: a watcher for each of its sockets, which it tells of, and one
 * timer for what it waits for. c-ares reads /etc/resolv.conf when a channel is made and, before
 * 1.22, at no other time, so it is for the owner to ask whether the file has changed and to make
 * another channel.
 *
 * Only what c-ares 1.16 (the first with TTLs in ares_getaddrinfo) and later versions have alike,
 * and none of them deprecates.
 */
#include "channel.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CONFIGURATION "/etc/resolv.conf"
/* A server has this long in the first round; c-ares doubles it in each further one. */
#define TIMEOUT_MS 2000
#define ROUNDS 3

/*
 * From 1.31 on c-ares keeps answers by itself, for options.qcache_max_ttl s, and SIGHUP would get
 * them again; how long an answer holds is for the resolver to know.
 */
#ifdef ARES_OPT_QUERY_CACHE
#define OPT_KEEP_FOR ARES_OPT_QUERY_CACHE
#else
#define OPT_KEEP_FOR 0
#endif

/* One of c-ares' sockets, in a list. */
struct channel_socket {
    struct ev_io watcher;
    struct flowd_channel *channel;
    struct channel_socket *next;
};

struct flowd_channel {
    struct ev_loop *loop;
    ares_channel ares;
    struct channel_socket *sockets; /* owned */
    struct ev_timer timeout;
    struct stat configuration; /* as it was read; zeroed: there was none */
};

static void look_at_configuration(struct stat *found)
{
    if (stat(CONFIGURATION, found) < 0)
        *found = (struct stat){0};
}

bool flowd_channel_is_stale(const struct flowd_channel *channel)
{
    const struct stat *read = &channel->configuration;
    struct stat found;

    look_at_configuration(&found);
    return found.st_dev != read->st_dev || found.st_ino != read->st_ino ||
           found.st_size != read->st_size || found.st_mtim.tv_sec != read->st_mtim.tv_sec ||
           found.st_mtim.tv_nsec != read->st_mtim.tv_nsec;
}

static void set_timeout(struct flowd_channel *channel)
{
    struct timeval room;
    const struct timeval *left = ares_timeout(channel->ares, NULL, &room);

    ev_timer_stop(channel->loop, &channel->timeout);
    if (left == NULL)
        return;
    ev_timer_set(&channel->timeout, (double)left->tv_sec + (double)left->tv_usec / 1e6, 0);
    ev_timer_start(channel->loop, &channel->timeout);
}

static void on_timeout(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_channel *channel = watcher->data;

    (void)loop;
    (void)events;
    ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timeout(channel);
}

/* It may be that c-ares closes the socket, so that the watcher is gone afterwards. */
static void on_socket(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_channel *channel = ((struct channel_socket *)watcher->data)->channel;
    int fd = watcher->fd;

    (void)loop;
    ares_process_fd(channel->ares, (events & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    set_timeout(channel);
}

static struct channel_socket *new_socket(struct flowd_channel *channel)
{
    struct channel_socket *created = calloc(1, sizeof(*created));

    if (created == NULL)
        return NULL;
    created->channel = channel;
    created->next = channel->sockets;
    channel->sockets = created;
    ev_init(&created->watcher, on_socket);
    created->watcher.data = created;
    return created;
}

/* What c-ares wants to know of one of its sockets; nothing: it is about to close it. */
static void on_socket_state(void *context, ares_socket_t fd, int readable, int writable)
{
    struct flowd_channel *channel = context;
    struct channel_socket **place = &channel->sockets, *found;

    while (*place != NULL && (*place)->watcher.fd != fd)
        place = &(*place)->next;
    found = *place;
    if (found != NULL)
        ev_io_stop(channel->loop, &found->watcher);
    if (!readable && !writable) {
        if (found != NULL)
            *place = found->next;
        free(found);
        return;
    }
    if (found == NULL)
        found = new_socket(channel);
    if (found == NULL)
        return; /* Without memory the question ends with its time. */
    ev_io_set(&found->watcher, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    ev_io_start(channel->loop, &found->watcher);
}

static int fail_ares(struct flowd_error *err, int status)
{
    return flowd_fail(err, status == ARES_ENOMEM ? ENOMEM : EIO, "c-ares: %s",
                      ares_strerror(status));
}

int flowd_channel_new(struct ev_loop *loop, struct flowd_channel **out, struct flowd_error *err)
{
    struct flowd_channel *channel = calloc(1, sizeof(*channel));
    struct ares_options options = {.timeout = TIMEOUT_MS,
                                   .tries = ROUNDS,
                                   .sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = channel};
    int status;

    if (channel == NULL)
        return flowd_fail_errno(err, ENOMEM, "DNS");
    channel->loop = loop;
    ev_init(&channel->timeout, on_timeout);
    channel->timeout.data = channel;
    look_at_configuration(&channel->configuration);
    status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status != ARES_SUCCESS) {
        free(channel);
        return fail_ares(err, status);
    }
    status = ares_init_options(&channel->ares, &options,
                               ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                                   OPT_KEEP_FOR);
    if (status != ARES_SUCCESS) {
        ares_library_cleanup();
        free(channel);
        return fail_ares(err, status);
    }
    *out = channel;
    return 0;
}

void flowd_channel_free(struct flowd_channel *channel)
{
    if (channel == NULL)
        return;
    ares_destroy(channel->ares);
    ares_library_cleanup();
    ev_timer_stop(channel->loop, &channel->timeout);
    while (channel->sockets != NULL) {
        struct channel_socket *gone = channel->sockets;

        channel->sockets = gone->next;
        ev_io_stop(channel->loop, &gone->watcher);
        free(gone);
    }
    free(channel);
}

void flowd_channel_ask(struct flowd_channel *channel, const char *host, int family,
                       ares_addrinfo_callback answer, void *context)
{
    /* A type of socket, or each address would stand there once for each type. */
    const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_DGRAM};

    ares_getaddrinfo(channel->ares, host, NULL, &hints, answer, context);
    set_timeout(channel);
}
