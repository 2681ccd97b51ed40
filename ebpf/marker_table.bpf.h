/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Looking a packet's flow up in the flow map, which marker.h describes.
 *
 * What flowd writes while this reads is harmless as it stands there. It takes that a later look at
 * the geometry sees what was written before whatever was read of buckets and bitmap. Processors
 * that do loads in another order than the program's (arm64) keep one: a load whose address depends
 * on what another one read comes after it. The first load of the geometry is before all others by
 * that, as buckets are found by it, and the second after them because marker_has_changed() adds
 * nothing, computed from what was read, to the address.
 *
 * Without CAP_PERFMON the verifier, which knows that it is nothing, has a number of its own added:
 * on such a processor a flow's packet may then leave unmarked in the moment in which its bucket
 * changes. With one that it does not know, Linux 6.1 does not come to an end of the program.
 */
#pragma once

#include "ebpf/marker_load.bpf.h"
#include "ebpf/marker_maps.bpf.h"

/* No word: those have more bits than a value. */
#define MARKER_AGAIN 1

static __always_inline __u64 marker_geometry(void)
{
    return MARKER_LOAD(marker_shared.geometry);
}

/*
 * Adds to what was read. The compiler has to do it here: behind a comparison it would know what the
 * value is, and have the address depend on that number in place of the load.
 */
static __always_inline void marker_note(__u64 *read, __u64 value)
{
    *read |= value;
    barrier_var(*read);
}

/* Whether anything has moved since geometry was read; read is all that was read since. */
static __always_inline int marker_has_changed(__u64 geometry, __u64 read)
{
    const char *at = (const char *)&marker_shared.geometry + marker_nothing_of(read);

    return MARKER_LOAD(*(const __u64 *)at) != geometry;
}

static __always_inline __u64 marker_sum(enum flowd_marker_sums which,
                                        const struct flowd_marker_key *key, int with_source)
{
    const __u64 *seeds = marker_shared.seeds[which];
    __u64 sum = flowd_marker_sum(seeds, key->dst[0], key->dst[1], key->ports, key->protocol);

    return with_source ? sum + flowd_marker_sum_source(seeds, key->src[0], key->src[1]) : sum;
}

/* The word of the entry with this tag and check in one line, else 0. */
static __always_inline __u64 marker_scan(const struct flowd_marker_bucket *line, __u64 tag,
                                         __u32 check, __u64 *read)
{
    __u64 seen = 0;

#pragma unroll
    for (int i = 0; i < FLOWD_MARKER_SLOTS; i++) {
        __u64 word = MARKER_LOAD(line->words[i]);

        if ((word ^ tag) >> FLOWD_MARKER_VALUE_BITS == 0) {
            __u32 own = MARKER_LOAD(line->checks[i]);

            if (own == check)
                return word;
            /* It may be that of an entry which took the slot after this one's moved. */
            seen |= own;
        }
        seen |= word;
    }
    *read |= seen;
    return 0;
}

/*
 * The same without a jump for each slot, of which a verifier would have to look at each way through
 * all lines.
 */
static __always_inline __u64 marker_scan_evenly(const struct flowd_marker_bucket *line, __u64 tag,
                                                __u32 check, __u64 *read)
{
    __u64 none = ~0ull;
    __u64 found = 0;
    __u64 seen;

#pragma unroll
    for (int i = 0; i < FLOWD_MARKER_SLOTS; i++) {
        __u64 word = MARKER_LOAD(line->words[i]);
        __u64 differs = (word ^ tag) >> FLOWD_MARKER_VALUE_BITS;

        differs |= MARKER_LOAD(line->checks[i]) ^ check;
        /* All bits where there was no difference, and none was found before; else 0. */
        differs = (__u64)((__s64)(differs - 1) >> 63) & none;
        barrier_var(differs);
        found |= word & differs;
        none &= ~differs;
    }
    seen = found;
    /* Where nothing was found the compiler would know it, and that nothing comes of this. */
    barrier_var(seen);
    *read |= seen;
    return found;
}

/*
 * One look at all lines of a bucket: the word, 0 if it is not there, or MARKER_AGAIN. Where lines
 * are written by system calls, which store a word byte by byte, a word counts if it is the same
 * after its check was read. The function is a global one because a verifier looks at those once and
 * not for each call, and has no loop because one that looks at what a processor might do by mistake
 * takes any for an endless one.
 */
__noinline __u64 marker_look(__u32 hash, __u64 tag, __u32 check)
{
    __u64 geometry = marker_geometry();
    __u32 at = flowd_marker_bucket_of(geometry, hash);
    __u64 read = 0;

#pragma unroll
    for (int i = 0; i < FLOWD_MARKER_CHAIN_MAX; i++) {
        const struct flowd_marker_bucket *line = bpf_map_lookup_elem(&FLOWD_MARKER_FLOWS, &at);
        __u64 found;

        if (!line)
            break;
        found = marker_scan_evenly(line, tag, check, &read);
        if (marker_written_by_calls && marker_scan_evenly(line, tag, check, &read) != found)
            return MARKER_AGAIN;
        if (found)
            return found;
        at = MARKER_LOAD(line->next);
        marker_note(&read, at);
        if (at == 0)
            break;
    }
    return marker_has_changed(geometry, read) ? MARKER_AGAIN : 0;
}

/*
 * All looks that the first one at the bucket's own line did not settle. A change during each of
 * them would have to be of this flow's own bucket each time. No loop: a verifier that looks at what
 * a processor might do by mistake takes it for an endless one.
 */
static __always_inline __u64 marker_look_again(__u32 hash, __u64 tag, __u32 check)
{
    __u64 found = marker_look(hash, tag, check);

    if (found == MARKER_AGAIN)
        found = marker_look(hash, tag, check);
    if (found == MARKER_AGAIN)
        found = marker_look(hash, tag, check);
    if (found == MARKER_AGAIN)
        found = marker_look(hash, tag, check);
    return found == MARKER_AGAIN ? 0 : found;
}

/*
 * Whether the packet with this hash may be of a flow: all that most packets of no flow need. *at is
 * the bucket.
 */
static __always_inline int marker_may_be_known(__u32 hash, __u64 geometry, __u32 *at)
{
    const __u64 *bits;
    __u64 word;

    *at = flowd_marker_bucket_of(geometry, hash);
    bits = bpf_map_lookup_elem(&flowd_bitmap, at);
    if (!bits)
        return 0;
    word = MARKER_LOAD(*bits);
    return word >> flowd_marker_bit(hash) & 1 || marker_has_changed(geometry, word);
}

/* The word of the flow's entry, 0: it is no flow's. at and geometry are of the same hash. */
static __always_inline __u64 marker_find(const struct flowd_marker_key *key, __u32 hash,
                                         __u64 geometry, __u32 at)
{
    __u64 tag =
        flowd_marker_word_tag(hash, marker_sum(FLOWD_MARKER_SUM_WORD, key, marker_match_source));
    __u32 check =
        flowd_marker_sum_upper(marker_sum(FLOWD_MARKER_SUM_CHECK, key, marker_match_source));
    const struct flowd_marker_bucket *line = bpf_map_lookup_elem(&FLOWD_MARKER_FLOWS, &at);
    __u64 read = 0;
    __u64 found;
    __u32 next;

    if (!line)
        return 0;
    if (marker_written_by_calls)
        return marker_look_again(hash, tag, check);
    found = marker_scan(line, tag, check, &read);
    if (found)
        return found;
    next = MARKER_LOAD(line->next);
    marker_note(&read, next);
    if (next == 0 && !marker_has_changed(geometry, read))
        return 0;
    return marker_look_again(hash, tag, check);
}
