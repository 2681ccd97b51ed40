/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question to the kernel (RTM_GETROUTE) is what decides, but takes 2 to 4 microseconds, twice as
 * long as all else that is done for an event from the fifo. So it is asked only about addresses
 * that may be local: those under the prefix of a route of type local that stands in a table to
 * which a rule leads that can apply to the question. On most hosts there is no such prefix and the
 * answer costs nothing; where there are some, an address costs one look into a hash table for each
 * length of prefix. Rules that look at marks, interfaces or ports (those of transparent proxies,
 * whose table says "local default") lead nowhere here. The last answers are remembered.
 *
 * Routes to the single addresses that interfaces have are the kernel's own and known from the
 * interfaces (host.c): they are passed over.
 *
 * A filter on the socket lets the kernel drop every notification that is not about a route of type
 * local: a host with all routes of the Internet wakes nobody. What does arrive only makes the
 * routes be read again, not more often than each RATE_S. The kernel picks the routes of type local
 * when it reads a table out, but goes through all of it: 0.1 s for a million routes, at the start
 * and whenever a local route or a rule changes.
 *
 * A VRF's tables are not looked at: an address in a VRF is its interface's.
 */
#include "daemon/net/local_routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <linux/fib_rules.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/net/local_prefixes.h"

#define RATE_S 0.2
#define RETRY_S 1.0
#define DUMP_TRIES 8
#define RECEIVES_PER_WAKEUP 64
#define REMEMBERED 4096u
#define ANSWERS_MAX 4

struct remembered {
    struct in6_addr addr;
    uint32_t family;
    uint32_t generation; /* 0: nothing is */
    bool local;
};

struct flowd_local_routes {
    struct ev_loop *loop;
    void (*changed)(void *context);
    void *context;
    struct nl_sock *notifications;
    int questions; /* socket */
    uint32_t sequence;
    uint32_t asked;
    struct ev_io readable;
    struct ev_timer read;
    bool failing; /* the last reading failed, which was said */
    struct flowd_local_prefixes prefixes;
    uint32_t generation; /* of answers */
    struct remembered remembered[REMEMBERED];
};

static int on_rule(struct nl_msg *message, void *context)
{
    flowd_rule_tables_take(context, nlmsg_hdr(message));
    return NL_OK;
}

static int on_route(struct nl_msg *message, void *context)
{
    flowd_local_prefixes_take(context, nlmsg_hdr(message));
    return NL_OK;
}

/* A family or a table that is not there has no routes. */
static bool means_none(int result)
{
    return result == -NLE_OBJ_NOTFOUND || result == -NLE_OPNOTSUPP || result == -NLE_AF_NOSUPPORT;
}

static int dump_rules(struct nl_sock *socket, uint8_t family, struct flowd_rule_tables *tables)
{
    struct fib_rule_hdr request = {.family = family};
    int result;

    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_rule, tables);
    result = nl_send_simple(socket, RTM_GETRULE, NLM_F_DUMP, &request, sizeof(request));
    if (result >= 0)
        result = nl_recvmsgs_default(socket);
    if (!means_none(result))
        return result;
    /* A kernel without rules looks into these. */
    flowd_rule_tables_add(tables, RT_TABLE_LOCAL);
    flowd_rule_tables_add(tables, RT_TABLE_MAIN);
    return 0;
}

static int dump_table(struct nl_sock *socket, uint8_t family, uint32_t table,
                      struct flowd_local_prefixes *prefixes)
{
    struct {
        struct rtmsg route;
        struct rtattr attribute;
        uint32_t table;
    } request = {
        .route = {.rtm_family = family, .rtm_type = RTN_LOCAL},
        .attribute = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = RTA_TABLE},
        .table = table,
    };
    int result;

    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_route, prefixes);
    result = nl_send_simple(socket, RTM_GETROUTE, NLM_F_DUMP, &request, sizeof(request));
    if (result >= 0)
        result = nl_recvmsgs_default(socket);
    return means_none(result) ? 0 : result;
}

static int dump_family(struct nl_sock *socket, uint8_t family,
                       struct flowd_local_prefixes *prefixes)
{
    struct flowd_rule_tables tables = {0};
    int result = dump_rules(socket, family, &tables);

    for (unsigned i = 0; i < tables.count && result >= 0; i++)
        result = dump_table(socket, family, tables.ids[i], prefixes);
    if (tables.too_many)
        flowd_warning("host",
                      "local routes are looked for in the first %d tables of the rules only",
                      FLOWD_RULE_TABLES_MAX);
    return result;
}

/* Reads the local routes of both families. A dump that something changed under is begun again. */
static int read_prefixes(struct flowd_local_prefixes *prefixes)
{
    struct nl_sock *socket = nl_socket_alloc();
    const int one = 1;
    int result = socket != NULL ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;

    if (result == 0) {
        /* Has the kernel pick table and type; without, on_route() does. */
        (void)setsockopt(nl_socket_get_fd(socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one,
                         sizeof(one));
        for (int i = 0; i < DUMP_TRIES; i++) {
            flowd_local_prefixes_fini(prefixes);
            *prefixes = (struct flowd_local_prefixes){0};
            result = dump_family(socket, AF_INET6, prefixes);
            if (result >= 0)
                result = dump_family(socket, AF_INET, prefixes);
            if (result != -NLE_DUMP_INTR)
                break;
        }
    }
    nl_socket_free(socket);
    return result < 0 ? result : 0;
}

static void forget_answers(struct flowd_local_routes *routes)
{
    if (++routes->generation != 0)
        return;
    memset(routes->remembered, 0, sizeof(routes->remembered));
    routes->generation = 1;
}

static void read_later(struct flowd_local_routes *routes, double after_s)
{
    if (ev_is_active(&routes->read))
        return;
    ev_timer_set(&routes->read, after_s, 0);
    ev_timer_start(routes->loop, &routes->read);
}

static void on_read(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_local_routes *routes = watcher->data;
    struct flowd_local_prefixes fresh = {0};
    int result = read_prefixes(&fresh);

    (void)loop;
    (void)events;
    if (result < 0) {
        flowd_local_prefixes_fini(&fresh);
        flowd_log(routes->failing ? FLOWD_LOG_DEBUG : FLOWD_LOG_WARNING, "host",
                  "read local routes: %s; trying again", nl_geterror(result));
        routes->failing = true;
        read_later(routes, RETRY_S);
        return;
    }
    routes->failing = false;
    forget_answers(routes);
    /* Rules decide too: with the same prefixes the answers may be others, where there are any. */
    if (flowd_local_prefixes_equal(&fresh, &routes->prefixes) && fresh.set == NULL) {
        flowd_local_prefixes_fini(&fresh);
        return;
    }
    flowd_local_prefixes_fini(&routes->prefixes);
    routes->prefixes = fresh;
    routes->changed(routes->context);
}

void flowd_local_routes_refresh(struct flowd_local_routes *routes)
{
    read_later(routes, RATE_S);
}

static void local_routes_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_local_routes *routes = watcher->data;
    char waste[4096];

    (void)loop;
    (void)events;
    /* What it says does not matter, nor whether some were dropped: all is read again. */
    for (int i = 0; i < RECEIVES_PER_WAKEUP; i++)
        if (recv(watcher->fd, waste, sizeof(waste), MSG_DONTWAIT) < 0 && errno != ENOBUFS)
            break;
    read_later(routes, RATE_S);
}

/* Lets pass what is about rules, and about routes of type local that are not a single address of an
 * interface. */
static int attach_filter(int fd)
{
    enum { TYPE = offsetof(struct nlmsghdr, nlmsg_type), ROUTE = NLMSG_HDRLEN };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 7),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ROUTE + offsetof(struct rtmsg, rtm_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTN_LOCAL, 0, 6),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ROUTE + offsetof(struct rtmsg, rtm_protocol)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTPROT_KERNEL, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ROUTE + offsetof(struct rtmsg, rtm_dst_len)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 32, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 128, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int open_notifications(struct flowd_local_routes *routes, struct flowd_error *err)
{
    int result;

    routes->notifications = nl_socket_alloc();
    if (routes->notifications == NULL)
        return flowd_fail_errno(err, ENOMEM, "rtnetlink");
    result = nl_connect(routes->notifications, NETLINK_ROUTE);
    if (result < 0)
        return flowd_fail_errno(err, EIO, "rtnetlink: %s", nl_geterror(result));
    result = attach_filter(nl_socket_get_fd(routes->notifications));
    if (result < 0)
        return flowd_fail_errno(err, -result, "a filter for rtnetlink");
    result =
        nl_socket_add_memberships(routes->notifications, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
                                  RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NONE);
    if (result < 0)
        return flowd_fail_errno(err, EIO, "rtnetlink: %s", nl_geterror(result));
    ev_io_init(&routes->readable, local_routes_on_readable, nl_socket_get_fd(routes->notifications),
               EV_READ);
    routes->readable.data = routes;
    ev_io_start(routes->loop, &routes->readable);
    return 0;
}

int flowd_local_routes_new(struct ev_loop *loop, void (*changed)(void *context), void *context,
                           struct flowd_local_routes **out, struct flowd_error *err)
{
    struct flowd_local_routes *routes = calloc(1, sizeof(*routes));
    int result;

    if (routes == NULL)
        return flowd_fail_errno(err, ENOMEM, "local routes");
    routes->loop = loop;
    routes->changed = changed;
    routes->context = context;
    routes->generation = 1;
    ev_timer_init(&routes->read, on_read, 0, 0);
    routes->read.data = routes;
    routes->questions = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    result = routes->questions < 0 ? flowd_fail_errno(err, errno, "rtnetlink") : 0;
    /* First listen, then read: nothing that changes in between is missed. */
    if (result == 0)
        result = open_notifications(routes, err);
    if (result == 0) {
        int failure;

        errno = 0;
        failure = read_prefixes(&routes->prefixes);
        if (failure == -NLE_DUMP_INTR)
            read_later(routes, RETRY_S);
        else if (failure == -NLE_FAILURE && errno != 0) /* libnl has no word for what that says */
            result = flowd_fail_errno(err, errno, "read local routes");
        else if (failure < 0)
            result = flowd_fail_errno(err, EIO, "read local routes: %s", nl_geterror(failure));
    }
    if (result < 0) {
        flowd_local_routes_free(routes);
        return result;
    }
    *out = routes;
    return 0;
}

void flowd_local_routes_free(struct flowd_local_routes *routes)
{
    if (routes == NULL)
        return;
    ev_timer_stop(routes->loop, &routes->read);
    if (ev_is_active(&routes->readable))
        ev_io_stop(routes->loop, &routes->readable);
    nl_socket_free(routes->notifications);
    if (routes->questions >= 0)
        close(routes->questions);
    flowd_local_prefixes_fini(&routes->prefixes);
    free(routes);
}

/* -- Questions ------------------------------------------------------------------------------ */

/* The answer to the question with this number: whether it says local; false also where there is no
 * route or no answer. */
static bool read_answer(int fd, uint32_t sequence)
{
    char answer[8192];

    for (int i = 0; i < ANSWERS_MAX; i++) {
        ssize_t length = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
        int local;

        if (length < 0)
            return false;
        local = flowd_local_answer_read(answer, (size_t)length, sequence);
        if (local != -ENOMSG)
            return local == 1;
    }
    return false;
}

static bool local_routes_ask(struct flowd_local_routes *routes, uint8_t family,
                             const struct in6_addr *addr)
{
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
        struct rtattr attribute;
        struct in6_addr addr;
    } question = {
        .header = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = family, .rtm_dst_len = (uint8_t)flowd_address_bits(family)},
        .attribute = {.rta_type = RTA_DST},
        .addr = *addr,
    };
    size_t size = flowd_address_bits(family) / 8;

    question.attribute.rta_len = (unsigned short)RTA_LENGTH(size);
    question.header.nlmsg_len = (uint32_t)(offsetof(__typeof__(question), addr) + size);
    question.header.nlmsg_seq = ++routes->sequence;
    routes->asked++;
    if (send(routes->questions, &question, question.header.nlmsg_len, MSG_DONTWAIT) < 0)
        return false;
    return read_answer(routes->questions, question.header.nlmsg_seq);
}

/* FNV-1a. */
static uint32_t place_of(uint8_t family, const struct in6_addr *addr)
{
    uint32_t hash = 2166136261u ^ family;

    for (size_t i = 0; i < sizeof(addr->s6_addr); i++)
        hash = (hash * 16777619u) ^ addr->s6_addr[i];
    return (hash ^ hash >> 16) % REMEMBERED;
}

bool flowd_local_routes_has(struct flowd_local_routes *routes, uint8_t family,
                            const struct in6_addr *addr)
{
    struct remembered *entry;

    if (!flowd_local_prefixes_cover(&routes->prefixes, family, addr))
        return false;
    entry = &routes->remembered[place_of(family, addr)];
    if (entry->generation == routes->generation && entry->family == family &&
        memcmp(&entry->addr, addr, sizeof(*addr)) == 0)
        return entry->local;
    *entry = (struct remembered){.addr = *addr,
                                 .family = family,
                                 .generation = routes->generation,
                                 .local = local_routes_ask(routes, family, addr)};
    return entry->local;
}

uint32_t flowd_local_routes_asked(const struct flowd_local_routes *routes)
{
    return routes->asked;
}
