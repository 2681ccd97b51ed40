/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternative names by rtnetlink: the kernel lists them nested in each message about a link, and
 * finds a link by one of them. Its numbers are declared here, since the headers that flowd must
 * build with may be older than they are.
 */
#include "daemon/net/link_names.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>

#define PROP_LIST 52
#define ALT_IFNAME 53

_Static_assert(IFLA_MAX > 0 && PROP_LIST <= FLOWD_LINK_ATTRIBUTE_MAX, "room for the attribute");

/* The length of a name in its attribute; 0: it is none. */
static size_t name_length(const struct nlattr *attribute)
{
    size_t length = strnlen(nla_data(attribute), (size_t)nla_len(attribute));

    return nla_type(attribute) == ALT_IFNAME && length < FLOWD_LINK_NAME_SIZE ? length : 0;
}

char *flowd_link_names_read(struct nlattr *const attributes[static FLOWD_LINK_ATTRIBUTE_MAX + 1])
{
    struct nlattr *list = attributes[PROP_LIST], *attribute;
    size_t size = 0, used = 0;
    char *names;
    int left;

    if (list == NULL)
        return NULL;
    nla_for_each_nested(attribute, list, left) size += name_length(attribute) + 1;
    names = size > 0 ? malloc(size + 1) : NULL;
    if (names == NULL)
        return NULL;
    nla_for_each_nested(attribute, list, left)
    {
        size_t length = name_length(attribute);

        if (length == 0)
            continue;
        memcpy(names + used, nla_data(attribute), length);
        names[used + length] = '\0';
        used += length + 1;
    }
    names[used] = '\0';
    return names;
}

bool flowd_link_names_have(const char *names, const char *name)
{
    for (const char *at = names; at != NULL && *at != '\0'; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

static size_t size_of(const char *names)
{
    size_t size = 0;

    while (names != NULL && names[size] != '\0')
        size += strlen(names + size) + 1;
    return size;
}

bool flowd_link_names_equal(const char *names, const char *others)
{
    size_t size = names != NULL ? size_of(names) : 0;
    size_t other = others != NULL ? size_of(others) : 0;

    return size == other && (size == 0 || memcmp(names, others, size) == 0);
}

static int on_link(struct nl_msg *message, void *context)
{
    struct nlmsghdr *header = nlmsg_hdr(message);
    unsigned *index = context;

    if (header->nlmsg_type == RTM_NEWLINK && nlmsg_valid_hdr(header, sizeof(struct ifinfomsg)))
        *index = (unsigned)((const struct ifinfomsg *)nlmsg_data(header))->ifi_index;
    return NL_OK;
}

/* Asks by rtnetlink, whose names may be longer than those of ioctl(2). */
static void link_names_ask(struct nl_sock *socket, const char *name, unsigned *index)
{
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_REQUEST);

    if (message == NULL)
        return;
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_link, index);
    if (nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO) == 0 &&
        nla_put_string(message, ALT_IFNAME, name) == 0 && nl_connect(socket, NETLINK_ROUTE) == 0 &&
        nl_send_auto(socket, message) >= 0)
        nl_recvmsgs_default(socket);
    nlmsg_free(message);
}

unsigned flowd_link_names_index(const char *name)
{
    unsigned index = strlen(name) < IF_NAMESIZE ? if_nametoindex(name) : 0;
    struct nl_sock *socket;

    if (index > 0 || strlen(name) < IF_NAMESIZE)
        return index;
    socket = nl_socket_alloc();
    if (socket == NULL)
        return 0;
    link_names_ask(socket, name, &index);
    nl_socket_free(socket);
    return index;
}
