/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a server listens. A place that cannot be opened yet, because its address comes later or
 * another program has its port, is tried again until it can: flowd goes on with what it is for.
 *
 * The log says so when the reason is a new one, and when it is over.
 */
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "internal.h"
#include "listener.h"

#define AGAIN_S 2.0

/* Whether a socket's address is reached by this machine alone, over TCP. */
static bool is_loopback(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return false;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&address;

        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (address.ss_family == AF_INET6) {
        const struct in6_addr *v6 =
            &((const struct sockaddr_in6 *)(const void *)&address)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
    return false;
}

static void begin_listening(struct flowd_http_listener *listener, int fd)
{
    listener->fd = fd;
    listener->loopback = is_loopback(fd);
    free(listener->trouble);
    listener->trouble = NULL;
    ev_io_init(&listener->watcher, flowd_http_server_accept, fd, EV_READ);
    listener->watcher.data = listener;
    ev_io_start(listener->server->loop, &listener->watcher);
    flowd_info(listener->server->name, "listening on %s", listener->name);
}

static int open_listener(struct flowd_http_listener *listener, struct flowd_error *err)
{
    int fd = listener->local
                 ? flowd_http_listener_open_unix(listener->address, listener->mode, listener->group,
                                                 &listener->device, &listener->inode, err)
                 : flowd_http_listener_open(listener->address, listener->port, listener->name,
                                            sizeof(listener->name), err);

    if (fd < 0)
        return fd;
    begin_listening(listener, fd);
    return 0;
}

/* Without memory for the words nothing is lost but that they may come again. */
static void note_trouble(struct flowd_http_listener *listener, const struct flowd_error *err)
{
    if (listener->trouble != NULL && strcmp(listener->trouble, err->message) == 0)
        return;
    free(listener->trouble);
    listener->trouble = strdup(err->message);
    flowd_err(listener->server->name, "%s; flowd goes on and tries again until it can",
              err->message);
}

static void again_later(struct flowd_http_server *server)
{
    if (ev_is_active(&server->listen_again))
        return;
    ev_timer_set(&server->listen_again, AGAIN_S, 0.0);
    ev_timer_start(server->loop, &server->listen_again);
}

static void try_listener(struct flowd_http_listener *listener)
{
    struct flowd_error err;

    if (open_listener(listener, &err) == 0)
        return;
    note_trouble(listener, &err);
    again_later(listener->server);
}

static void on_listen_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct flowd_http_server *server = timer->data;

    (void)loop;
    (void)events;
    for (unsigned i = 0; i < server->listener_count; i++)
        if (server->listeners[i].fd < 0)
            try_listener(&server->listeners[i]);
}

void flowd_http_listeners_init(struct flowd_http_server *server)
{
    ev_init(&server->listen_again, on_listen_again);
    server->listen_again.data = server;
}

void flowd_http_listeners_watch(struct flowd_http_server *server, bool watched)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct flowd_http_listener *listener = &server->listeners[i];

        if (listener->fd >= 0 && watched)
            ev_io_start(server->loop, &listener->watcher);
        else if (listener->fd >= 0)
            ev_io_stop(server->loop, &listener->watcher);
    }
}

static void close_listener(struct flowd_http_listener *listener)
{
    if (listener->fd >= 0) {
        ev_io_stop(listener->server->loop, &listener->watcher);
        if (listener->local && !listener->adopted)
            flowd_http_listener_remove(listener->address, listener->device, listener->inode);
        close(listener->fd);
    }
    free(listener->address);
    free(listener->group);
    free(listener->trouble);
}

void flowd_http_listeners_fini(struct flowd_http_server *server)
{
    ev_timer_stop(server->loop, &server->listen_again);
    for (unsigned i = 0; i < server->listener_count; i++)
        close_listener(&server->listeners[i]);
    server->listener_count = 0;
}

/* One more place to listen at, not yet open. Returns 0 and *out, or -errno. */
static int add_listener(struct flowd_http_server *server, const char *address, const char *group,
                        struct flowd_http_listener **out, struct flowd_error *err)
{
    struct flowd_http_listener *listener = &server->listeners[server->listener_count];

    if (server->listener_count == FLOWD_HTTP_LISTENERS_MAX)
        return flowd_fail(err, ENOSPC, "too many listeners");
    *listener = (struct flowd_http_listener){.server = server, .fd = -1};
    listener->address = strdup(address);
    listener->group = strdup(group);
    if (listener->address == NULL || listener->group == NULL) {
        close_listener(listener);
        return flowd_fail_errno(err, ENOMEM, "listen on %s", address);
    }
    server->listener_count++;
    *out = listener;
    return 0;
}

int flowd_http_server_listen(struct flowd_http_server *server, const char *address, uint16_t port,
                             struct flowd_error *err)
{
    struct flowd_http_listener *listener;
    char name[sizeof(listener->name)];
    int result = flowd_http_listener_name(address, port, name, sizeof(name), err);

    if (result == 0)
        result = add_listener(server, address, "", &listener, err);
    if (result < 0)
        return result;
    listener->port = port;
    memcpy(listener->name, name, sizeof(name));
    try_listener(listener);
    return 0;
}

int flowd_http_server_listen_unix(struct flowd_http_server *server, const char *path, mode_t mode,
                                  const char *group, struct flowd_error *err)
{
    struct flowd_http_listener *listener;
    int result;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return flowd_fail(err, ENAMETOOLONG, "%s is longer than %zu bytes", path,
                          sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    result = add_listener(server, path, group, &listener, err);
    if (result < 0)
        return result;
    listener->local = true;
    listener->mode = mode;
    memcpy(listener->name, path, strlen(path) + 1); /* shorter than a sun_path */
    try_listener(listener);
    return 0;
}

int flowd_http_server_adopt(struct flowd_http_server *server, int fd, const char *name, bool local,
                            struct flowd_error *err)
{
    struct flowd_http_listener *listener;
    int result = add_listener(server, name, "", &listener, err);

    if (result < 0) {
        close(fd);
        return result;
    }
    listener->local = local;
    listener->adopted = true;
    snprintf(listener->name, sizeof(listener->name), "%s", name);
    begin_listening(listener, fd);
    return 0;
}

const char *flowd_http_server_listener(const struct flowd_http_server *server, unsigned n)
{
    return n < server->listener_count ? server->listeners[n].name : NULL;
}

bool flowd_http_server_is_public(const struct flowd_http_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        const struct flowd_http_listener *listener = &server->listeners[i];

        if (listener->fd >= 0 && !listener->local && !listener->loopback)
            return true;
    }
    return false;
}

int flowd_http_server_ready(const struct flowd_http_server *server, struct flowd_error *err)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        const struct flowd_http_listener *listener = &server->listeners[i];

        if (listener->fd < 0)
            return flowd_fail(err, EAGAIN, "%s",
                              listener->trouble != NULL ? listener->trouble : listener->name);
    }
    return 0;
}

void flowd_http_server_listeners(const struct flowd_http_server *server, json_t *object)
{
    json_t *open = json_array();
    json_t *waiting = json_array();

    for (unsigned i = 0; i < server->listener_count; i++) {
        const struct flowd_http_listener *listener = &server->listeners[i];

        if (listener->fd >= 0)
            json_array_append_new(open, json_string(listener->name));
        else
            json_array_append_new(waiting,
                                  json_pack("{s:s, s:s}", "listener", listener->name, "reason",
                                            listener->trouble != NULL ? listener->trouble : ""));
    }
    json_object_set_new(object, "listeners", open);
    json_object_set_new(object, "notListening", waiting);
}
