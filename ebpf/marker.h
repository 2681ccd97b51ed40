/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the marker program and flowd share: the layout of the maps and the hash.
 *
 * Both sides compile this file, so it uses the kernel's fixed-width types only and includes nothing
 * but <linux/types.h>. Whoever changes a layout or the hash raises FLOWD_MARKER_LAYOUT, which is
 * part of the flow map's name: pinned maps of another layout are then replaced, not adopted.
 */
#pragma once

#include <linux/types.h>

#define FLOWD_MARKER_LAYOUT 3
/* The name of the flow map; at most 15 characters. */
#define FLOWD_MARKER_FLOWS flowd_flows_3

/* Where the mark is written: the two bits are the two extension headers, 0 is the flow label. */
enum flowd_marker_strategy {
    FLOWD_MARKER_LABEL = 0,
    FLOWD_MARKER_HOP_BY_HOP = 1,
    FLOWD_MARKER_DESTINATION = 2,
    FLOWD_MARKER_HOP_BY_HOP_DESTINATION = 3,
};

/* The bytes of the option in an extension header, after its first two: next header and length 0. */
enum flowd_marker_encoding {
    /* Type 0x1e, length 3: experiment (network byte order), activity; then Pad1. */
    FLOWD_MARKER_SCITAGS,
    /* Type 0x1f, length 4: the flow label in three bytes, most significant first, and a zero. */
    FLOWD_MARKER_2024,
};
#define FLOWD_MARKER_OPTION_SCITAGS 0x1e
#define FLOWD_MARKER_OPTION_2024 0x1f
/* Bytes that one extension header adds to a packet. */
#define FLOWD_MARKER_HEADER_SIZE 8u
#define FLOWD_MARKER_ADDED_MAX (2 * FLOWD_MARKER_HEADER_SIZE) /* by any strategy */

/*
 * The key of the flow map, in the order of the packet's bytes (network byte order). The source
 * address comes last: a map that does not look at it has the shorter key.
 */
struct flowd_marker_key {
    __u64 dst[2];
    union {
        struct {
            union {
                struct {
                    __u16 sport_be;
                    __u16 dport_be;
                };
                __u32 ports; /* both, as they stand in the packet */
            };
            __u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
            __u8 zero[3];
        };
        __u64 transport; /* all of that: see flowd_marker_transport() */
    };
    __u64 src[2]; /* 0 where it is not looked at */
};
#define FLOWD_MARKER_KEY_SIZE 24
#define FLOWD_MARKER_KEY_SOURCE_SIZE 40

_Static_assert(sizeof(struct flowd_marker_key) == FLOWD_MARKER_KEY_SOURCE_SIZE, "no padding");
_Static_assert(__builtin_offsetof(struct flowd_marker_key, ports) == 16, "ports follow dst");
_Static_assert(__builtin_offsetof(struct flowd_marker_key, protocol) == 20, "then protocol");
_Static_assert(__builtin_offsetof(struct flowd_marker_key, src) == FLOWD_MARKER_KEY_SIZE,
               "the short key ends before src");

/* The word of a key that has these ports, as they stand in the packet, and this protocol. */
static inline __attribute__((always_inline)) __u64 flowd_marker_transport(__u32 ports,
                                                                          __u8 protocol)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (__u64)protocol << 32 | ports;
#else
    return (__u64)ports << 32 | (__u64)protocol << 24;
#endif
}

/* What a packet is marked with. */
struct flowd_marker_mark {
    __u32 label;      /* host byte order, 20 bits */
    __u16 experiment; /* host byte order */
    __u8 activity;
    __u8 zero;
};

/*
 * The value of a map of marks: a mark, and 20 bits that are computed from the key, in one word. The
 * kernel uses the memory of a deleted entry again at once, so a program that has found an entry may
 * read what another key's became: the word is read as one, and its 20 bits tell.
 */
typedef __u64 flowd_marker_word;
#define FLOWD_MARKER_LABEL_BITS 20
#define FLOWD_MARKER_ACTIVITY_BITS 8
#define FLOWD_MARKER_EXPERIMENT_BITS 16
#define FLOWD_MARKER_CHECK_BITS 20
_Static_assert(FLOWD_MARKER_LABEL_BITS + FLOWD_MARKER_ACTIVITY_BITS + FLOWD_MARKER_EXPERIMENT_BITS +
                       FLOWD_MARKER_CHECK_BITS ==
                   64,
               "one word");

/* What became of a packet. Each packet that the program sees is counted as one of these. */
enum flowd_marker_verdict {
    FLOWD_MARKER_MARKED,         /* it bears its mark, also if it came with it */
    FLOWD_MARKER_NO_FLOW,        /* TCP or UDP over IPv6, of no flow */
    FLOWD_MARKER_NOT_IPV6,       /* another ethertype */
    FLOWD_MARKER_OTHER_PROTOCOL, /* IPv6, and nothing that is marked */
    FLOWD_MARKER_FRAGMENT,       /* a fragment that can't be marked */
    FLOWD_MARKER_TRUNCATED,      /* the headers go on past the packet's end */
    FLOWD_MARKER_TOO_DEEP,       /* more VLAN tags or extension headers than are walked */
    FLOWD_MARKER_ERROR,          /* the kernel refused the change */
    /* A flow's packet that an extension header can't be added to: */
    FLOWD_MARKER_MTU,     /* it would be too long for the link, the path or its length field */
    FLOWD_MARKER_OPTIONS, /* it has such a header of its own, or an authentication header */
    FLOWD_MARKER_VLAN,    /* it has a VLAN tag in band */
    FLOWD_MARKER_VERDICTS,
};

/* What user space sums up of one slot of the counter map. */
struct flowd_marker_counters {
    __u64 packets[FLOWD_MARKER_VERDICTS];
};

/*
 * The counter map's slots: one for each interface, found by its index modulo the number of slots,
 * and behind them one for what is not counted by interface (FLOWD_MARKER_NO_FLOW).
 */
#define FLOWD_MARKER_INTERFACE_SLOTS 256u
#define FLOWD_MARKER_SHARED_SLOT FLOWD_MARKER_INTERFACE_SLOTS
#define FLOWD_MARKER_COUNTER_SLOTS (FLOWD_MARKER_INTERFACE_SLOTS + 1u)
#define FLOWD_MARKER_COUNTER_ENTRIES (FLOWD_MARKER_COUNTER_SLOTS * FLOWD_MARKER_VERDICTS)

/*
 * The number of a counter. Each is an entry of its own: a program that picks one within an entry
 * needs CAP_PERFMON.
 */
static inline __attribute__((always_inline)) __u32 flowd_marker_counter(__u32 slot, __u32 verdict)
{
    return slot * FLOWD_MARKER_VERDICTS + verdict;
}

#define FLOWD_MARKER_BITMAP_ORDER 22
#define FLOWD_MARKER_BITMAP_BITS (1u << FLOWD_MARKER_BITMAP_ORDER)
#define FLOWD_MARKER_BITMAP_WORDS (FLOWD_MARKER_BITMAP_BITS / 64u)
#define FLOWD_MARKER_RECENT_ORDER 10
#define FLOWD_MARKER_RECENT_SLOTS (1u << FLOWD_MARKER_RECENT_ORDER)

/* What flowd writes and the programs read, through a mapping. */
struct flowd_marker_shared {
    /* A clear bit says that no key with this hash is in the flow map. */
    __u64 bitmap[FLOWD_MARKER_BITMAP_WORDS];
    /*
     * One for each slot of the marks that a CPU remembers. It is another one whenever an entry of
     * the flow map with such a hash was written or deleted: what was remembered before is void.
     */
    __u32 generations[FLOWD_MARKER_RECENT_SLOTS];
};

/* Spreads the two halves of an address over a word. */
static inline __attribute__((always_inline)) __u64 flowd_marker_spread(__u64 high, __u64 low)
{
    return high * 0x9e3779b97f4a7c15ull + low * 0xd6e8feb86659fd93ull;
}

/*
 * The hash of a key without its source address. dst_high, dst_low and ports are read from the
 * packet's bytes as they stand. The first two multiplications are independent of each other and
 * spread the address; what differs between neighbours (its last bytes, which are the high ones
 * here) comes down by the fold, so that the last multiplication carries it and the ports, and runs
 * of either, into the high half.
 */
static inline __attribute__((always_inline)) __u32 flowd_marker_hash(__u64 dst_high, __u64 dst_low,
                                                                     __u32 ports, __u8 protocol)
{
    __u64 h = flowd_marker_spread(dst_high, dst_low);

    h ^= h >> 32;
    h += (__u64)protocol << 32 | ports;
    h *= 0xc2b2ae3d27d4eb4full;
    return (__u32)(h >> 32);
}

static inline __attribute__((always_inline)) __u32
flowd_marker_key_hash(const struct flowd_marker_key *key)
{
    return flowd_marker_hash(key->dst[0], key->dst[1], key->ports, key->protocol);
}

/* The number of the bit that stands for a hash. */
static inline __attribute__((always_inline)) __u32 flowd_marker_bit(__u32 hash)
{
    return hash >> (32 - FLOWD_MARKER_BITMAP_ORDER);
}

/* The number of the slot in which a key with this hash is remembered. */
static inline __attribute__((always_inline)) __u32 flowd_marker_recent_slot(__u32 hash)
{
    return hash >> (32 - FLOWD_MARKER_RECENT_ORDER);
}

/* The 20 bits of what has this hash and this source address (0: it does not count). */
static inline __attribute__((always_inline)) __u32 flowd_marker_check(__u32 hash, __u64 src_high,
                                                                      __u64 src_low)
{
    /* The last bytes of an address are the high ones here, and reach the highest bits only. */
    __u64 source = flowd_marker_spread(src_high, src_low) >> (64 - FLOWD_MARKER_CHECK_BITS);

    return (hash & ((1u << FLOWD_MARKER_CHECK_BITS) - 1)) ^ (__u32)source;
}

static inline __attribute__((always_inline)) flowd_marker_word
flowd_marker_word_make(const struct flowd_marker_mark *mark, __u32 check)
{
    __u64 word = check;

    word = word << FLOWD_MARKER_EXPERIMENT_BITS | mark->experiment;
    word = word << FLOWD_MARKER_ACTIVITY_BITS | mark->activity;
    return word << FLOWD_MARKER_LABEL_BITS | mark->label;
}

static inline __attribute__((always_inline)) __u32 flowd_marker_word_check(flowd_marker_word word)
{
    return (__u32)(word >> (64 - FLOWD_MARKER_CHECK_BITS));
}

static inline __attribute__((always_inline)) struct flowd_marker_mark
flowd_marker_word_mark(flowd_marker_word word)
{
    struct flowd_marker_mark mark = {
        .label = word & ((1u << FLOWD_MARKER_LABEL_BITS) - 1),
        .activity = (__u8)(word >> FLOWD_MARKER_LABEL_BITS),
        .experiment = (__u16)(word >> (FLOWD_MARKER_LABEL_BITS + FLOWD_MARKER_ACTIVITY_BITS)),
    };

    return mark;
}
