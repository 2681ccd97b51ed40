/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of age, made a little at a time: a merge sort whose runs are sorted as they fill, and
 * which are merged through a heap of their heads, one number for each call.
 */
#include "daemon/flow/age_order.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/vector.h"

#define RUN 4096

void flowd_age_order_fini(struct flowd_age_order *order)
{
    free(order->ages);
    free(order->heads);
    *order = (struct flowd_age_order){0};
}

static int by_time(const void *left, const void *right)
{
    const struct flowd_age *a = left, *b = right;

    return (a->time_us > b->time_us) - (a->time_us < b->time_us);
}

static void sort_last_run(struct flowd_age_order *order)
{
    size_t first = (order->count - 1) / RUN * RUN;

    qsort(order->ages + first, order->count - first, sizeof(*order->ages), by_time);
}

int flowd_age_order_add(struct flowd_age_order *order, uint32_t number, int64_t time_us)
{
    if (flowd_vector_reserve(&order->ages, &order->capacity, order->count + 1) < 0)
        return -ENOMEM;
    order->ages[order->count++] = (struct flowd_age){.time_us = time_us, .number = number};
    if (order->count % RUN == 0)
        sort_last_run(order);
    return 0;
}

static int64_t time_of(const struct flowd_age_order *order, size_t at)
{
    return order->ages[order->heads[at]].time_us;
}

static void sift_down(struct flowd_age_order *order, size_t at)
{
    for (;;) {
        size_t least = at;
        size_t head = order->heads[at];

        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < order->head_count; child++)
            if (time_of(order, child) < time_of(order, least))
                least = child;
        if (least == at)
            return;
        order->heads[at] = order->heads[least];
        order->heads[least] = head;
        at = least;
    }
}

int flowd_age_order_begin(struct flowd_age_order *order)
{
    size_t runs = (order->count + RUN - 1) / RUN;

    if (runs == 0)
        return 0;
    if (order->count % RUN != 0)
        sort_last_run(order);
    order->heads = calloc(runs, sizeof(*order->heads));
    if (order->heads == NULL)
        return -ENOMEM;
    order->head_count = runs;
    for (size_t i = 0; i < runs; i++)
        order->heads[i] = i * RUN;
    for (size_t i = runs / 2; i-- > 0;)
        sift_down(order, i);
    return 0;
}

bool flowd_age_order_take(struct flowd_age_order *order, uint32_t *number)
{
    size_t head;

    if (order->head_count == 0)
        return false;
    head = order->heads[0]++;
    *number = order->ages[head].number;
    if (order->heads[0] % RUN == 0 || order->heads[0] == order->count)
        order->heads[0] = order->heads[--order->head_count];
    sift_down(order, 0);
    return true;
}
