/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prefixes of local routes, and the tables to look for them in, as the kernel's messages tell
 * of them: bytes in, tables out, and no socket.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOWD_RULE_TABLES_MAX 1024

struct nlmsghdr;

/* Empty where it is all zeros. */
struct flowd_local_prefixes {
    struct flowd_local_prefix *set; /* owned */
    uint32_t count[2][129];         /* by family and length */
    uint8_t lengths[2][129];
    unsigned length_count[2];
};

/* Which tables a question can come to; empty where it is all zeros. */
struct flowd_rule_tables {
    uint32_t ids[FLOWD_RULE_TABLES_MAX];
    unsigned count;
    bool too_many;
};

/* Of an address of this family: 32 or 128. */
unsigned flowd_address_bits(uint32_t family);

/*
 * Takes one message of rtnetlink, whose nlmsg_len bytes are there: a route. One that is not of type
 * local, or the kernel's own to a single address, is passed over, and so is what is not understood.
 */
void flowd_local_prefixes_take(struct flowd_local_prefixes *prefixes, struct nlmsghdr *message);
bool flowd_local_prefixes_cover(const struct flowd_local_prefixes *prefixes, uint32_t family,
                                const struct in6_addr *addr);
bool flowd_local_prefixes_equal(const struct flowd_local_prefixes *left,
                                const struct flowd_local_prefixes *right);
void flowd_local_prefixes_fini(struct flowd_local_prefixes *prefixes);

/* The same of a rule: its table, where a question that has nothing but a destination may match. */
void flowd_rule_tables_take(struct flowd_rule_tables *tables, struct nlmsghdr *message);
void flowd_rule_tables_add(struct flowd_rule_tables *tables, uint32_t id);

/*
 * What the answer to the question with this number says: 1 local, 0 not, also where there is no
 * route; -ENOMSG: it answers another question, -EBADMSG: it is too short.
 */
int flowd_local_answer_read(const void *message, size_t length, uint32_t sequence);
