/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of numeric addresses in text form. What it takes for one is what inet_pton(3) takes:
 * no names, no octal or short IPv4 forms, no prefix lengths. It does so by hand and in one pass,
 * because each event brings two addresses and inet_pton() wants copies of them.
 */
#include <errno.h>
#include <string.h>

#include "daemon/net/address.h"

#define V6_WORDS 8
#define NO_GAP (V6_WORDS + 1)
#define WORD_DIGITS 4

/* One more than the value of a hexadecimal digit; 0: it is none. */
static const uint8_t hex_digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* IPv6 while it is read. */
struct v6 {
    uint16_t words[V6_WORDS];
    unsigned count;
    unsigned gap; /* how many of them stand before "::"; NO_GAP: it has none */
};

/* Four numbers without leading zeros. Returns where they end; NULL: this is something else. */
static const char *read_v4(const char *at, const char *end, uint8_t bytes[static 4])
{
    for (int i = 0; i < 4; i++) {
        const char *begin;
        unsigned value = 0;

        if (i > 0) {
            if (at == end || *at != '.')
                return NULL;
            at++;
        }
        begin = at;
        while (at < end && *at >= '0' && *at <= '9' && value <= UINT8_MAX)
            value = value * 10 + (unsigned)(*at++ - '0');
        if (at == begin || value > UINT8_MAX || (*begin == '0' && at - begin > 1))
            return NULL;
        bytes[i] = (uint8_t)value;
    }
    return at;
}

/* IPv6 whose last words are in the form of IPv4. */
static const char *read_dotted_end(struct v6 *v6, const char *at, const char *end)
{
    uint8_t bytes[4];

    at = v6->count <= V6_WORDS - 2 ? read_v4(at, end, bytes) : NULL;
    if (at == NULL)
        return NULL;
    v6->words[v6->count++] = (uint16_t)(bytes[0] << 8 | bytes[1]);
    v6->words[v6->count++] = (uint16_t)(bytes[2] << 8 | bytes[3]);
    return at;
}

/* Reads as many words as there are. Returns where they end; NULL: this is something else. */
static const char *read_words(struct v6 *v6, const char *at, const char *end)
{
    if (end - at >= 2 && at[0] == ':' && at[1] == ':') {
        v6->gap = 0;
        at += 2;
    }
    for (;;) {
        const char *begin = at;
        unsigned word = 0, digit;

        while (at < end && (digit = hex_digits[(unsigned char)*at]) != 0) {
            word = word << 4 | (digit - 1);
            at++;
        }
        if (at == begin)
            return v6->count == v6->gap ? at : NULL; /* the text may end with "::" */
        if (at < end && *at == '.')
            return read_dotted_end(v6, begin, end);
        if (at - begin > WORD_DIGITS || v6->count == V6_WORDS)
            return NULL;
        v6->words[v6->count++] = (uint16_t)word;
        if (at == end || *at != ':')
            return at;
        at++;
        if (at == end || *at != ':')
            continue;
        if (v6->gap != NO_GAP)
            return NULL;
        v6->gap = v6->count;
        at++;
    }
}

/* The address of what was read: the words behind the gap are its last ones. */
static void put_words(const struct v6 *v6, struct in6_addr *addr)
{
    unsigned before = v6->gap == NO_GAP ? v6->count : v6->gap;

    *addr = (struct in6_addr){0};
    for (unsigned i = 0; i < v6->count; i++) {
        unsigned place = i < before ? i : V6_WORDS - v6->count + i;

        addr->s6_addr[2 * place] = (uint8_t)(v6->words[i] >> 8);
        addr->s6_addr[2 * place + 1] = (uint8_t)v6->words[i];
    }
}

static const char *read_v6(const char *text, const char *end, struct flowd_address *out)
{
    struct flowd_address address = {.family = AF_INET6};
    struct v6 v6 = {.gap = NO_GAP};
    const char *at = read_words(&v6, text, end);

    /* A gap stands for one word at least. */
    if (at == NULL || (v6.count == V6_WORDS) != (v6.gap == NO_GAP))
        return NULL;
    put_words(&v6, &address.addr);
    if (IN6_IS_ADDR_V4MAPPED(&address.addr)) {
        memmove(&address.addr, &address.addr.s6_addr[12], 4);
        memset(&address.addr.s6_addr[4], 0, 12);
        address.family = AF_INET;
    }
    *out = address;
    return at;
}

static bool is_dotted(const char *text, const char *end)
{
    while (text < end && *text >= '0' && *text <= '9')
        text++;
    return text < end && *text == '.';
}

const char *flowd_address_read(const char *text, const char *end, struct flowd_address *out)
{
    struct flowd_address v4 = {.family = AF_INET};

    if (!is_dotted(text, end))
        return read_v6(text, end, out);
    text = read_v4(text, end, v4.addr.s6_addr);
    if (text != NULL)
        *out = v4;
    return text;
}

int flowd_address_parse(const char *text, size_t len, struct flowd_address *out)
{
    struct flowd_address address;
    const char *end = text + len;
    const char *at = flowd_address_read(text, end, &address);

    if (at == NULL)
        return -EINVAL;
    /* A zone, which is dropped. IPv4 has none. */
    if (at < end && (*at != '%' || at + 1 == end || is_dotted(text, end)))
        return -EINVAL;
    *out = address;
    return 0;
}
