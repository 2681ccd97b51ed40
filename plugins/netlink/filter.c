/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the kernel's filter for a dump.
 *
 * Each instruction is a condition on the remote address with two jumps: `yes`, which has to be the
 * length of the instruction itself, and `no`. A socket passes where a jump ends exactly at the end
 * of the program, and is dropped where it goes beyond.
 *
 *             COND IPv4 0.0.0.0/0     no: v6       also true of IPv4 in IPv6
 *             COND network            no: over the next one      \ for each
 *             JMP  beyond the end                                / IPv4 network
 *             JMP  end
 *         v6: COND network            no: over the next one      \ for each
 *             JMP  beyond the end                                / IPv6 network
 *        end:
 */
#include "filter.h"

#include <linux/inet_diag.h>
#include <stdbool.h>
#include <string.h>

#define JUMP_SIZE sizeof(struct inet_diag_bc_op)
#define CONDITION_SIZE(address_size)                                                               \
    (sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond) + (address_size))
#define STEP_SIZE(address_size) (CONDITION_SIZE(address_size) + JUMP_SIZE)
/* What is there without any network. */
#define FRAME_SIZE (CONDITION_SIZE(4) + JUMP_SIZE)
#define ANY_PORT (-1)

static size_t address_size_of(uint8_t family)
{
    return family == AF_INET ? 4 : 16;
}

static void put_condition(struct flowd_netlink_filter *filter, const struct flowd_network *network,
                          size_t no)
{
    size_t address_size = address_size_of(network->base.family);
    struct inet_diag_hostcond condition = {
        .family = network->base.family, .prefix_len = network->prefix_length, .port = ANY_PORT};
    struct inet_diag_bc_op op = {.code = INET_DIAG_BC_D_COND,
                                 .yes = (unsigned char)CONDITION_SIZE(address_size),
                                 .no = (unsigned short)no};
    uint8_t *at = filter->code + filter->length;

    memcpy(at, &op, sizeof(op));
    memcpy(at + sizeof(op), &condition, sizeof(condition));
    memcpy(at + sizeof(op) + sizeof(condition), &network->base.addr, address_size);
    filter->length += CONDITION_SIZE(address_size);
}

/* Jumps to the end of a program of total bytes, or beyond. */
static void put_jump(struct flowd_netlink_filter *filter, size_t total, bool beyond)
{
    struct inet_diag_bc_op op = {
        .code = INET_DIAG_BC_JMP,
        .yes = JUMP_SIZE,
        .no = (unsigned short)(total - filter->length + (beyond ? JUMP_SIZE : 0))};

    memcpy(filter->code + filter->length, &op, sizeof(op));
    filter->length += sizeof(op);
}

static void put_networks(struct flowd_netlink_filter *filter, const struct flowd_network *networks,
                         size_t count, size_t total)
{
    for (size_t i = 0; i < count; i++) {
        put_condition(filter, &networks[i], STEP_SIZE(address_size_of(networks[i].base.family)));
        put_jump(filter, total, true);
    }
}

void flowd_netlink_filter_compile(const struct flowd_network *networks, size_t count,
                                  struct flowd_netlink_filter *out)
{
    const struct flowd_network all_ipv4 = {.base.family = AF_INET};
    size_t total = FRAME_SIZE, of_ipv4 = 0;

    out->length = out->networks = 0;
    while (out->networks < count) {
        uint8_t family = networks[out->networks].base.family;
        size_t size = STEP_SIZE(address_size_of(family));

        if (total + size > sizeof(out->code))
            break;
        total += size;
        of_ipv4 += family == AF_INET;
        out->networks++;
    }
    if (out->networks == 0)
        return;
    put_condition(out, &all_ipv4, FRAME_SIZE + of_ipv4 * STEP_SIZE(4));
    put_networks(out, networks, of_ipv4, total);
    put_jump(out, total, false);
    put_networks(out, networks + of_ipv4, out->networks - of_ipv4, total);
}
