/*
 * Filters are attached through libbpf and listed through rtnetlink (RTM_GETTFILTER), since libbpf
 * can only ask for a filter whose place is known.
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

#include "explain.h"
#include "loader/evidence.h"

#define HANDLE 0xf10du
#define PRIORITY_LAST 8u
/* libbpf names a filter after its program: "NAME:[ID]". */
static const char *const filter_names[] = {"flowd_marker:[", "flowd_marker_l3:["};

struct listing {
    struct marker_filters filters;
    bool egress;
};

static bool is_own_name(const char *name)
{
    for (size_t i = 0; i < sizeof(filter_names) / sizeof(filter_names[0]); i++)
        if (strncmp(name, filter_names[i], strlen(filter_names[i])) == 0)
            return true;
    return false;
}

/* Whether a "bpf" filter's options name flowd's program. */
static bool is_own(struct nlattr *options, uint32_t *program)
{
    struct nlattr *attributes[TCA_BPF_MAX + 1];

    if (options == NULL || nla_parse_nested(attributes, TCA_BPF_MAX, options, NULL) < 0 ||
        attributes[TCA_BPF_NAME] == NULL)
        return false;
    if (!is_own_name(nla_data(attributes[TCA_BPF_NAME])))
        return false;
    *program = attributes[TCA_BPF_ID] != NULL ? nla_get_u32(attributes[TCA_BPF_ID]) : 0;
    return true;
}

static int on_filter(struct nl_msg *message, void *context)
{
    struct listing *listing = context;
    struct marker_filters *filters = &listing->filters;
    struct nlattr *attributes[TCA_MAX + 1];
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct tcmsg *filter;
    uint32_t priority;
    uint32_t program = 0;

    if (header->nlmsg_type != RTM_NEWTFILTER ||
        nlmsg_parse(header, sizeof(*filter), attributes, TCA_MAX, NULL) < 0)
        return NL_SKIP;
    filter = nlmsg_data(header);
    /* The first message of each priority tells of the classifier itself, not of a filter. */
    if (filter->tcm_handle == 0)
        return NL_OK;
    priority = TC_H_MAJ(filter->tcm_info) >> 16;
    if (listing->egress && filter->tcm_handle == HANDLE && attributes[TCA_KIND] != NULL &&
        strcmp(nla_get_string(attributes[TCA_KIND]), "bpf") == 0 &&
        is_own(attributes[TCA_OPTIONS], &program)) {
        filters->own = true;
        filters->own_priority = priority;
        filters->own_program = program;
        return NL_OK;
    }
    filters->others++;
    if (listing->egress && filter->tcm_handle == HANDLE && priority < 32)
        filters->taken |= 1u << priority;
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

    flowd_evidence_reset();
    result = bpf_tc_hook_create(&hook);
    *made = result == 0;
    if (result == 0)
        return 0;
    if (result == -EEXIST && find_qdisc(&place) == 0 && strcmp(place.kind, "clsact") == 0)
        return 0;
    return explain(MARKER_STAGE_QDISC, index, result, err);
}

static int attach_at(int program_fd, int index, uint32_t priority, bool replace)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program_fd, .handle = HANDLE, .priority = priority,
                .flags = replace ? BPF_TC_F_REPLACE : 0);

    return bpf_tc_attach(&hook, &options);
}

int marker_clsact_attach(int program_fd, int index, bool *qdisc_made, struct flowd_error *err)
{
    struct marker_filters filters;
    int result = make_qdisc(index, qdisc_made, err);

    if (result < 0)
        return result;
    result = marker_clsact_read(index, &filters);
    if (result < 0)
        return flowd_fail(err, -result, "listing filters");
    flowd_evidence_reset();
    if (filters.own) {
        result = attach_at(program_fd, index, filters.own_priority, true);
        return result < 0 ? explain(MARKER_STAGE_FILTER, index, result, err) : 0;
    }
    result = -EEXIST;
    for (uint32_t priority = 1; priority <= PRIORITY_LAST; priority++) {
        if (filters.taken & 1u << priority)
            continue;
        result = attach_at(program_fd, index, priority, false);
        if (result == 0)
            return 0;
    }
    return explain(MARKER_STAGE_FILTER, index, result, err);
}

int marker_clsact_detach(int index)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = HANDLE);
    struct marker_filters filters;
    int result = marker_clsact_read(index, &filters);

    if (result < 0 || !filters.own)
        return result;
    options.priority = filters.own_priority;
    result = bpf_tc_detach(&hook, &options);
    return result < 0 ? result : 1;
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
