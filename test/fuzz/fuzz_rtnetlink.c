/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of rtnetlink about links, addresses, rules and routes. To be told the same twice changes
 * nothing; interfaces are found by their names and in their order; and the prefixes of routes do
 * not depend on the order in which the kernel lists them.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>

#include "daemon/net/host_tables.h"
#include "daemon/net/local_prefixes.h"
#include "netlink_messages.h"

#define MESSAGES_MAX 64u
#define BEHIND 16
#define SEQUENCE 77u /* of the question in the seeds */

struct told {
    struct flowd_host_tables host;
    struct flowd_rule_tables rules;
    struct flowd_local_prefixes prefixes;
    struct nlmsghdr *kept[MESSAGES_MAX]; /* owned */
    unsigned count;
};

static void check_answer(const void *message, size_t length)
{
    int local = flowd_local_answer_read(message, length, SEQUENCE);

    REQUIRE(local == 0 || local == 1 || local == -ENOMSG ||
            (local == -EBADMSG && length < NLMSG_LENGTH(sizeof(struct rtmsg))));
}

/*
 * With other bytes behind it: libnl reads attributes, and no sanitizer sees where to. Nothing may
 * be other than before.
 */
static void take_again(struct told *told, const void *message, size_t length, int behind)
{
    const unsigned tables = told->rules.count;
    char *again = malloc(length + BEHIND);

    REQUIRE(again != NULL);
    memcpy(again, message, length);
    memset(again + length, behind, BEHIND);
    told->host.links_changed = told->host.addresses_changed = false;
    flowd_host_tables_take(&told->host, (struct nlmsghdr *)(void *)again);
    REQUIRE(!told->host.links_changed && !told->host.addresses_changed);
    flowd_rule_tables_take(&told->rules, (struct nlmsghdr *)(void *)again);
    REQUIRE(told->rules.count == tables);
    flowd_local_prefixes_take(&told->prefixes, (struct nlmsghdr *)(void *)again);
    free(again);
}

static void take(void *context, void *message, size_t length)
{
    struct told *told = context;

    check_answer(message, length);
    flowd_rule_tables_take(&told->rules, message);
    flowd_local_prefixes_take(&told->prefixes, message);
    flowd_host_tables_take(&told->host, message);
    take_again(told, message, length, 0x00);
    take_again(told, message, length, 0xff);
    if (told->count == MESSAGES_MAX)
        return;
    told->kept[told->count] = malloc(length);
    REQUIRE(told->kept[told->count] != NULL);
    memcpy(told->kept[told->count++], message, length);
}

static void check_interfaces(const struct flowd_host_tables *host)
{
    int last = 0;

    for (const struct flowd_interface *at = flowd_host_tables_next(host, 0); at != NULL;
         at = flowd_host_tables_next(host, last)) {
        REQUIRE(at->index > last);
        REQUIRE(memchr(at->name, '\0', sizeof(at->name)) != NULL);
        REQUIRE(flowd_host_tables_interface(host, at->name) != NULL);
        REQUIRE(at->ipv6 || !at->global_ipv6);
        last = at->index;
    }
}

static void check_rules(const struct flowd_rule_tables *rules)
{
    REQUIRE(rules->count <= FLOWD_RULE_TABLES_MAX);
    for (unsigned i = 0; i < rules->count; i++)
        for (unsigned j = 0; j < i; j++)
            REQUIRE(rules->ids[i] != rules->ids[j]);
}

static void check_prefixes(const struct told *told)
{
    static const struct in6_addr zero;
    struct flowd_local_prefixes backwards = {0};
    bool all;

    for (unsigned i = told->count; i > 0; i--)
        flowd_local_prefixes_take(&backwards, told->kept[i - 1]);
    all = told->count < MESSAGES_MAX;
    REQUIRE(!all || flowd_local_prefixes_equal(&told->prefixes, &backwards));
    REQUIRE(!all || flowd_local_prefixes_cover(&told->prefixes, AF_INET6, &zero) ==
                        flowd_local_prefixes_cover(&backwards, AF_INET6, &zero));
    flowd_local_prefixes_fini(&backwards);
}

/* Of the two families are all that a question can be about. */
static void check_lengths(const struct flowd_local_prefixes *prefixes)
{
    for (unsigned i = 0; i < prefixes->length_count[0]; i++)
        REQUIRE(prefixes->lengths[0][i] <= 32);
    for (unsigned i = 0; i < prefixes->length_count[1]; i++)
        REQUIRE(prefixes->lengths[1][i] <= 128);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct told told;

    told = (struct told){.count = 0};
    for_each_message(data, size, false, take, &told);
    check_interfaces(&told.host);
    check_rules(&told.rules);
    check_lengths(&told.prefixes);
    check_prefixes(&told);
    flowd_host_tables_clear(&told.host);
    REQUIRE(flowd_host_tables_next(&told.host, 0) == NULL && told.host.locals == NULL &&
            told.host.assigned == NULL);
    flowd_local_prefixes_fini(&told.prefixes);
    for (unsigned i = 0; i < told.count; i++)
        free(told.kept[i]);
    return 0;
}
