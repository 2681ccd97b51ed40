/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces and addresses by rtnetlink: one socket for notifications, one for the dumps that fill
 * the tables (host_tables.c) at start and whenever the kernel says that it had to drop
 * notifications.
 */
#include "daemon/net/host.h"

#include <errno.h>
#include <ev.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/net/host_tables.h"
#include "daemon/net/local_routes.h"

#define RECEIVE_BUFFER (1 << 20)
#define RECEIVES_PER_WAKEUP 64
#define DUMP_TRIES 8
#define AGAIN_S 1.0

struct flowd_host {
    struct ev_loop *loop;
    struct nl_sock *notifications;
    struct ev_io readable;
    struct ev_timer again;
    bool failing;                      /* the last reading failed, which was said */
    struct flowd_local_routes *routes; /* owned */
    struct flowd_host_tables tables;
    struct flowd_host_observer *observers;
};

static bool is_loopback_v4(uint8_t family, const struct in6_addr *addr)
{
    return family == AF_INET && addr->s6_addr[0] == 127;
}

bool flowd_host_is_local(const struct flowd_host *host, uint8_t family, const struct in6_addr *addr)
{
    return is_loopback_v4(family, addr) || flowd_host_tables_have(&host->tables, family, addr) ||
           flowd_local_routes_has(host->routes, family, addr);
}

uint32_t flowd_host_asked(const struct flowd_host *host)
{
    return flowd_local_routes_asked(host->routes);
}

static int on_message(struct nl_msg *message, void *context)
{
    flowd_host_tables_take(context, nlmsg_hdr(message));
    return NL_OK;
}

static int dump(struct nl_sock *socket, int type, int family)
{
    struct rtgenmsg request = {.rtgen_family = (unsigned char)family};
    int result = nl_send_simple(socket, type, NLM_F_DUMP, &request, sizeof(request));

    return result < 0 ? result : nl_recvmsgs_default(socket);
}

/* Fills empty tables. A dump that something changed under is begun again. */
static int fill(struct flowd_host_tables *fresh)
{
    struct nl_sock *socket = nl_socket_alloc();
    int result = socket != NULL ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;

    if (result == 0) {
        nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, fresh);
        for (int i = 0; i < DUMP_TRIES; i++) {
            flowd_host_tables_clear(fresh);
            result = dump(socket, RTM_GETLINK, AF_UNSPEC);
            if (result == 0)
                result = dump(socket, RTM_GETADDR, AF_UNSPEC);
            if (result != -NLE_DUMP_INTR)
                break;
        }
    }
    nl_socket_free(socket);
    return result;
}

/* Replaces the tables by what the kernel says; on failure they stay as they are. */
static int read_everything(struct flowd_host *host, struct flowd_error *err)
{
    struct flowd_host_tables fresh = {0};
    int result = fill(&fresh);

    if (result < 0) {
        flowd_host_tables_clear(&fresh);
        return flowd_fail(err, EIO, "read interfaces and addresses: %s", nl_geterror(result));
    }
    flowd_host_tables_clear(&host->tables);
    host->tables = fresh;
    host->tables.links_changed = host->tables.addresses_changed = true;
    return 0;
}

static void tell_observers(struct flowd_host *host)
{
    bool links = host->tables.links_changed, addresses = host->tables.addresses_changed;
    struct flowd_host_observer *observer, *next;

    host->tables.links_changed = host->tables.addresses_changed = false;
    if (!links && !addresses)
        return;
    /* The kernel drops IPv4 routes without a word where a link goes down. */
    if (links)
        flowd_local_routes_refresh(host->routes);
    for (observer = host->observers; observer != NULL; observer = next) {
        next = observer->next;
        observer->changed(observer, links, addresses);
    }
}

/* After lost notifications: what is known may be old until this succeeds. */
static void read_again(struct flowd_host *host)
{
    struct flowd_error err;

    if (read_everything(host, &err) == 0) {
        host->failing = false;
        return;
    }
    flowd_log(host->failing ? FLOWD_LOG_DEBUG : FLOWD_LOG_WARNING, "host", "%s; trying again",
              err.message);
    host->failing = true;
    ev_timer_set(&host->again, AGAIN_S, 0);
    ev_timer_start(host->loop, &host->again);
}

static void on_again(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_host *host = watcher->data;

    (void)loop;
    (void)events;
    read_again(host);
    tell_observers(host);
}

static void host_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_host *host = watcher->data;
    int result = 0;

    (void)loop;
    (void)events;
    for (int i = 0; i < RECEIVES_PER_WAKEUP && result >= 0; i++)
        result = nl_recvmsgs_default(host->notifications);
    /* libnl says NLE_NOMEM for ENOBUFS too: notifications were lost. */
    if (result == -NLE_NOMEM) {
        flowd_info("host", "the kernel dropped notifications; reading everything again");
        ev_timer_stop(host->loop, &host->again);
        read_again(host);
    } else if (result < 0 && result != -NLE_AGAIN) {
        flowd_warning("host", "rtnetlink: %s", nl_geterror(result));
    }
    tell_observers(host);
}

static int open_notifications(struct flowd_host *host, struct flowd_error *err)
{
    int result;

    host->notifications = nl_socket_alloc();
    if (host->notifications == NULL)
        return flowd_fail_errno(err, ENOMEM, "rtnetlink");
    nl_socket_disable_seq_check(host->notifications);
    nl_socket_modify_cb(host->notifications, NL_CB_VALID, NL_CB_CUSTOM, on_message, &host->tables);
    result = nl_connect(host->notifications, NETLINK_ROUTE);
    if (result == 0)
        result = nl_socket_add_memberships(host->notifications, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
                                           RTNLGRP_IPV6_IFADDR, RTNLGRP_NONE);
    if (result == 0)
        result = nl_socket_set_nonblocking(host->notifications);
    if (result < 0)
        return flowd_fail(err, EIO, "rtnetlink: %s", nl_geterror(result));
    nl_socket_set_buffer_size(host->notifications, RECEIVE_BUFFER, 0);
    ev_io_init(&host->readable, host_on_readable, nl_socket_get_fd(host->notifications), EV_READ);
    host->readable.data = host;
    ev_io_start(host->loop, &host->readable);
    return 0;
}

static void on_routes_changed(void *context)
{
    struct flowd_host *host = context;

    host->tables.addresses_changed = true;
    tell_observers(host);
}

int flowd_host_new(struct ev_loop *loop, struct flowd_host **out, struct flowd_error *err)
{
    struct flowd_host *host = calloc(1, sizeof(*host));
    int result;

    if (host == NULL)
        return flowd_fail_errno(err, ENOMEM, "host");
    host->loop = loop;
    ev_timer_init(&host->again, on_again, AGAIN_S, 0);
    host->again.data = host;
    /* First listen, then read: nothing that changes in between is missed. */
    result = open_notifications(host, err);
    if (result == 0)
        result = read_everything(host, err);
    if (result == 0)
        result = flowd_local_routes_new(loop, on_routes_changed, host, &host->routes, err);
    if (result < 0) {
        flowd_host_free(host);
        return result;
    }
    host->tables.links_changed = host->tables.addresses_changed = false;
    *out = host;
    return 0;
}

void flowd_host_free(struct flowd_host *host)
{
    if (host == NULL)
        return;
    ev_timer_stop(host->loop, &host->again);
    if (ev_is_active(&host->readable))
        ev_io_stop(host->loop, &host->readable);
    nl_socket_free(host->notifications);
    flowd_local_routes_free(host->routes);
    flowd_host_tables_clear(&host->tables);
    free(host);
}

void flowd_host_observe(struct flowd_host *host, struct flowd_host_observer *observer)
{
    observer->next = host->observers;
    host->observers = observer;
}

void flowd_host_unobserve(struct flowd_host *host, struct flowd_host_observer *observer)
{
    struct flowd_host_observer **at = &host->observers;

    while (*at != NULL && *at != observer)
        at = &(*at)->next;
    if (*at == observer)
        *at = observer->next;
}

const struct flowd_interface *flowd_host_interface(const struct flowd_host *host, const char *name)
{
    return flowd_host_tables_interface(&host->tables, name);
}

const struct flowd_interface *flowd_host_next(const struct flowd_host *host, int after_index)
{
    return flowd_host_tables_next(&host->tables, after_index);
}
