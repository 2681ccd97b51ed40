/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules, in the order in which the first one that applies decides.
 */
#include "lab/model.h"

#include <string.h>

#define WALKED_MAX 8u  /* extension headers */
#define MOVED_MAX 256u /* bytes of them */
#define TAGS_MAX 2u
#define LENGTH_MAX 65535u
#define LABEL_BITS 20

void model_option(enum flowd_marker_encoding encoding, const struct flowd_marker_mark *mark,
                  uint8_t option[static PACKET_OPTION_SIZE])
{
    uint32_t label = mark->label % (1u << LABEL_BITS);
    const uint8_t scitags[] = {
        0x1e,           3, (uint8_t)(mark->experiment / 256), (uint8_t)(mark->experiment % 256),
        mark->activity, 0};
    const uint8_t label_bytes[] = {
        0x1f, 4, (uint8_t)(label / 65536), (uint8_t)(label / 256 % 256), (uint8_t)(label % 256), 0};

    memcpy(option, encoding == FLOWD_MARKER_2024 ? label_bytes : scitags, PACKET_OPTION_SIZE);
}

static unsigned tag_count(const struct packet_recipe *recipe)
{
    unsigned count = 0;

    while (count < 3 && recipe->tags[count] != 0)
        count++;
    return count;
}

/* How many headers of the chain can be seen: behind a later fragment's header stand data. */
static unsigned visible(const struct packet_recipe *recipe)
{
    for (unsigned i = 0; i < recipe->chain_length; i++)
        if (packet_is_later_fragment(recipe->chain[i]))
            return i + 1;
    return recipe->chain_length;
}

/* The number of the visible header in which the packet ends, or of none. */
static unsigned cut_header(const struct model_packet *packet)
{
    const struct packet_recipe *recipe = packet->recipe;

    for (unsigned i = visible(recipe); i-- > 0;) {
        bool fragment = packet_is_fragment(recipe->chain[i]);

        if ((packet->cut == CUT_EXTENSION && !fragment) ||
            (packet->cut == CUT_FRAGMENT && fragment))
            return i;
    }
    return PACKET_CHAIN_MAX;
}

static bool has_ports(const struct packet_recipe *recipe)
{
    return recipe->protocol == IPPROTO_TCP || recipe->protocol == IPPROTO_UDP;
}

/* Why the packet can't be told to be of a flow; FLOWD_MARKER_MARKED if it can. */
static enum flowd_marker_verdict judge_headers(const struct model_packet *packet)
{
    const struct packet_recipe *recipe = packet->recipe;
    unsigned seen = visible(recipe);
    unsigned end = cut_header(packet);

    if (tag_count(recipe) > TAGS_MAX)
        return FLOWD_MARKER_TOO_DEEP;
    if (packet->cut == CUT_TAG)
        return FLOWD_MARKER_TRUNCATED;
    if (recipe->ipv4)
        return FLOWD_MARKER_NOT_IPV6;
    if (packet->cut == CUT_IP || (end < seen && end < WALKED_MAX))
        return FLOWD_MARKER_TRUNCATED;
    if (seen > WALKED_MAX)
        return FLOWD_MARKER_TOO_DEEP;
    if (seen > 0 && packet_is_later_fragment(recipe->chain[seen - 1]))
        return packet->datagram_known ? FLOWD_MARKER_MARKED : FLOWD_MARKER_FRAGMENT;
    if (!has_ports(recipe))
        return FLOWD_MARKER_OTHER_PROTOCOL;
    return packet->cut == CUT_TRANSPORT ? FLOWD_MARKER_TRUNCATED : FLOWD_MARKER_MARKED;
}

/* The number of the visible header of a kind that is for the last destination, or of none. */
static unsigned find_own(const struct packet_recipe *recipe, int number)
{
    unsigned found = PACKET_CHAIN_MAX;

    for (unsigned i = 0; i < visible(recipe); i++) {
        if ((recipe->chain[i] & 0xff) == number)
            found = i;
        else if (number == PACKET_DESTINATION && (recipe->chain[i] & 0xff) == PACKET_ROUTING)
            found = PACKET_CHAIN_MAX;
    }
    return found;
}

/* Where a mark's header would stand: no other one, the mark itself, or something else. */
enum own { OWN_NONE, OWN_MARK, OWN_OTHER };

static enum own own_header(const struct packet_recipe *recipe, int number, int mark)
{
    unsigned at = find_own(recipe, number);

    if (at == PACKET_CHAIN_MAX)
        return OWN_NONE;
    return recipe->chain[at] == mark ? OWN_MARK : OWN_OTHER;
}

static bool has_visible(const struct packet_recipe *recipe, int number)
{
    return find_own(recipe, number) != PACKET_CHAIN_MAX;
}

/* Bytes of own headers that a Destination Options header would stand behind. */
static unsigned own_size(const struct packet_recipe *recipe)
{
    unsigned size = 0;

    for (unsigned i = 0; i < recipe->chain_length; i++) {
        if (packet_is_later_fragment(recipe->chain[i]))
            break;
        size += packet_header_size(recipe->chain[i]);
    }
    return size;
}

/* Whether the packet, or each segment, fits with added bytes; *segment may have to shrink. */
static bool fits(const struct model_settings *settings, const struct model_packet *packet,
                 unsigned added, unsigned *segment)
{
    struct packet composed;
    unsigned headers;
    unsigned announced;
    bool tcp = packet->recipe->protocol == IPPROTO_TCP;

    packet_compose(packet->recipe, &composed);
    headers = (unsigned)(composed.payload - composed.network);
    announced = (unsigned)(composed.length - composed.network) - packet->recipe->padding;
    if (packet->recipe->no_length || announced - 40 + added > LENGTH_MAX)
        return false;
    if (packet->segment == 0)
        return announced + packet->recipe->padding + added <= settings->mtu;
    /* Who can't know the path leaves the length of TCP's segments as it was. */
    if (headers + packet->segment + added <= settings->mtu && (settings->routes_read || !tcp))
        return true;
    if (!tcp || headers + packet->segment > settings->mtu || packet->segment <= added)
        return false;
    *segment -= added;
    return true;
}

static void insert(struct packet_recipe *recipe, unsigned at, int header)
{
    memmove(&recipe->chain[at + 1], &recipe->chain[at],
            (recipe->chain_length - at) * sizeof(recipe->chain[0]));
    recipe->chain[at] = header;
    recipe->chain_length++;
}

static enum flowd_marker_verdict mark_with_options(const struct model_settings *settings,
                                                   const struct model_packet *packet,
                                                   struct model_result *result)
{
    const struct packet_recipe *recipe = packet->recipe;
    bool hop_by_hop = settings->strategy != FLOWD_MARKER_DESTINATION;
    bool destination = settings->strategy != FLOWD_MARKER_HOP_BY_HOP;
    unsigned added = hop_by_hop && destination ? 16 : 8;
    enum own first = own_header(recipe, PACKET_HOP_BY_HOP, PACKET_HOP_BY_HOP_OPTION);
    enum own last = own_header(recipe, PACKET_DESTINATION, PACKET_DESTINATION_OPTION);

    if ((!hop_by_hop || first == OWN_MARK) && (!destination || last == OWN_MARK))
        return FLOWD_MARKER_MARKED;
    if ((hop_by_hop && first != OWN_NONE) || (destination && last != OWN_NONE))
        return FLOWD_MARKER_OPTIONS;
    if (tag_count(recipe) > 0)
        return FLOWD_MARKER_VLAN;
    if (has_visible(recipe, PACKET_AUTHENTICATION))
        return FLOWD_MARKER_OPTIONS;
    if (destination && has_visible(recipe, PACKET_FRAGMENT_FIRST))
        return FLOWD_MARKER_FRAGMENT;
    if (destination && own_size(recipe) > MOVED_MAX)
        return FLOWD_MARKER_TOO_DEEP;
    if (!fits(settings, packet, added, &result->segment))
        return FLOWD_MARKER_MTU;
    if (destination)
        insert(&result->recipe, recipe->chain_length, PACKET_DESTINATION_OPTION);
    if (hop_by_hop)
        insert(&result->recipe, 0, PACKET_HOP_BY_HOP_OPTION);
    return FLOWD_MARKER_MARKED;
}

/* Listeners (RFC 2710, RFC 3810), routers, neighbours and redirects (RFC 4861). */
static bool is_link_message(const struct packet_recipe *recipe)
{
    return recipe->protocol == IPPROTO_ICMPV6 &&
           ((recipe->icmp_type >= 130 && recipe->icmp_type <= 137) || recipe->icmp_type == 143);
}

struct model_result model_expect(const struct model_settings *settings,
                                 const struct model_packet *packet,
                                 const struct flowd_marker_mark *mark)
{
    struct model_result result = {
        .verdict = judge_headers(packet), .recipe = *packet->recipe, .segment = packet->segment};
    bool label = settings->strategy == FLOWD_MARKER_LABEL;

    if (result.verdict == FLOWD_MARKER_MARKED && mark == NULL)
        result.verdict = FLOWD_MARKER_NO_FLOW;
    if (settings->general != NULL &&
        (result.verdict == FLOWD_MARKER_NO_FLOW || result.verdict == FLOWD_MARKER_FRAGMENT ||
         result.verdict == FLOWD_MARKER_OTHER_PROTOCOL)) {
        if (!label && is_link_message(packet->recipe))
            return result;
        mark = settings->general;
        result.verdict = FLOWD_MARKER_MARKED;
    }
    if (result.verdict != FLOWD_MARKER_MARKED)
        return result;
    model_option(settings->encoding, mark, result.recipe.option);
    if (label)
        result.recipe.flow_label = mark->label;
    else
        result.verdict = mark_with_options(settings, packet, &result);
    return result;
}
