/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores are taken for seen in the order in which they are made, so each has to be a store-release.
 * A system call stores each part that it changes by itself; see record_order.
 */
#include "record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct record recorded;

void record_reset(bool by_calls, enum record_order order)
{
    memset(&recorded, 0, sizeof(recorded));
    recorded.by_calls = by_calls;
    recorded.order = order;
}

void record_begin(void)
{
    recorded.before = recorded.maps;
    recorded.count = 0;
    recorded.on = true;
}

void record_end(void)
{
    struct record_maps replayed = recorded.before;

    recorded.on = false;
    for (uint32_t i = 0; i < recorded.count; i++)
        memcpy((char *)&replayed + recorded.stores[i].at, &recorded.stores[i].value,
               recorded.stores[i].size);
    assert_memory_equal(&replayed, &recorded.maps, sizeof(replayed));
}

static void store(size_t at, const void *bytes, size_t size)
{
    struct record_store *next = &recorded.stores[recorded.count];

    memcpy((char *)&recorded.maps + at, bytes, size);
    if (!recorded.on)
        return;
    assert_true(recorded.count < RECORD_STORES);
    *next = (struct record_store){.at = (uint32_t)at, .size = (uint32_t)size};
    memcpy(&next->value, bytes, size);
    recorded.count++;
}

void record_atomic_store(void *at, uint64_t value, size_t size, int order)
{
    const uint32_t half = (uint32_t)value;
    const void *bytes = size == sizeof(half) ? (const void *)&half : &value;
    uintptr_t begin = (uintptr_t)&recorded.maps;

    assert_int_equal(order, __ATOMIC_RELEASE);
    assert_true(size == sizeof(half) || size == sizeof(value));
    if ((uintptr_t)at >= begin && (uintptr_t)at < begin + sizeof(recorded.maps))
        store((uintptr_t)at - begin, bytes, size);
    else
        memcpy(at, bytes, size); /* a copy that a system call writes */
}

static void *map_of(int fd)
{
    if (fd == RECORD_SHARED_FD)
        return &recorded.maps.shared;
    return fd == RECORD_BITMAP_FD ? (void *)recorded.maps.bitmap : (void *)recorded.maps.lines;
}

static size_t element_size(const void *map)
{
    if (map == &recorded.maps.shared)
        return sizeof(recorded.maps.shared);
    return map == recorded.maps.bitmap ? sizeof(recorded.maps.bitmap[0])
                                       : sizeof(recorded.maps.lines[0]);
}

const void *record_element(const void *map, uint32_t at)
{
    uint32_t count = map == recorded.maps.bitmap ? RECORD_BUCKETS : RECORD_LINES;

    return at < count ? (const char *)map + at * element_size(map) : NULL;
}

void *record_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    size_t room = fd == RECORD_SHARED_FD   ? sizeof(recorded.maps.shared)
                  : fd == RECORD_BITMAP_FD ? sizeof(recorded.maps.bitmap)
                                           : sizeof(recorded.maps.lines);

    (void)at;
    (void)protection;
    (void)flags;
    (void)offset;
    assert_true(size <= room);
    return map_of(fd);
}

int record_munmap(void *at, size_t size)
{
    (void)at;
    (void)size;
    return 0;
}

ssize_t record_getrandom(void *bytes, size_t size, unsigned flags)
{
    static uint64_t state = 88172645463325252u;

    (void)flags;
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((uint8_t *)bytes)[i] = (uint8_t)(state >> 32);
    }
    return (ssize_t)size;
}

int record_lookup(int fd, const void *key, void *value)
{
    const void *map = map_of(fd);

    memcpy(value, (const char *)map + *(const uint32_t *)key * element_size(map),
           element_size(map));
    return 0;
}

/* What is copied as one: the number of a line or of buckets, or a byte. */
static size_t unit_at(int fd, size_t within)
{
    bool is_number =
        fd == RECORD_SHARED_FD ||
        (fd == RECORD_FLOWS_FD && within == offsetof(struct flowd_marker_bucket, next));

    return is_number ? sizeof(uint32_t) : 1;
}

int record_update(int fd, const void *key, const void *value, __u64 flags)
{
    char *map = map_of(fd);
    size_t size = element_size(map);
    size_t at = (size_t)(map - (char *)&recorded.maps) + *(const uint32_t *)key * size;
    size_t units[sizeof(struct flowd_marker_shared)];
    size_t count = 0;

    (void)flags;
    assert_true(recorded.by_calls && size <= sizeof(units));
    for (size_t within = 0; within < size; within += unit_at(fd, within))
        units[count++] = within;
    for (size_t i = 0; i < count; i++) {
        size_t within = units[recorded.order == RECORD_UPWARDS ? i : count - 1 - i];
        const char *bytes = (const char *)value + within;

        if (memcmp((const char *)&recorded.maps + at + within, bytes, unit_at(fd, within)) != 0)
            store(at + within, bytes, unit_at(fd, within));
    }
    return 0;
}
