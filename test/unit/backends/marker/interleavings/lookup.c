/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ebpf/marker_table.bpf.h, compiled for this machine: native/ has what it includes.
 */
#include "ebpf/marker.h"

/* It is no static function in the program. */
__u64 marker_look(__u32 hash, __u64 tag, __u32 check);
#include "ebpf/marker_table.bpf.h"

#include "lookup.h"

/* As marker_look_up() in marker.bpf.c, which computes the hash after it has read the geometry. */
uint64_t lookup(const struct flowd_marker_key *key, uint32_t hash)
{
    __u64 geometry = marker_geometry();
    __u32 at;

    return marker_may_be_known(hash, geometry, &at) ? marker_find(key, hash, geometry, at) : 0;
}
