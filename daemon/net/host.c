/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces and addresses by rtnetlink: one socket for notifications, one for the dumps that fill
 * the tables at start and whenever the kernel says that it had to drop notifications.
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
#include <uthash.h>

#include "daemon/base/log.h"
#include "daemon/net/link_names.h"
#include "daemon/net/local_routes.h"

#define RECEIVE_BUFFER (1 << 20)
#define RECEIVES_PER_WAKEUP 64
#define DUMP_TRIES 8
#define AGAIN_S 1.0

/* One address on one interface. */
struct assigned {
    struct {
        struct in6_addr addr;
        uint32_t family;
        int32_t interface;
    } key;
    bool global;
    UT_hash_handle hh;
};

/* One address, wherever it is assigned. */
struct local {
    struct {
        struct in6_addr addr;
        uint32_t family;
    } key;
    unsigned count;
    UT_hash_handle hh;
};

struct link {
    struct flowd_interface public;
    char *alternatives; /* owned; as of flowd_link_names_read() */
    int ipv6_addresses;
    int global_addresses; /* IPv6 addresses of global scope */
    UT_hash_handle hh;
};

struct flowd_host {
    struct ev_loop *loop;
    struct nl_sock *notifications;
    struct ev_io readable;
    struct ev_timer again;
    struct flowd_local_routes *routes; /* owned */
    struct assigned *assigned;
    struct local *locals;
    struct link *links;
    struct flowd_host_observer *observers;
    bool links_changed;
    bool addresses_changed;
};

static bool is_loopback_v4(uint8_t family, const struct in6_addr *addr)
{
    return family == AF_INET && addr->s6_addr[0] == 127;
}

bool flowd_host_is_local(const struct flowd_host *host, uint8_t family, const struct in6_addr *addr)
{
    struct local *local, probe = {.key = {.addr = *addr, .family = family}};

    if (is_loopback_v4(family, addr))
        return true;
    HASH_FIND(hh, host->locals, &probe.key, sizeof(probe.key), local);
    return local != NULL || flowd_local_routes_has(host->routes, family, addr);
}

uint32_t flowd_host_asked(const struct flowd_host *host)
{
    return flowd_local_routes_asked(host->routes);
}

static void refer(struct flowd_host *host, const struct in6_addr *addr, uint32_t family)
{
    struct local *local, probe = {.key = {.addr = *addr, .family = family}};

    HASH_FIND(hh, host->locals, &probe.key, sizeof(probe.key), local);
    if (local == NULL) {
        local = calloc(1, sizeof(*local));
        if (local == NULL)
            return;
        local->key = probe.key;
        HASH_ADD(hh, host->locals, key, sizeof(local->key), local);
    }
    local->count++;
}

static void unrefer(struct flowd_host *host, const struct in6_addr *addr, uint32_t family)
{
    struct local *local, probe = {.key = {.addr = *addr, .family = family}};

    HASH_FIND(hh, host->locals, &probe.key, sizeof(probe.key), local);
    if (local == NULL || --local->count > 0)
        return;
    HASH_DEL(host->locals, local);
    free(local);
}

static struct link *link_at(const struct flowd_host *host, int index)
{
    struct link *link;

    HASH_FIND_INT(host->links, &index, link);
    return link;
}

/* Keeps the numbers of an interface's IPv6 addresses. */
static void count_ipv6(struct flowd_host *host, const struct assigned *entry, int change)
{
    struct link *link = link_at(host, entry->key.interface);

    if (link == NULL || entry->key.family != AF_INET6)
        return;
    link->ipv6_addresses += change;
    link->public.ipv6 = link->ipv6_addresses > 0;
    if (!entry->global)
        return;
    link->global_addresses += change;
    link->public.global_ipv6 = link->global_addresses > 0;
}

static void remove_assigned(struct flowd_host *host, struct assigned *entry)
{
    unrefer(host, &entry->key.addr, entry->key.family);
    count_ipv6(host, entry, -1);
    HASH_DEL(host->assigned, entry);
    free(entry);
    host->addresses_changed = true;
}

static void set_address(struct flowd_host *host, const struct assigned *wanted, bool present)
{
    struct assigned *entry;

    HASH_FIND(hh, host->assigned, &wanted->key, sizeof(wanted->key), entry);
    if (present && entry == NULL) {
        entry = malloc(sizeof(*entry));
        if (entry == NULL)
            return;
        *entry = *wanted;
        HASH_ADD(hh, host->assigned, key, sizeof(entry->key), entry);
        refer(host, &entry->key.addr, entry->key.family);
        count_ipv6(host, entry, 1);
        host->addresses_changed = true;
    } else if (!present && entry != NULL) {
        remove_assigned(host, entry);
    }
}

static void handle_address(struct flowd_host *host, struct nlmsghdr *message)
{
    const struct ifaddrmsg *header = nlmsg_data(message);
    struct nlattr *attributes[IFA_MAX + 1], *address;
    struct assigned wanted = {0};
    size_t length = header->ifa_family == AF_INET ? 4 : 16;

    if (header->ifa_family != AF_INET && header->ifa_family != AF_INET6)
        return;
    if (nlmsg_parse(message, sizeof(*header), attributes, IFA_MAX, NULL) < 0)
        return;
    /* On a point-to-point link IFA_ADDRESS is the peer's; IFA_LOCAL is always this host's. */
    address = attributes[IFA_LOCAL] != NULL ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
    if (address == NULL || (size_t)nla_len(address) < length)
        return;
    memcpy(&wanted.key.addr, nla_data(address), length);
    wanted.key.family = header->ifa_family;
    wanted.key.interface = (int32_t)header->ifa_index;
    wanted.global = header->ifa_scope == RT_SCOPE_UNIVERSE;
    set_address(host, &wanted, message->nlmsg_type == RTM_NEWADDR);
}

static void free_link(struct flowd_host *host, struct link *link)
{
    HASH_DEL(host->links, link);
    free(link->alternatives);
    free(link);
}

static void remove_link(struct flowd_host *host, int index)
{
    struct link *link = link_at(host, index);
    struct assigned *entry, *next;

    HASH_ITER (hh, host->assigned, entry, next)
        if (entry->key.interface == index)
            remove_assigned(host, entry);
    if (link == NULL)
        return;
    free_link(host, link);
    host->links_changed = true;
}

static struct link *add_link(struct flowd_host *host, int index)
{
    struct link *link = calloc(1, sizeof(*link));
    const struct assigned *entry, *next;

    if (link == NULL)
        return NULL;
    link->public.index = index;
    HASH_ADD(hh, host->links, public.index, sizeof(int), link);
    HASH_ITER (hh, host->assigned, entry, next)
        if (entry->key.interface == index)
            count_ipv6(host, entry, 1);
    host->links_changed = true;
    return link;
}

/* alternatives is owned by this call. */
static void set_link(struct flowd_host *host, const struct flowd_interface *wanted,
                     char *alternatives)
{
    struct link *link = link_at(host, wanted->index);

    if (link == NULL)
        link = add_link(host, wanted->index);
    if (link == NULL) {
        free(alternatives);
        return;
    }
    if (strcmp(link->public.name, wanted->name) != 0 || link->public.flags != wanted->flags ||
        link->public.type != wanted->type || link->public.mtu != wanted->mtu ||
        !flowd_link_names_equal(link->alternatives, alternatives))
        host->links_changed = true;
    memcpy(link->public.name, wanted->name, sizeof(link->public.name));
    link->public.flags = wanted->flags;
    link->public.type = wanted->type;
    link->public.mtu = wanted->mtu;
    free(link->alternatives);
    link->alternatives = alternatives;
}

static void handle_link(struct flowd_host *host, struct nlmsghdr *message)
{
    const struct ifinfomsg *header = nlmsg_data(message);
    struct nlattr *attributes[FLOWD_LINK_ATTRIBUTE_MAX + 1];
    struct flowd_interface wanted = {0};

    /* Bridges speak of their ports in the same messages with a family of their own. */
    if (header->ifi_family != AF_UNSPEC)
        return;
    if (message->nlmsg_type == RTM_DELLINK) {
        remove_link(host, header->ifi_index);
        return;
    }
    if (nlmsg_parse(message, sizeof(*header), attributes, FLOWD_LINK_ATTRIBUTE_MAX, NULL) < 0 ||
        attributes[IFLA_IFNAME] == NULL)
        return;
    /* An event of a wireless driver, which says nothing of what is asked for here. */
    if (attributes[IFLA_WIRELESS] != NULL)
        return;
    wanted.index = header->ifi_index;
    wanted.flags = header->ifi_flags;
    wanted.type = header->ifi_type;
    nla_strlcpy(wanted.name, attributes[IFLA_IFNAME], sizeof(wanted.name));
    if (attributes[IFLA_MTU] != NULL)
        wanted.mtu = nla_get_u32(attributes[IFLA_MTU]);
    set_link(host, &wanted, flowd_link_names_read(attributes));
}

static int on_message(struct nl_msg *message, void *context)
{
    struct flowd_host *host = context;
    struct nlmsghdr *header = nlmsg_hdr(message);

    switch (header->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        if (nlmsg_valid_hdr(header, sizeof(struct ifinfomsg)))
            handle_link(host, header);
        break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        if (nlmsg_valid_hdr(header, sizeof(struct ifaddrmsg)))
            handle_address(host, header);
        break;
    default:
        break;
    }
    return NL_OK;
}

static void clear(struct flowd_host *host)
{
    struct assigned *entry, *next_entry;
    struct link *link, *next_link;

    HASH_ITER (hh, host->assigned, entry, next_entry)
        remove_assigned(host, entry);
    HASH_ITER (hh, host->links, link, next_link)
        free_link(host, link);
}

static int dump(struct nl_sock *socket, int type, int family)
{
    struct rtgenmsg request = {.rtgen_family = (unsigned char)family};
    int result = nl_send_simple(socket, type, NLM_F_DUMP, &request, sizeof(request));

    return result < 0 ? result : nl_recvmsgs_default(socket);
}

/* Fills empty tables. A dump that something changed under is begun again. */
static int fill(struct flowd_host *fresh)
{
    struct nl_sock *socket = nl_socket_alloc();
    int result = socket != NULL ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;

    if (result == 0) {
        nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, fresh);
        for (int i = 0; i < DUMP_TRIES; i++) {
            clear(fresh);
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
    struct flowd_host fresh = {0};
    int result = fill(&fresh);

    if (result < 0) {
        clear(&fresh);
        return flowd_fail(err, EIO, "read interfaces and addresses: %s", nl_geterror(result));
    }
    clear(host);
    host->assigned = fresh.assigned;
    host->locals = fresh.locals;
    host->links = fresh.links;
    host->links_changed = host->addresses_changed = true;
    return 0;
}

static void tell_observers(struct flowd_host *host)
{
    bool links = host->links_changed, addresses = host->addresses_changed;
    struct flowd_host_observer *observer, *next;

    host->links_changed = host->addresses_changed = false;
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

    if (read_everything(host, &err) == 0)
        return;
    flowd_warning("host", "%s; trying again", err.message);
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
    nl_socket_modify_cb(host->notifications, NL_CB_VALID, NL_CB_CUSTOM, on_message, host);
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

    host->addresses_changed = true;
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
    host->links_changed = host->addresses_changed = false;
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
    clear(host);
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
    const struct link *link, *next;

    HASH_ITER (hh, host->links, link, next)
        if (strcmp(link->public.name, name) == 0 || flowd_link_names_have(link->alternatives, name))
            return &link->public;
    return NULL;
}

const struct flowd_interface *flowd_host_next(const struct flowd_host *host, int after_index)
{
    const struct flowd_interface *found = NULL;
    const struct link *link, *next;

    HASH_ITER (hh, host->links, link, next)
        if (link->public.index > after_index &&
            (found == NULL || link->public.index < found->index))
            found = &link->public;
    return found;
}
