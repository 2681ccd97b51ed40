/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow keys, tags, ids and events as values: checked, hashed, compared, and turned into text and
 * back. Pure functions; nothing here knows of the table of flows.
 */
#include "daemon/flow/flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/integer.h"
#include "daemon/base/text.h"

const char *const flowd_event_state_names[FLOWD_EVENT_STATES] = {"start", "end", "ongoing"};

int flowd_flow_key_set_addresses(struct flowd_flow_key *key, const struct flowd_address *src,
                                 const struct flowd_address *dst)
{
    if (src->family != dst->family)
        return -EINVAL;
    key->family = src->family;
    key->src = src->addr;
    key->dst = dst->addr;
    return 0;
}

struct flowd_flow_key flowd_flow_key_reverse(const struct flowd_flow_key *key)
{
    struct flowd_flow_key reverse = *key;

    reverse.src = key->dst;
    reverse.dst = key->src;
    reverse.src_port = key->dst_port;
    reverse.dst_port = key->src_port;
    return reverse;
}

static int check_application(const struct flowd_event *event, struct flowd_error *err)
{
    if (event->application == NULL)
        return 0;
    if (event->application_length >= FLOWD_APPLICATION_SIZE)
        return flowd_fail_field(err, ERANGE, "application", "%zu bytes are more than %d",
                                event->application_length, FLOWD_APPLICATION_SIZE - 1);
    if (!flowd_text_is_utf8(event->application, event->application_length))
        return flowd_fail_field(err, EINVAL, "application", "not UTF-8");
    for (size_t i = 0; i < event->application_length; i++) {
        unsigned char byte = (unsigned char)event->application[i];

        /* U+0080 to U+009F are control characters too; in UTF-8 they begin with 0xc2. */
        if (byte < 0x20 || byte == 0x7f ||
            (byte == 0xc2 && (unsigned char)event->application[i + 1] < 0xa0))
            return flowd_fail_field(err, EINVAL, "application", "has a control character");
    }
    return 0;
}

/* IPv4 stands in the first four bytes, and equal addresses are equal bytes. */
static bool is_plain(const struct flowd_flow_key *key, const struct in6_addr *address)
{
    static const uint8_t zero[12];

    return key->family == AF_INET6 || memcmp(address->s6_addr + 4, zero, sizeof(zero)) == 0;
}

int flowd_event_check(const struct flowd_event *event, struct flowd_error *err)
{
    const struct flowd_flow_key *key = &event->key;

    if (key->family != AF_INET && key->family != AF_INET6)
        return flowd_fail(err, EINVAL, "family: neither IPv4 nor IPv6");
    if (!is_plain(key, &key->src) || !is_plain(key, &key->dst))
        return flowd_fail(err, EINVAL, "family: the addresses are longer than IPv4's");
    if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP)
        return flowd_fail_field(err, EINVAL, "protocol", "%u is neither tcp nor udp",
                                key->protocol);
    if (key->src_port == 0)
        return flowd_fail_field(err, ERANGE, "srcPort", "0 is not in 1-65535");
    if (key->dst_port == 0)
        return flowd_fail_field(err, ERANGE, "dstPort", "0 is not in 1-65535");
    if (event->experiment > FLOWD_EXPERIMENT_MAX)
        return flowd_fail_field(err, ERANGE, "experiment", "%u is not in 0-%d", event->experiment,
                                FLOWD_EXPERIMENT_MAX);
    if (event->activity > FLOWD_ACTIVITY_MAX)
        return flowd_fail_field(err, ERANGE, "activity", "%u is not in 0-%d", event->activity,
                                FLOWD_ACTIVITY_MAX);
    return check_application(event, err);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
}

uint64_t flowd_flow_key_hash(const struct flowd_flow_key *key, uint64_t seed)
{
    uint64_t words[sizeof(*key) / sizeof(uint64_t)];

    memcpy(words, key, sizeof(words));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        seed = mix(seed, words[i]);
    return mix(seed, sizeof(words));
}

uint32_t flowd_flow_label(uint16_t experiment, uint8_t activity, uint8_t entropy)
{
    uint32_t reversed = 0;

    for (unsigned bit = 0; bit < 9; bit++)
        reversed |= ((unsigned)experiment >> bit & 1u) << (8 - bit);
    return (uint32_t)(entropy >> 3 & 0x3) << 18 | reversed << 9 |
           (uint32_t)(entropy >> 2 & 0x1) << 8 | (uint32_t)activity << 2 | (entropy & 0x3u);
}

const char *flowd_protocol_name(uint8_t protocol)
{
    return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

/* Compares with a word of small letters, in any case. */
static bool is_word(const char *text, size_t len, const char *word)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] | 0x20) != word[i])
            return false;
    return word[len] == '\0';
}

int flowd_protocol_parse(const char *text, size_t len, uint8_t *protocol)
{
    if (is_word(text, len, "tcp"))
        *protocol = IPPROTO_TCP;
    else if (is_word(text, len, "udp"))
        *protocol = IPPROTO_UDP;
    else
        return -EINVAL;
    return 0;
}

int flowd_event_state_parse(const char *text, size_t len, enum flowd_event_state *state)
{
    for (int i = 0; i < FLOWD_EVENT_STATES; i++) {
        if (is_word(text, len, flowd_event_state_names[i])) {
            *state = (enum flowd_event_state)i;
            return 0;
        }
    }
    return -EINVAL;
}

void flowd_flow_id_format(uint64_t id, char buffer[static FLOWD_FLOW_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 15; i >= 0; i--) {
        buffer[i] = digits[id & 0xf];
        id >>= 4;
    }
    buffer[16] = '\0';
}

int flowd_flow_id_parse(const char *text, size_t len, uint64_t *id)
{
    uint64_t value = 0;

    if (len != FLOWD_FLOW_ID_SIZE - 1)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        unsigned digit;

        if (text[i] >= '0' && text[i] <= '9')
            digit = (unsigned)(text[i] - '0');
        else if (text[i] >= 'a' && text[i] <= 'f')
            digit = (unsigned)(text[i] - 'a') + 10;
        else
            return -EINVAL;
        value = value << 4 | digit;
    }
    *id = value;
    return 0;
}

void flowd_flow_key_format(const struct flowd_flow_key *key,
                           char buffer[static FLOWD_FLOW_KEY_TEXT_SIZE])
{
    struct sockaddr_storage end;
    char src[FLOWD_ENDPOINT_SIZE], dst[FLOWD_ENDPOINT_SIZE];

    flowd_endpoint_make(key->family, &key->src, key->src_port, &end);
    flowd_endpoint_format(&end, src);
    flowd_endpoint_make(key->family, &key->dst, key->dst_port, &end);
    flowd_endpoint_format(&end, dst);
    snprintf(buffer, FLOWD_FLOW_KEY_TEXT_SIZE, "%s %s > %s", flowd_protocol_name(key->protocol),
             src, dst);
}
