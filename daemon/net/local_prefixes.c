/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of prefixes, in which an address costs one look for each length that there is; and what
 * rtnetlink says of rules, routes and the answers to questions.
 */
#include "daemon/net/local_prefixes.h"

#include <assert.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* Addresses of both families have 16 bytes; those of IPv4 use the first four. */
struct flowd_local_prefix {
    struct {
        struct in6_addr addr;
        uint32_t family;
        uint32_t length;
    } key;
    UT_hash_handle hh;
};

static unsigned family_index(uint32_t family)
{
    return family == AF_INET6;
}

void flowd_local_prefixes_fini(struct flowd_local_prefixes *prefixes)
{
    struct flowd_local_prefix *prefix, *next;

    HASH_ITER (hh, prefixes->set, prefix, next) {
        HASH_DEL(prefixes->set, prefix);
        free(prefix);
    }
}

static void mask_address(const struct in6_addr *addr, unsigned length, struct in6_addr *out)
{
    *out = (struct in6_addr){0};
    memcpy(out, addr, length / 8);
    if (length % 8 != 0)
        out->s6_addr[length / 8] =
            (uint8_t)(addr->s6_addr[length / 8] & (0xff00u >> length % 8 & 0xffu));
}

static struct flowd_local_prefix *prefixes_find(const struct flowd_local_prefixes *prefixes,
                                                uint32_t family, const struct in6_addr *addr,
                                                unsigned length)
{
    struct flowd_local_prefix *found, probe = {.key = {.family = family, .length = length}};

    mask_address(addr, length, &probe.key.addr);
    HASH_FIND(hh, prefixes->set, &probe.key, sizeof(probe.key), found);
    return found;
}

static void prefixes_add(struct flowd_local_prefixes *prefixes, uint32_t family,
                         const struct in6_addr *addr, unsigned length)
{
    unsigned index = family_index(family);
    struct flowd_local_prefix *prefix;

    if (prefixes_find(prefixes, family, addr, length) != NULL)
        return;
    prefix = calloc(1, sizeof(*prefix));
    if (prefix == NULL)
        return;
    mask_address(addr, length, &prefix->key.addr);
    prefix->key.family = family;
    prefix->key.length = length;
    HASH_ADD(hh, prefixes->set, key, sizeof(prefix->key), prefix);
    if (prefixes->count[index][length]++ == 0)
        prefixes->lengths[index][prefixes->length_count[index]++] = (uint8_t)length;
}

bool flowd_local_prefixes_cover(const struct flowd_local_prefixes *prefixes, uint32_t family,
                                const struct in6_addr *addr)
{
    unsigned index = family_index(family);

    for (unsigned i = 0; i < prefixes->length_count[index]; i++)
        if (prefixes_find(prefixes, family, addr, prefixes->lengths[index][i]) != NULL)
            return true;
    return false;
}

bool flowd_local_prefixes_equal(const struct flowd_local_prefixes *left,
                                const struct flowd_local_prefixes *right)
{
    const struct flowd_local_prefix *prefix, *next;

    if (HASH_COUNT(left->set) != HASH_COUNT(right->set))
        return false;
    HASH_ITER (hh, left->set, prefix, next)
        if (prefixes_find(right, prefix->key.family, &prefix->key.addr, prefix->key.length) == NULL)
            return false;
    return true;
}

/* -- Rules: which tables a question can come to --------------------------------------------- */

void flowd_rule_tables_add(struct flowd_rule_tables *tables, uint32_t id)
{
    for (unsigned i = 0; i < tables->count; i++)
        if (tables->ids[i] == id)
            return;
    if (tables->count == FLOWD_RULE_TABLES_MAX)
        tables->too_many = true;
    else
        tables->ids[tables->count++] = id;
}

/* Whether a question, which has a destination and nothing else, may match the rule. */
static bool rule_applies(const struct fib_rule_hdr *header, struct nlattr **attributes)
{
    static const int selectors[] = {FRA_FWMARK, FRA_OIFNAME,     FRA_UID_RANGE,  FRA_IP_PROTO,
                                    FRA_TUN_ID, FRA_SPORT_RANGE, FRA_DPORT_RANGE};

    if (header->action != FR_ACT_TO_TBL)
        return false;
    if (header->flags & FIB_RULE_INVERT)
        return true;
    if (attributes[FRA_L3MDEV] != NULL && nla_get_u8(attributes[FRA_L3MDEV]) != 0)
        return false;
    if (attributes[FRA_IIFNAME] != NULL && nla_strcmp(attributes[FRA_IIFNAME], "lo") != 0)
        return false;
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++)
        if (attributes[selectors[i]] != NULL)
            return false;
    return header->src_len == 0;
}

void flowd_rule_tables_take(struct flowd_rule_tables *tables, struct nlmsghdr *header)
{
    static const struct nla_policy policy[FRA_MAX + 1] = {
        [FRA_TABLE] = {.type = NLA_U32},
        [FRA_L3MDEV] = {.type = NLA_U8},
    };
    struct nlattr *attributes[FRA_MAX + 1];
    const struct fib_rule_hdr *rule;

    if (header->nlmsg_type != RTM_NEWRULE || !nlmsg_valid_hdr(header, sizeof(*rule)) ||
        nlmsg_parse(header, sizeof(*rule), attributes, FRA_MAX, policy) < 0)
        return;
    rule = nlmsg_data(header);
    if (rule_applies(rule, attributes))
        flowd_rule_tables_add(tables, attributes[FRA_TABLE] != NULL
                                          ? nla_get_u32(attributes[FRA_TABLE])
                                          : rule->table);
}

/* -- Routes --------------------------------------------------------------------------------- */

unsigned flowd_address_bits(uint32_t family)
{
    return family == AF_INET6 ? 128 : 32;
}

void flowd_local_prefixes_take(struct flowd_local_prefixes *prefixes, struct nlmsghdr *header)
{
    struct nlattr *attributes[RTA_MAX + 1];
    struct in6_addr addr = {0};
    const struct rtmsg *route;
    unsigned bits;

    if (header->nlmsg_type != RTM_NEWROUTE || !nlmsg_valid_hdr(header, sizeof(*route)) ||
        nlmsg_parse(header, sizeof(*route), attributes, RTA_MAX, NULL) < 0)
        return;
    route = nlmsg_data(header);
    bits = flowd_address_bits(route->rtm_family);
    if (route->rtm_family != AF_INET && route->rtm_family != AF_INET6)
        return;
    if (route->rtm_type != RTN_LOCAL || route->rtm_dst_len > bits ||
        (route->rtm_protocol == RTPROT_KERNEL && route->rtm_dst_len == bits))
        return;
    if (attributes[RTA_DST] != NULL) {
        if ((unsigned)nla_len(attributes[RTA_DST]) < bits / 8)
            return;
        memcpy(&addr, nla_data(attributes[RTA_DST]), bits / 8);
    }
    prefixes_add(prefixes, route->rtm_family, &addr, route->rtm_dst_len);
}

/* -- Answers -------------------------------------------------------------------------------- */

int flowd_local_answer_read(const void *message, size_t length, uint32_t sequence)
{
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
    } answer;

    static_assert(offsetof(__typeof__(answer), route) == NLMSG_HDRLEN, "as on the wire");
    if (length < sizeof(answer))
        return -EBADMSG;
    memcpy(&answer, message, sizeof(answer));
    if (answer.header.nlmsg_seq != sequence)
        return -ENOMSG;
    return answer.header.nlmsg_type == RTM_NEWROUTE && answer.route.rtm_type == RTN_LOCAL;
}
