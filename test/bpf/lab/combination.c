/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which combinations there are, which of them can't exist, and how the others are run.
 */
#include "lab/combination.h"

#include <stdio.h>
#include <string.h>

#define BIT(value) (1u << (value))
/* Sets name their members: a value that is added to a dimension is in none of them. */
#define ANY 0u
#define OPTIONS                                                                                    \
    (BIT(FLOWD_MARKER_HOP_BY_HOP) | BIT(FLOWD_MARKER_DESTINATION) |                                \
     BIT(FLOWD_MARKER_HOP_BY_HOP_DESTINATION))
#define EXTENDED                                                                                   \
    (BIT(EXTENSION_HOP_BY_HOP) | BIT(EXTENSION_DESTINATION) | BIT(EXTENSION_ROUTING) |             \
     BIT(EXTENSION_HOP_BY_HOP_ROUTING) | BIT(EXTENSION_DESTINATION_ROUTING) |                      \
     BIT(EXTENSION_ROUTING_DESTINATION) | BIT(EXTENSION_HOP_BY_HOP_DESTINATION) |                  \
     BIT(EXTENSION_AUTHENTICATION) | BIT(EXTENSION_EVERY) | BIT(EXTENSION_EIGHT) |                 \
     BIT(EXTENSION_NINE) | BIT(EXTENSION_256_BYTES) | BIT(EXTENSION_264_BYTES) | MARK_LIKE |       \
     HALF_MARKED)
#define MARK_LIKE                                                                                  \
    (BIT(EXTENSION_MARKED) | BIT(EXTENSION_MARKED_ROUTING) | BIT(EXTENSION_MARKED_OTHERWISE) |     \
     BIT(EXTENSION_MARKED_AND_MORE))
#define HALF_MARKED (BIT(EXTENSION_MARKED_HOP_BY_HOP) | BIT(EXTENSION_MARKED_DESTINATION))
#define FRAGMENTED                                                                                 \
    (BIT(FRAGMENT_ATOMIC) | BIT(FRAGMENT_FIRST) | BIT(FRAGMENT_LATER_KNOWN) |                      \
     BIT(FRAGMENT_LATER_UNKNOWN))
#define LATER (BIT(FRAGMENT_LATER_KNOWN) | BIT(FRAGMENT_LATER_UNKNOWN))
#define WHOLE_IP_HEADER                                                                            \
    (BIT(CUT_NOWHERE) | BIT(CUT_TAG) | BIT(CUT_EXTENSION) | BIT(CUT_FRAGMENT) |                    \
     BIT(CUT_TRANSPORT) | BIT(CUT_PAYLOAD))
#define CUT (BIT(CUT_TAG) | BIT(CUT_IP) | BIT(CUT_EXTENSION) | BIT(CUT_FRAGMENT) | CUT_BEHIND)
#define CUT_BEHIND (BIT(CUT_TRANSPORT) | BIT(CUT_PAYLOAD))
#define ONE_PACKET (BIT(SIZE_SMALL) | BIT(SIZE_EXACT) | BIT(SIZE_OVER))
#define SEGMENTS                                                                                   \
    (BIT(SIZE_SEGMENTS_EXACT) | BIT(SIZE_SEGMENTS_OVER) | BIT(SIZE_SEGMENTS_FULL) |                \
     BIT(SIZE_SEGMENTS_LONG))
#define NO_PORTS (BIT(PROTOCOL_ICMPV6) | BIT(PROTOCOL_ESP) | BIT(PROTOCOL_NONE))
#define IPV6 (BIT(PROTOCOL_TCP) | BIT(PROTOCOL_UDP) | NO_PORTS)
#define ALL_VLANS (BIT(VLAN_NONE) | BIT(VLAN_8021Q) | BIT(VLAN_8021AD_8021Q) | BIT(VLAN_THREE))

static const struct {
    const char *name;
    const char *values[24];
} dimensions[COMBINATION_DIMENSIONS] = {
    {"strategy", {"label", "hopByHop", "destination", "hopByHopDestination"}},
    {"encoding", {"scitags", "2024"}},
    {"routes", {"routes-read", "routes-unknown"}},
    {"protocol", {"tcp", "udp", "icmpv6", "esp", "no-next-header", "ipv4"}},
    {"link", {"ethernet", "no-link-header"}},
    {"vlan", {"untagged", "802.1q", "802.1ad+802.1q", "three-tags"}},
    {"extension",
     {"none",
      "hbh",
      "dest",
      "routing",
      "hbh+routing",
      "dest+routing",
      "routing+dest",
      "hbh+dest",
      "ah",
      "every",
      "eight",
      "nine",
      "256-bytes",
      "264-bytes",
      "marked",
      "marked+routing",
      "marked-otherwise",
      "marked-and-more",
      "marked-hbh",
      "marked-dest"}},
    {"fragment", {"whole", "atomic", "first", "later-known", "later-unknown"}},
    {"cut",
     {"uncut", "cut-tag", "cut-ip", "cut-extension", "cut-fragment", "cut-transport",
      "cut-payload"}},
    {"size",
     {"small", "exact", "over", "segments-exact", "segments-over", "segments-full",
      "segments-long"}},
};

static const uint8_t counts[COMBINATION_DIMENSIONS] = {
    [COMBINATION_STRATEGY] = 4,
    [COMBINATION_ENCODING] = 2,
    [COMBINATION_ROUTES] = ROUTES_COUNT,
    [COMBINATION_PROTOCOL] = PROTOCOL_COUNT,
    [COMBINATION_LINK] = LINK_COUNT,
    [COMBINATION_VLAN] = VLAN_COUNT,
    [COMBINATION_EXTENSION] = EXTENSION_COUNT,
    [COMBINATION_FRAGMENT] = FRAGMENT_COUNT,
    [COMBINATION_CUT] = CUT_COUNT,
    [COMBINATION_SIZE] = SIZE_COUNT,
};

/* One set of values for each dimension, in the order of enum combination_dimension. */
struct combination_set {
    uint32_t values[COMBINATION_DIMENSIONS];
};

static const struct {
    const char *reason;
    struct combination_set set;
} impossible[] = {
    {"a program that writes labels never asks for an MTU: it is loaded without routes",
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_LABEL),
       [COMBINATION_ROUTES] = BIT(ROUTES_READ) | BIT(ROUTES_READ_BY_HELPER)}}},
    {"a VLAN tag is a part of an Ethernet header",
     {{[COMBINATION_LINK] = BIT(LINK_NONE),
       [COMBINATION_VLAN] = BIT(VLAN_8021Q) | BIT(VLAN_8021AD_8021Q) | BIT(VLAN_THREE)}}},
    {"IPv4 has no extension headers",
     {{[COMBINATION_PROTOCOL] = BIT(PROTOCOL_IPV4), [COMBINATION_EXTENSION] = EXTENDED}}},
    {"IPv4 has no fragment header",
     {{[COMBINATION_PROTOCOL] = BIT(PROTOCOL_IPV4), [COMBINATION_FRAGMENT] = FRAGMENTED}}},
    {"a label is no header that could stand beside others",
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_LABEL),
       [COMBINATION_EXTENSION] = (MARK_LIKE | HALF_MARKED) & ~BIT(EXTENSION_MARKED)}}},
    {"a label adds nothing: what fits without it fits with it",
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_LABEL),
       [COMBINATION_SIZE] = BIT(SIZE_OVER) | BIT(SIZE_SEGMENTS_OVER)}}},
    {"one header has no halves",
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_HOP_BY_HOP) | BIT(FLOWD_MARKER_DESTINATION),
       [COMBINATION_EXTENSION] = HALF_MARKED}}},
    {"a datagram is known by its flow, and flows are TCP or UDP",
     {{[COMBINATION_PROTOCOL] = NO_PORTS, [COMBINATION_FRAGMENT] = BIT(FRAGMENT_LATER_KNOWN)}}},
    {"there is no tag to end in",
     {{[COMBINATION_VLAN] = BIT(VLAN_NONE), [COMBINATION_CUT] = BIT(CUT_TAG)}}},
    {"there is no extension header to end in",
     {{[COMBINATION_EXTENSION] = BIT(EXTENSION_NONE), [COMBINATION_CUT] = BIT(CUT_EXTENSION)}}},
    {"a label is no extension header to end in",
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_LABEL),
       [COMBINATION_EXTENSION] = BIT(EXTENSION_MARKED),
       [COMBINATION_CUT] = BIT(CUT_EXTENSION)}}},
    {"a later fragment has data where these headers were",
     {{[COMBINATION_EXTENSION] = BIT(EXTENSION_DESTINATION) | BIT(EXTENSION_AUTHENTICATION) |
                                 BIT(EXTENSION_MARKED_DESTINATION),
       [COMBINATION_FRAGMENT] = LATER,
       [COMBINATION_CUT] = BIT(CUT_EXTENSION)}}},
    {"a later fragment has data where the mark's header was",
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_DESTINATION),
       [COMBINATION_EXTENSION] = MARK_LIKE & ~BIT(EXTENSION_MARKED_ROUTING),
       [COMBINATION_FRAGMENT] = LATER,
       [COMBINATION_CUT] = BIT(CUT_EXTENSION)}}},
    {"there is no fragment header to end in",
     {{[COMBINATION_FRAGMENT] = BIT(FRAGMENT_NONE), [COMBINATION_CUT] = BIT(CUT_FRAGMENT)}}},
    {"only TCP and UDP are cut into segments",
     {{[COMBINATION_PROTOCOL] = NO_PORTS, [COMBINATION_SIZE] = SEGMENTS}}},
    {"what is cut into segments is not cut into fragments before",
     {{[COMBINATION_FRAGMENT] = FRAGMENTED, [COMBINATION_SIZE] = SEGMENTS}}},
    {"an authentication header covers one packet: segments are cut before they get theirs",
     {{[COMBINATION_EXTENSION] = BIT(EXTENSION_AUTHENTICATION) | BIT(EXTENSION_EVERY),
       [COMBINATION_SIZE] = SEGMENTS}}},
    {"the kernel cuts nothing into segments whose headers are not whole",
     {{[COMBINATION_CUT] = CUT, [COMBINATION_SIZE] = SEGMENTS}}},
};
#define IMPOSSIBLE (sizeof(impossible) / sizeof(impossible[0]))

/* What can be, but not on each kernel. */
static const struct {
    enum kernel_lack lack;
    struct combination_set set;
} left_out[] = {
    {KERNEL_NO_OPTIONS, {{[COMBINATION_STRATEGY] = OPTIONS}}},
    {KERNEL_NO_DATAGRAMS,
     {{[COMBINATION_PROTOCOL] = BIT(PROTOCOL_UDP), [COMBINATION_SIZE] = SEGMENTS}}},
};
#define LEFT_OUT (sizeof(left_out) / sizeof(left_out[0]))

/* The first set that has the combination counts. */
static const struct {
    enum combination_way way;
    struct combination_set set;
} ways[] = {
    {WAY_TEST_RUN,
     {{[COMBINATION_PROTOCOL] = IPV6 | BIT(PROTOCOL_IPV4),
       [COMBINATION_LINK] = BIT(LINK_ETHERNET),
       [COMBINATION_VLAN] = ALL_VLANS,
       [COMBINATION_EXTENSION] = EXTENDED | BIT(EXTENSION_NONE),
       [COMBINATION_FRAGMENT] = FRAGMENTED | BIT(FRAGMENT_NONE),
       [COMBINATION_CUT] = WHOLE_IP_HEADER,
       [COMBINATION_SIZE] = ONE_PACKET}}},
    /* BPF_PROG_TEST_RUN takes the first 14 bytes for an Ethernet header. That does not matter as
     * long as nothing is inserted: the source address says IPv6 where the ethertype would be. */
    {WAY_TEST_RUN,
     {{[COMBINATION_STRATEGY] = BIT(FLOWD_MARKER_LABEL),
       [COMBINATION_PROTOCOL] = IPV6,
       [COMBINATION_LINK] = BIT(LINK_NONE),
       [COMBINATION_VLAN] = BIT(VLAN_NONE),
       [COMBINATION_EXTENSION] = EXTENDED | BIT(EXTENSION_NONE),
       [COMBINATION_FRAGMENT] = FRAGMENTED | BIT(FRAGMENT_NONE),
       [COMBINATION_CUT] = BIT(CUT_NOWHERE),
       [COMBINATION_SIZE] = ONE_PACKET}}},
    {WAY_DEVICE,
     {{[COMBINATION_PROTOCOL] = IPV6 | BIT(PROTOCOL_IPV4),
       [COMBINATION_LINK] = BIT(LINK_ETHERNET) | BIT(LINK_NONE),
       [COMBINATION_VLAN] = ALL_VLANS,
       [COMBINATION_EXTENSION] = EXTENDED | BIT(EXTENSION_NONE),
       [COMBINATION_FRAGMENT] = FRAGMENTED | BIT(FRAGMENT_NONE),
       [COMBINATION_CUT] = CUT | BIT(CUT_NOWHERE),
       [COMBINATION_SIZE] = ONE_PACKET | SEGMENTS}}},
};
#define WAY_SETS (sizeof(ways) / sizeof(ways[0]))

size_t combination_total(void)
{
    size_t total = 1;

    for (unsigned d = 0; d < COMBINATION_DIMENSIONS; d++)
        total *= counts[d];
    return total;
}

/* The first dimensions change slowest, so that a program is loaded once for its combinations. */
struct combination combination_at(size_t number)
{
    struct combination combination;

    for (unsigned d = COMBINATION_DIMENSIONS; d-- > 0; number /= counts[d])
        combination.value[d] = (uint8_t)(number % counts[d]);
    return combination;
}

unsigned combination_values(enum combination_dimension dimension)
{
    return counts[dimension];
}

const char *combination_value_text(enum combination_dimension dimension, unsigned value)
{
    const char *text = dimensions[dimension].values[value];

    return text != NULL ? text : dimensions[dimension].name;
}

const char *combination_text(const struct combination *combination)
{
    static char text[256];
    size_t length = 0;

    for (unsigned d = 0; d < COMBINATION_DIMENSIONS && length < sizeof(text); d++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s", d > 0 ? " " : "",
                                   combination_value_text(d, combination->value[d]));
    return text;
}

static bool in_set(const struct combination *combination, const struct combination_set *set)
{
    for (unsigned d = 0; d < COMBINATION_DIMENSIONS; d++)
        if (set->values[d] != ANY && !(set->values[d] & BIT(combination->value[d])))
            return false;
    return true;
}

const char *combination_impossible(const struct combination *combination, unsigned *rule)
{
    for (unsigned i = 0; i < IMPOSSIBLE; i++)
        if (in_set(combination, &impossible[i].set)) {
            if (rule != NULL)
                *rule = i;
            return impossible[i].reason;
        }
    return NULL;
}

enum kernel_lack combination_left_out(const struct combination *combination,
                                      const bool lacking[static KERNEL_LACKS])
{
    for (unsigned i = 0; i < LEFT_OUT; i++)
        if (lacking[left_out[i].lack] && in_set(combination, &left_out[i].set))
            return left_out[i].lack;
    return KERNEL_LACKS;
}

unsigned combination_rules(void)
{
    return IMPOSSIBLE;
}

enum combination_way combination_way(const struct combination *combination)
{
    for (unsigned i = 0; i < WAY_SETS; i++)
        if (in_set(combination, &ways[i].set))
            return ways[i].way;
    return WAY_NOT;
}
