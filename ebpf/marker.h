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

#define FLOWD_MARKER_INLINE static inline __attribute__((always_inline))

#define FLOWD_MARKER_LAYOUT 4
/* The name of the flow map; at most 15 characters. */
#define FLOWD_MARKER_FLOWS flowd_flows_4

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
 * What a packet is found by, in the order of the packet's bytes (network byte order). The flow map
 * has no keys in it, but what the functions below compute from them.
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

_Static_assert(sizeof(struct flowd_marker_key) == 40, "no padding");
_Static_assert(__builtin_offsetof(struct flowd_marker_key, ports) == 16, "ports follow dst");
_Static_assert(__builtin_offsetof(struct flowd_marker_key, protocol) == 20, "then protocol");

/* The word of a key that has these ports, as they stand in the packet, and this protocol. */
FLOWD_MARKER_INLINE __u64 flowd_marker_transport(__u32 ports, __u8 protocol)
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
 * What is written of a mark, in 24 bits: the flow label, or the experiment and the activity behind
 * it. Their bytes, the most significant first, are those in the packet.
 */
typedef __u32 flowd_marker_value;
#define FLOWD_MARKER_VALUE_BITS 24

FLOWD_MARKER_INLINE int flowd_marker_writes_scitag(enum flowd_marker_strategy strategy,
                                                   enum flowd_marker_encoding encoding)
{
    return strategy != FLOWD_MARKER_LABEL && encoding == FLOWD_MARKER_SCITAGS;
}

FLOWD_MARKER_INLINE flowd_marker_value flowd_marker_value_of(const struct flowd_marker_mark *mark,
                                                             int scitag)
{
    return scitag ? (__u32)mark->experiment << 8 | mark->activity : mark->label;
}

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
FLOWD_MARKER_INLINE __u32 flowd_marker_counter(__u32 slot, __u32 verdict)
{
    return slot * FLOWD_MARKER_VERDICTS + verdict;
}

/*
 * The flow map is a hash table of flowd's own in an array that the daemon writes through a mapping,
 * without system calls, while programs on other processors read it.
 *
 * Buckets. One is a cache line with room for five flows. Where a bucket is full, its last member
 * says which line goes on with it. Lines below the number of buckets are buckets, others, from the
 * largest number of buckets on, are such continuations.
 *
 * Number of buckets. It follows the number of flows, so that what the programs read stays as small
 * as the flows allow, and changes by one at a time (linear hashing): bucket I is split into I and
 * I + 2^N, or the two are made one again. Programs read the number, with a count of changes, as one
 * word.
 *
 * Bitmap. One word of it stands for each bucket: a clear bit says that no flow of this bucket has
 * these six bits in its hash. Packets of no flow end here.
 *
 * Entries. There are no keys in the map, but three sums of each key with secret random seeds
 * (flowd_marker_sum). A hash of the first gives the bucket, and in it the bit. The upper 34 bits of
 * the second are in the entry's word, beside those 6 bits and the mark; the upper 32 bits of the
 * third are the entry's check. Seeds are chosen anew with each new map.
 *
 * A foreign packet. Whatever two different keys somebody chooses without knowing the seeds, the
 * upper 33 bits of a sum of theirs are equal with a probability of 2^-33 over the seeds, and the
 * sums are independent, as each has seeds of its own. So a packet of no flow is taken for one
 * flow of its bucket with a probability of at most 2^-33 x 2^-32, and with at most 8 flows a bucket
 * in the mean (FLOWD_MARKER_FILL_MAX) for any of them with one of at most 2^-62. The bitmap and its
 * six bits in the word, which are not counted here, leave less. Trying teaches nothing about the
 * seeds before it has succeeded.
 *
 * Changes. An entry's word is stored and read as one, and says itself, with the check, whose it is:
 * a reader never takes one flow's mark for another's, whatever he reads while the entry changes.
 * An entry that moves to another place is copied, then the count of changes is raised, then the
 * former place is cleared: a reader who found nothing, and sees that the count is another one than
 * before, looks again.
 */
#define FLOWD_MARKER_SLOTS 5
/* So many lines belong to a bucket at most; with these seeds it never comes to that. */
#define FLOWD_MARKER_CHAIN_MAX 12
/* Flows a bucket, in the mean: more than this make another bucket ... */
#define FLOWD_MARKER_FILL 3
/* ... until there are as many buckets as ever. Then it is this, when all flows are there. */
#define FLOWD_MARKER_FILL_MAX 8
#define FLOWD_MARKER_BUCKETS_MIN 64u

struct flowd_marker_bucket {
    __u64 words[FLOWD_MARKER_SLOTS];  /* bits of the sums, and the mark; 0: the slot is free */
    __u32 checks[FLOWD_MARKER_SLOTS]; /* the third sum's upper half */
    __u32 next;                       /* the line that goes on with this bucket; 0: none */
};
_Static_assert(sizeof(struct flowd_marker_bucket) == 64, "one cache line");

/* For a sum: one as such, then two for each pair of 32-bit words: dst, ports and protocol, src. */
#define FLOWD_MARKER_SEEDS 11
enum flowd_marker_sums {
    FLOWD_MARKER_SUM_HASH,
    FLOWD_MARKER_SUM_WORD,
    FLOWD_MARKER_SUM_CHECK,
    FLOWD_MARKER_SUMS,
};

/* What the marks and sums are of; maps with others can't be taken over. */
enum flowd_marker_format {
    FLOWD_MARKER_FORMAT_SET = 1,    /* the maps are in use */
    FLOWD_MARKER_FORMAT_SCITAG = 2, /* marks are experiment and activity, not labels */
    FLOWD_MARKER_FORMAT_SOURCE = 4, /* the sums have the source address in them */
};

/* What flowd writes and the programs read. */
struct flowd_marker_shared {
    __u64 geometry;                                     /* see flowd_marker_bucket_of() */
    __u64 seeds[FLOWD_MARKER_SUMS][FLOWD_MARKER_SEEDS]; /* never change */
    __u64 format;                                       /* enum flowd_marker_format */
    __u64 lines; /* those from this number on were never in use */
};

/*
 * Bits 0-31 of the geometry: the number of buckets. Bits 32-39: the order, so that the number is
 * above 2^(order - 1) and not above 2^order. Bits 40-63: the count of changes.
 */
#define FLOWD_MARKER_ORDER_SHIFT 32
#define FLOWD_MARKER_CHANGES_SHIFT 40

/* The number of the bucket, which is below that of the geometry. */
FLOWD_MARKER_INLINE __u32 flowd_marker_bucket_of(__u64 geometry, __u32 hash)
{
    __u32 buckets = (__u32)geometry;
    __u32 mask = (1u << (geometry >> FLOWD_MARKER_ORDER_SHIFT & 31)) - 1;
    __u32 at = hash & mask;
    /* All bits where it is one of the buckets, none where it is not yet. No jump: who would predict
     * it? */
    __u64 is_there = (__u64)(((__s64)at - (__s64)buckets) >> 63);

    return at & (mask >> 1 | (__u32)is_there);
}

/* The bit, in the bitmap's word for its bucket. */
FLOWD_MARKER_INLINE __u32 flowd_marker_bit(__u32 hash)
{
    return hash >> 26;
}

/*
 * A sum over the 32-bit words of a key: s0 + (s1 + x1)(s2 + x2) + (s3 + x3)(s4 + x4) + ... modulo
 * 2^64. Where two keys differ in a word, the difference of their sums is a multiple of that word's
 * partner, random and independent of all else, by a number that 2^32 does not divide: so their
 * upper 33 bits are as good as two random numbers (multilinear hashing; Lemire and Kaser, "Strongly
 * universal string hashing is fast", The Computer Journal 57, 2014).
 */
FLOWD_MARKER_INLINE __u64 flowd_marker_sum_pair(const __u64 *seeds, __u64 pair)
{
    return (seeds[0] + (__u32)pair) * (seeds[1] + (pair >> 32));
}

/* Of dst and ports as they stand in the packet. */
FLOWD_MARKER_INLINE __u64 flowd_marker_sum(const __u64 *seeds, __u64 dst0, __u64 dst1, __u32 ports,
                                           __u8 protocol)
{
    return seeds[0] + flowd_marker_sum_pair(seeds + 1, dst0) +
           flowd_marker_sum_pair(seeds + 3, dst1) +
           flowd_marker_sum_pair(seeds + 5, (__u64)protocol << 32 | ports);
}

/* What the source address adds to the sum. */
FLOWD_MARKER_INLINE __u64 flowd_marker_sum_source(const __u64 *seeds, __u64 src0, __u64 src1)
{
    return flowd_marker_sum_pair(seeds + 7, src0) + flowd_marker_sum_pair(seeds + 9, src1);
}

FLOWD_MARKER_INLINE __u32 flowd_marker_sum_upper(__u64 sum)
{
    return (__u32)(sum >> 32);
}

/*
 * The hash of a sum. Sums of neighbours (in ports or addresses) lie at equal distances; the fold,
 * and one more multiplication, spread them as if by chance. It is a sum like the others because a
 * product of 64 bits by 64 has no more upper bits than the address: all addresses that differ in
 * their 8th and 16th byte only would have 256 hashes.
 */
FLOWD_MARKER_INLINE __u32 flowd_marker_hash(__u64 sum)
{
    sum ^= sum >> 32;
    return flowd_marker_sum_upper(sum * 0xc2b2ae3d27d4eb4full);
}

/* The bits of a word that are not the mark; never all of them 0. */
FLOWD_MARKER_INLINE __u64 flowd_marker_word_tag(__u32 hash, __u64 sum)
{
    __u64 tag = (__u64)flowd_marker_bit(hash) << 58 | sum >> 30 << FLOWD_MARKER_VALUE_BITS;

    return tag ? tag : 1ull << FLOWD_MARKER_VALUE_BITS;
}

FLOWD_MARKER_INLINE flowd_marker_value flowd_marker_word_value(__u64 word)
{
    return word & ((1u << FLOWD_MARKER_VALUE_BITS) - 1);
}

/* Spreads the two halves of an address over a word. */
FLOWD_MARKER_INLINE __u64 flowd_marker_spread(__u64 high, __u64 low)
{
    return high * 0x9e3779b97f4a7c15ull + low * 0xd6e8feb86659fd93ull;
}

/*
 * A number for an address, or an address with ports, that is the same on every host and after every
 * start: it tells general marks from each other.
 */
FLOWD_MARKER_INLINE __u32 flowd_marker_entropy(__u64 dst_high, __u64 dst_low, __u32 ports,
                                               __u8 protocol)
{
    __u64 h = flowd_marker_spread(dst_high, dst_low);

    h ^= h >> 32;
    h += (__u64)protocol << 32 | ports;
    return flowd_marker_sum_upper(h * 0xc2b2ae3d27d4eb4full);
}
