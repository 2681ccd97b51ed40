/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growth of arrays: one function for pointers to whatever type, which it reads and writes as
 * pointers that may alias all of them.
 */
#include "daemon/base/vector.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* The first allocation, unless that is less than a few elements. */
#define BYTES_FIRST 256
#define COUNT_FIRST 4

typedef void *any_pointer __attribute__((may_alias));

static size_t first_capacity(size_t size)
{
    return size > BYTES_FIRST / COUNT_FIRST ? COUNT_FIRST : BYTES_FIRST / size;
}

int flowd_vector_grow(void *items, size_t *capacity, size_t count, size_t size)
{
    size_t larger = *capacity > 0 ? 2 * *capacity : first_capacity(size);
    any_pointer *place = items;
    void *array;

    if (larger < count)
        larger = count;
    /* No object is larger than that, and twice as much still is a size_t. */
    if (larger > PTRDIFF_MAX / size)
        return -ENOMEM;
    array = realloc(*place, larger * size);
    if (array == NULL)
        return -ENOMEM;
    *place = array;
    *capacity = larger;
    return 0;
}
