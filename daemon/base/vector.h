/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing arrays. An array is a pointer, how many elements it has room for, and a count that its
 * owner keeps: all three lie in the owner's struct under names of its own, zero-initialised is an
 * array without elements, and free() is its end.
 */
#pragma once

#include <stddef.h>

/*
 * Makes room for count elements in all in *items, which moves where there was none; twice as many
 * as before, so that adding one by one costs little. What is beyond the old elements is not set.
 * Returns 0, or -ENOMEM with nothing changed.
 *
 *     if (flowd_vector_reserve(&list->items, &list->capacity, list->count + 1) < 0)
 *         return -ENOMEM;
 *     list->items[list->count++] = item;
 */
#define flowd_vector_reserve(items, capacity, count)                                               \
    flowd_vector_reserve_bytes(items, capacity, count, sizeof(**(items)))

/* What the macro is made of; items is the address of the pointer, size that of an element. */
int flowd_vector_grow(void *items, size_t *capacity, size_t count, size_t size);

static inline int flowd_vector_reserve_bytes(void *items, size_t *capacity, size_t count,
                                             size_t size)
{
    return count <= *capacity ? 0 : flowd_vector_grow(items, capacity, count, size);
}
