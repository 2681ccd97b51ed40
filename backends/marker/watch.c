/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket that hears of changed qdiscs and filters. It is one of its own, so that a host whose
 * filters change all the time (hardware offload) does not drown the notifications of interfaces and
 * addresses. What the kernel drops puts every interface in doubt, which costs one look at each.
 */
#include "watch.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#define RECEIVES_PER_WAKEUP 64

static int on_message(struct nl_msg *message, void *context)
{
    struct marker_watch *watch = context;
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct tcmsg *about;

    if (!nlmsg_valid_hdr(header, sizeof(*about)))
        return NL_SKIP;
    about = nlmsg_data(header);
    /* Filters of a block that several interfaces share have no interface. */
    watch->changed(watch, about->tcm_ifindex > 0 ? about->tcm_ifindex : 0);
    return NL_OK;
}

static void watch_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct marker_watch *watch = watcher->data;
    int result = 0;

    (void)loop;
    (void)events;
    for (int i = 0; i < RECEIVES_PER_WAKEUP && result >= 0; i++)
        result = nl_recvmsgs_default(watch->socket);
    if (result < 0 && result != -NLE_AGAIN)
        watch->changed(watch, 0);
    watch->done(watch);
}

int marker_watch_open(struct marker_watch *watch, struct ev_loop *loop, struct flowd_error *err)
{
    int result;

    watch->loop = loop;
    watch->socket = nl_socket_alloc();
    if (watch->socket == NULL)
        return flowd_fail_errno(err, ENOMEM, "rtnetlink");
    nl_socket_disable_seq_check(watch->socket);
    nl_socket_modify_cb(watch->socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, watch);
    result = nl_connect(watch->socket, NETLINK_ROUTE);
    if (result == 0)
        result = nl_socket_add_memberships(watch->socket, RTNLGRP_TC, RTNLGRP_NONE);
    if (result == 0)
        result = nl_socket_set_nonblocking(watch->socket);
    if (result < 0) {
        nl_socket_free(watch->socket);
        watch->socket = NULL;
        return flowd_fail(err, EIO, "rtnetlink: %s", nl_geterror(result));
    }
    ev_io_init(&watch->readable, watch_on_readable, nl_socket_get_fd(watch->socket), EV_READ);
    watch->readable.data = watch;
    ev_io_start(loop, &watch->readable);
    return 0;
}

void marker_watch_close(struct marker_watch *watch)
{
    if (watch->socket == NULL)
        return;
    ev_io_stop(watch->loop, &watch->readable);
    nl_socket_free(watch->socket);
    watch->socket = NULL;
}
