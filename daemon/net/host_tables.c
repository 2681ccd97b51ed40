/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three hash tables: what is assigned (address and interface), what is local (address, counted over
 * the interfaces that have it), and links. Messages may come in any order: an address may be there
 * before its link, and a link takes its addresses along when it goes.
 */
#include "daemon/net/host_tables.h"

#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "daemon/net/link_names.h"

/* One address on one interface. */
struct flowd_assigned {
    struct {
        struct in6_addr addr;
        uint32_t family;
        int32_t interface;
    } key;
    bool global;
    UT_hash_handle hh;
};

/* One address, wherever it is assigned. */
struct flowd_local_address {
    struct {
        struct in6_addr addr;
        uint32_t family;
    } key;
    unsigned count;
    UT_hash_handle hh;
};

struct flowd_link {
    struct flowd_interface public;
    char *alternatives; /* owned; as of flowd_link_names_read() */
    int ipv6_addresses;
    int global_addresses; /* IPv6 addresses of global scope */
    UT_hash_handle hh;
};

static void refer(struct flowd_host_tables *tables, const struct in6_addr *addr, uint32_t family)
{
    struct flowd_local_address *local, probe = {.key = {.addr = *addr, .family = family}};

    HASH_FIND(hh, tables->locals, &probe.key, sizeof(probe.key), local);
    if (local == NULL) {
        local = calloc(1, sizeof(*local));
        if (local == NULL)
            return;
        local->key = probe.key;
        HASH_ADD(hh, tables->locals, key, sizeof(local->key), local);
    }
    local->count++;
}

static void unrefer(struct flowd_host_tables *tables, const struct in6_addr *addr, uint32_t family)
{
    struct flowd_local_address *local, probe = {.key = {.addr = *addr, .family = family}};

    HASH_FIND(hh, tables->locals, &probe.key, sizeof(probe.key), local);
    if (local == NULL || --local->count > 0)
        return;
    HASH_DEL(tables->locals, local);
    free(local);
}

static struct flowd_link *link_at(const struct flowd_host_tables *tables, int index)
{
    struct flowd_link *link;

    HASH_FIND_INT(tables->links, &index, link);
    return link;
}

/* Keeps the numbers of an interface's IPv6 addresses. */
static void count_ipv6(struct flowd_host_tables *tables, const struct flowd_assigned *entry,
                       int change)
{
    struct flowd_link *link = link_at(tables, entry->key.interface);

    if (link == NULL || entry->key.family != AF_INET6)
        return;
    link->ipv6_addresses += change;
    link->public.ipv6 = link->ipv6_addresses > 0;
    if (!entry->global)
        return;
    link->global_addresses += change;
    link->public.global_ipv6 = link->global_addresses > 0;
}

static void remove_assigned(struct flowd_host_tables *tables, struct flowd_assigned *entry)
{
    unrefer(tables, &entry->key.addr, entry->key.family);
    count_ipv6(tables, entry, -1);
    HASH_DEL(tables->assigned, entry);
    free(entry);
    tables->addresses_changed = true;
}

static void set_address(struct flowd_host_tables *tables, const struct flowd_assigned *wanted,
                        bool present)
{
    struct flowd_assigned *entry;

    HASH_FIND(hh, tables->assigned, &wanted->key, sizeof(wanted->key), entry);
    if (present && entry == NULL) {
        entry = malloc(sizeof(*entry));
        if (entry == NULL)
            return;
        *entry = *wanted;
        HASH_ADD(hh, tables->assigned, key, sizeof(entry->key), entry);
        refer(tables, &entry->key.addr, entry->key.family);
        count_ipv6(tables, entry, 1);
        tables->addresses_changed = true;
    } else if (!present && entry != NULL) {
        remove_assigned(tables, entry);
    }
}

static void handle_address(struct flowd_host_tables *tables, struct nlmsghdr *message)
{
    const struct ifaddrmsg *header = nlmsg_data(message);
    struct nlattr *attributes[IFA_MAX + 1], *address;
    struct flowd_assigned wanted = {0};
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
    set_address(tables, &wanted, message->nlmsg_type == RTM_NEWADDR);
}

static void free_link(struct flowd_host_tables *tables, struct flowd_link *link)
{
    HASH_DEL(tables->links, link);
    free(link->alternatives);
    free(link);
}

static void remove_link(struct flowd_host_tables *tables, int index)
{
    struct flowd_link *link = link_at(tables, index);
    struct flowd_assigned *entry, *next;

    HASH_ITER (hh, tables->assigned, entry, next)
        if (entry->key.interface == index)
            remove_assigned(tables, entry);
    if (link == NULL)
        return;
    free_link(tables, link);
    tables->links_changed = true;
}

static struct flowd_link *add_link(struct flowd_host_tables *tables, int index)
{
    struct flowd_link *link = calloc(1, sizeof(*link));
    const struct flowd_assigned *entry, *next;

    if (link == NULL)
        return NULL;
    link->public.index = index;
    HASH_ADD(hh, tables->links, public.index, sizeof(int), link);
    HASH_ITER (hh, tables->assigned, entry, next)
        if (entry->key.interface == index)
            count_ipv6(tables, entry, 1);
    tables->links_changed = true;
    return link;
}

/* alternatives is owned by this call. */
static void set_link(struct flowd_host_tables *tables, const struct flowd_interface *wanted,
                     char *alternatives)
{
    struct flowd_link *link = link_at(tables, wanted->index);

    if (link == NULL)
        link = add_link(tables, wanted->index);
    if (link == NULL) {
        free(alternatives);
        return;
    }
    if (strcmp(link->public.name, wanted->name) != 0 || link->public.flags != wanted->flags ||
        link->public.type != wanted->type || link->public.mtu != wanted->mtu ||
        !flowd_link_names_equal(link->alternatives, alternatives))
        tables->links_changed = true;
    memcpy(link->public.name, wanted->name, sizeof(link->public.name));
    link->public.flags = wanted->flags;
    link->public.type = wanted->type;
    link->public.mtu = wanted->mtu;
    free(link->alternatives);
    link->alternatives = alternatives;
}

static void handle_link(struct flowd_host_tables *tables, struct nlmsghdr *message)
{
    static const struct nla_policy policy[FLOWD_LINK_ATTRIBUTE_MAX + 1] = {
        [IFLA_MTU] = {.type = NLA_U32},
    };
    const struct ifinfomsg *header = nlmsg_data(message);
    struct nlattr *attributes[FLOWD_LINK_ATTRIBUTE_MAX + 1];
    struct flowd_interface wanted = {0};

    /* Bridges speak of their ports in the same messages with a family of their own. */
    if (header->ifi_family != AF_UNSPEC)
        return;
    if (message->nlmsg_type == RTM_DELLINK) {
        remove_link(tables, header->ifi_index);
        return;
    }
    if (nlmsg_parse(message, sizeof(*header), attributes, FLOWD_LINK_ATTRIBUTE_MAX, policy) < 0 ||
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
    set_link(tables, &wanted, flowd_link_names_read(attributes));
}

void flowd_host_tables_take(struct flowd_host_tables *tables, struct nlmsghdr *message)
{
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        if (nlmsg_valid_hdr(message, sizeof(struct ifinfomsg)))
            handle_link(tables, message);
        break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        if (nlmsg_valid_hdr(message, sizeof(struct ifaddrmsg)))
            handle_address(tables, message);
        break;
    default:
        break;
    }
}

void flowd_host_tables_clear(struct flowd_host_tables *tables)
{
    struct flowd_assigned *entry, *next_entry;
    struct flowd_link *link, *next_link;

    HASH_ITER (hh, tables->assigned, entry, next_entry)
        remove_assigned(tables, entry);
    HASH_ITER (hh, tables->links, link, next_link)
        free_link(tables, link);
}

bool flowd_host_tables_have(const struct flowd_host_tables *tables, uint8_t family,
                            const struct in6_addr *addr)
{
    struct flowd_local_address *local, probe = {.key = {.addr = *addr, .family = family}};

    HASH_FIND(hh, tables->locals, &probe.key, sizeof(probe.key), local);
    return local != NULL;
}

const struct flowd_interface *flowd_host_tables_interface(const struct flowd_host_tables *tables,
                                                          const char *name)
{
    const struct flowd_link *link, *next;

    HASH_ITER (hh, tables->links, link, next)
        if (strcmp(link->public.name, name) == 0 || flowd_link_names_have(link->alternatives, name))
            return &link->public;
    return NULL;
}

const struct flowd_interface *flowd_host_tables_next(const struct flowd_host_tables *tables,
                                                     int after_index)
{
    const struct flowd_interface *found = NULL;
    const struct flowd_link *link, *next;

    HASH_ITER (hh, tables->links, link, next)
        if (link->public.index > after_index &&
            (found == NULL || link->public.index < found->index))
            found = &link->public;
    return found;
}
