/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program as a filter of clsact. Filters are attached through libbpf and listed through
 * rtnetlink (RTM_GETTFILTER), since libbpf can only ask for a filter whose place is known.
 */
#include "clsact.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <string.h>

#include "ebpf/loader/bpf_log.h"
#include "explain.h"

#define PRIORITY_LAST 8u
/* More of flowd's filters than a crash can leave on an interface. */
#define OWN_MAX 4
static const uint32_t handles[MARKER_CLSACT_HANDLES] = {0xf10d, 0xf10e};
/* libbpf names a filter after its program: "NAME:[ID]". All of flowd's begin so. */
static const char filter_name[] = "flowd_marker";

struct listing {
    struct marker_filters filters;
    bool egress;
};

/* Whether a "bpf" filter's options name flowd's program. */
static bool is_own(struct nlattr *options, uint32_t *program)
{
    struct nlattr *attributes[TCA_BPF_MAX + 1];

    if (options == NULL || nla_parse_nested(attributes, TCA_BPF_MAX, options, NULL) < 0 ||
        attributes[TCA_BPF_NAME] == NULL)
        return false;
    if (strncmp(nla_data(attributes[TCA_BPF_NAME]), filter_name, strlen(filter_name)) != 0)
        return false;
    *program = attributes[TCA_BPF_ID] != NULL ? nla_get_u32(attributes[TCA_BPF_ID]) : 0;
    return true;
}

/* Which of flowd's handles it is; MARKER_CLSACT_HANDLES: none. */
static unsigned find_handle(uint32_t handle)
{
    unsigned n = 0;

    while (n < MARKER_CLSACT_HANDLES && handles[n] != handle)
        n++;
    return n;
}

/* Whether a packet that flowd would mark meets this filter, wherever the chain begins. */
static bool may_end_the_chain(const struct tcmsg *filter, struct nlattr *const attributes[])
{
    uint16_t protocol = ntohs((uint16_t)TC_H_MIN(filter->tcm_info));

    return (protocol == ETH_P_ALL || protocol == ETH_P_IPV6) &&
           (attributes[TCA_CHAIN] == NULL || nla_get_u32(attributes[TCA_CHAIN]) == 0);
}

static void note_front(struct marker_front *front, const char *kind, uint32_t priority,
                       struct nlattr *options)
{
    struct nlattr *attributes[TCA_BPF_MAX + 1];

    if (strcmp(kind, "bpf") == 0 && options != NULL &&
        nla_parse_nested(attributes, TCA_BPF_MAX, options, NULL) == 0 &&
        attributes[TCA_BPF_ID] != NULL)
        marker_front_add_program(front, "tc program", nla_get_u32(attributes[TCA_BPF_ID]));
    else
        marker_front_add_filter(front, kind, priority);
}

/* The kernel tells of filters in the order in which packets meet them. */
static int on_filter(struct nl_msg *message, void *context)
{
    struct listing *listing = context;
    struct marker_filters *filters = &listing->filters;
    struct nlattr *attributes[TCA_MAX + 1];
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct tcmsg *filter;
    uint32_t priority, program = 0;
    const char *kind;
    unsigned handle;

    if (header->nlmsg_type != RTM_NEWTFILTER ||
        nlmsg_parse(header, sizeof(*filter), attributes, TCA_MAX, NULL) < 0)
        return NL_SKIP;
    filter = nlmsg_data(header);
    /* The first message of each priority tells of the classifier itself, not of a filter. */
    if (filter->tcm_handle == 0)
        return NL_OK;
    priority = TC_H_MAJ(filter->tcm_info) >> 16;
    kind = attributes[TCA_KIND] != NULL ? nla_get_string(attributes[TCA_KIND]) : "";
    handle = find_handle(filter->tcm_handle);
    if (listing->egress && handle < MARKER_CLSACT_HANDLES && strcmp(kind, "bpf") == 0 &&
        is_own(attributes[TCA_OPTIONS], &program)) {
        if (filters->own) {
            filters->own_again = true;
            return NL_OK;
        }
        filters->own = true;
        filters->own_priority = priority;
        filters->own_program = program;
        filters->own_handle = handle;
        return NL_OK;
    }
    filters->others++;
    if (!listing->egress)
        return NL_OK;
    if (handle < MARKER_CLSACT_HANDLES && priority < 32)
        filters->taken[handle] |= 1u << priority;
    if (!filters->own && may_end_the_chain(filter, attributes))
        note_front(&filters->front, kind, priority, attributes[TCA_OPTIONS]);
    return NL_OK;
}

static int list_side(struct nl_sock *socket, int index, bool egress, struct listing *listing)
{
    struct tcmsg request = {
        .tcm_family = AF_UNSPEC,
        .tcm_ifindex = index,
        .tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS),
    };
    int result;

    listing->egress = egress;
    result = nl_send_simple(socket, RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, &request,
                            sizeof(request));
    return result < 0 ? result : nl_recvmsgs_default(socket);
}

int marker_clsact_read(int index, struct marker_filters *filters)
{
    struct listing listing = {0};
    struct nl_sock *socket = nl_socket_alloc();
    int result;

    if (socket == NULL)
        return -ENOMEM;
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_filter, &listing);
    result = nl_connect(socket, NETLINK_ROUTE);
    if (result == 0)
        result = list_side(socket, index, true, &listing);
    if (result == 0)
        result = list_side(socket, index, false, &listing);
    nl_socket_free(socket);
    if (result < 0)
        return -EIO;
    *filters = listing.filters;
    return 0;
}

/* Where an interface's clsact stands. */
struct place {
    int index;
    char kind[IFNAMSIZ]; /* of the qdisc that is there; "": none */
};

static int on_qdisc(struct nl_msg *message, void *context)
{
    struct place *place = context;
    struct nlattr *attributes[TCA_MAX + 1];
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct tcmsg *qdisc;

    if (header->nlmsg_type != RTM_NEWQDISC ||
        nlmsg_parse(header, sizeof(*qdisc), attributes, TCA_MAX, NULL) < 0)
        return NL_SKIP;
    qdisc = nlmsg_data(header);
    /* The kernel tells of every interface, whichever was asked for. */
    if (qdisc->tcm_ifindex == place->index && qdisc->tcm_parent == TC_H_CLSACT &&
        attributes[TCA_KIND] != NULL)
        snprintf(place->kind, sizeof(place->kind), "%s", nla_get_string(attributes[TCA_KIND]));
    return NL_OK;
}

static int find_qdisc(struct place *place)
{
    struct tcmsg request = {.tcm_family = AF_UNSPEC, .tcm_ifindex = place->index};
    struct nl_sock *socket = nl_socket_alloc();
    int result;

    if (socket == NULL)
        return -ENOMEM;
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_qdisc, place);
    result = nl_connect(socket, NETLINK_ROUTE);
    if (result == 0)
        result = nl_send_simple(socket, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, &request,
                                sizeof(request));
    if (result >= 0)
        result = nl_recvmsgs_default(socket);
    nl_socket_free(socket);
    return result < 0 ? -EIO : 0;
}

static int explain(enum marker_stage stage, int index, int result, struct flowd_error *err)
{
    char name[IF_NAMESIZE] = "";

    if_indextoname((unsigned)index, name);
    return marker_explain_here(
        (struct marker_failure){.stage = stage, .error = -result, .interface = name}, err);
}

/*
 * An "ingress" qdisc has the same place and takes a filter for clsact's egress, but runs it on the
 * packets that come in.
 */
static int make_qdisc(int index, bool *made, struct flowd_error *err)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);
    struct place place = {.index = index};
    int result;

    flowd_bpf_log_reset();
    result = bpf_tc_hook_create(&hook);
    *made = result == 0;
    if (result == 0)
        return 0;
    if (result == -EEXIST && find_qdisc(&place) == 0 && strcmp(place.kind, "clsact") == 0)
        return 0;
    return explain(MARKER_STAGE_QDISC, index, result, err);
}

static int attach_at(int program_fd, int index, uint32_t priority, unsigned handle, bool replace)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program_fd, .handle = handles[handle],
                .priority = priority, .flags = replace ? BPF_TC_F_REPLACE : 0);

    return bpf_tc_attach(&hook, &options);
}

static int detach_at(int index, uint32_t priority, unsigned handle)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = handles[handle], .priority = priority);

    return bpf_tc_detach(&hook, &options);
}

/* A new filter at the lowest priority that takes one: there, it comes first. */
static int attach_first(int program_fd, int index, const struct marker_filters *filters,
                        unsigned handle, uint32_t last)
{
    int result = -EEXIST;

    for (uint32_t priority = 1; priority <= last; priority++) {
        if (filters->taken[handle] & 1u << priority)
            continue;
        result = attach_at(program_fd, index, priority, handle, false);
        if (result == 0)
            return 0;
    }
    return result;
}

/* Removes flowd's filters with this handle. */
static void remove_handle(int index, const struct marker_filters *filters, unsigned handle)
{
    for (uint32_t priority = 1; priority <= PRIORITY_LAST; priority++)
        if (!(filters->taken[handle] & 1u << priority))
            detach_at(index, priority, handle);
}

static unsigned other_handle(unsigned handle)
{
    return (handle + 1) % MARKER_CLSACT_HANDLES;
}

int marker_clsact_attach(int program_fd, int index, bool *qdisc_made, struct flowd_error *err)
{
    struct marker_filters filters;
    int result = make_qdisc(index, qdisc_made, err);

    if (result < 0)
        return result;
    result = marker_clsact_read(index, &filters);
    if (result < 0)
        return flowd_fail_errno(err, -result, "listing filters");
    flowd_bpf_log_reset();
    if (filters.own)
        result = attach_at(program_fd, index, filters.own_priority, filters.own_handle, true);
    else
        result = attach_first(program_fd, index, &filters, 0, PRIORITY_LAST);
    /* Of what a crash in the midst of a move left, the second one would go on as it was. */
    if (result == 0 && filters.own_again)
        remove_handle(index, &filters, other_handle(filters.own_handle));
    return result < 0 ? explain(MARKER_STAGE_FILTER, index, result, err) : 0;
}

int marker_clsact_move_first(int program_fd, int index)
{
    struct marker_filters filters;
    int result = marker_clsact_read(index, &filters);
    uint32_t last = PRIORITY_LAST;
    unsigned handle;

    if (result < 0)
        return result;
    if (!filters.own)
        return -ENOENT;
    handle = other_handle(filters.own_handle);
    if (filters.own_priority < last)
        last = filters.own_priority;
    /* What a crash in the midst of an earlier move left has the same handle. */
    remove_handle(index, &filters, handle);
    result = attach_first(program_fd, index, &filters, handle, last);
    return result < 0 ? result : detach_at(index, filters.own_priority, filters.own_handle);
}

int marker_clsact_detach(int index)
{
    int removed = 0;

    for (int i = 0; i < OWN_MAX; i++) {
        struct marker_filters filters;
        int result = marker_clsact_read(index, &filters);

        if (result < 0)
            return result;
        if (!filters.own)
            break;
        result = detach_at(index, filters.own_priority, filters.own_handle);
        if (result < 0)
            return result;
        removed = 1;
    }
    return removed;
}

int marker_clsact_remove_qdisc(int index)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index,
                .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
    struct marker_filters filters;
    int result = marker_clsact_read(index, &filters);

    if (result < 0)
        return result;
    if (filters.own || filters.others > 0)
        return 0;
    result = bpf_tc_hook_destroy(&hook);
    return result < 0 && result != -ENOENT ? result : 1;
}
