/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flows that a scrape shows, in a heap with the latest flow on top, which is the next one to
 * go. Adding a flow costs little whatever their number, so a scrape can look at many flows in small
 * steps.
 */
#include "selection.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/vector.h"

static bool is_later(const struct selected *one, const struct selected *other)
{
    if (one->start_us != other->start_us)
        return one->start_us > other->start_us;
    return one->id > other->id;
}

void selection_fini(struct selection *selection)
{
    free(selection->flows);
    selection->flows = NULL;
    selection->count = selection->capacity = 0;
}

/* Puts the flow into the place at index, which is free, or into one above it. */
static void sift_up(struct selection *selection, size_t index, const struct selected *flow)
{
    while (index > 0 && is_later(flow, &selection->flows[(index - 1) / 2])) {
        selection->flows[index] = selection->flows[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    selection->flows[index] = *flow;
}

/* Takes the latest flow off the heap. */
static void leave_out_latest(struct selection *selection)
{
    struct selected *flows = selection->flows;
    struct selected last = flows[--selection->count];
    size_t index = 0;

    selection->bound = selection->count > 0 ? flows[0] : last;
    selection->full = true;
    selection->series -= selection->bound.series;
    selection->left_out += selection->bound.series;
    for (size_t child = 1; child < selection->count; child = 2 * index + 1) {
        if (child + 1 < selection->count && is_later(&flows[child + 1], &flows[child]))
            child++;
        if (is_later(&last, &flows[child]))
            break;
        flows[index] = flows[child];
        index = child;
    }
    flows[index] = last;
}

int selection_add(struct selection *selection, const struct selected *flow)
{
    if (selection->full && is_later(flow, &selection->bound)) {
        selection->left_out += flow->series;
        return 0;
    }
    if (flowd_vector_reserve(&selection->flows, &selection->capacity, selection->count + 1) < 0)
        return -ENOMEM;
    sift_up(selection, selection->count++, flow);
    selection->series += flow->series;
    while (selection->series > selection->series_max)
        leave_out_latest(selection);
    return 0;
}
