/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See table_maps.h.
 */
#include "lab/table_maps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <bpf/bpf.h>
#include <cmocka.h>
#include <unistd.h>

#include "table_bucket.h"

static int create(size_t value_size, uint32_t count, bool mapped)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = mapped ? BPF_F_MMAPABLE : 0);
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "test", sizeof(uint32_t), (uint32_t)value_size,
                            count, &options);

    assert_true(fd >= 0);
    return fd;
}

struct marker_table_maps table_maps_new(bool mapped, uint32_t entries_max, unsigned format)
{
    const struct marker_table_size size = marker_table_size(entries_max);

    return (struct marker_table_maps){
        .flows_fd = create(sizeof(struct flowd_marker_bucket), size.lines, mapped),
        .bitmap_fd = create(sizeof(uint64_t), size.buckets, mapped),
        .shared_fd = create(sizeof(struct flowd_marker_shared), 1, mapped),
        .entries_max = entries_max,
        .format = format,
        .without_mmap = !mapped,
    };
}

void table_maps_close(const struct marker_table_maps *maps)
{
    close(maps->flows_fd);
    close(maps->bitmap_fd);
    close(maps->shared_fd);
}

flowd_marker_value table_value(const struct marker_table *table, const struct marker_owner *owner)
{
    return flowd_marker_word_value(marker_word_at(table, marker_place_of(table, owner)));
}
