/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the number of each row out of a struct and writes it as the sink wants it: as a member of a
 * JSON object, which may be nested, or as a sample of the row's metric.
 */
#include "daemon/metrics/counter.h"

#include <assert.h>
#include <string.h>

#define US_DECIMALS 6
#define US_PER_MS 1000

/* The labels that all rows of a call have, and those of a row. */
#define LABELS_MAX (2 * 2 * FLOWD_COUNTER_LABELS_MAX)

static uint64_t number_of(const struct flowd_counter *row, const void *values)
{
    const char *at = (const char *)values + row->offset;
    uint32_t narrow;
    uint64_t wide;

    if (row->size == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    assert(row->size == sizeof(wide));
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

/* The object that the last part of key is a member of, made where it is not there. */
static json_t *parent_of(json_t *object, const char **key)
{
    const char *dot;

    while ((dot = strchr(*key, '.')) != NULL) {
        size_t length = (size_t)(dot - *key);
        json_t *inner = json_object_getn(object, *key, length);

        if (inner == NULL) {
            inner = json_object();
            json_object_setn_new(object, *key, length, inner);
        }
        object = inner;
        *key = dot + 1;
    }
    return object;
}

static void put_status(json_t *object, const struct flowd_counter *row, uint64_t number)
{
    const char *key = row->key;
    json_t *parent = parent_of(object, &key);

    json_object_set_new(parent, key,
                        row->is_time ? json_real((double)number / US_PER_MS)
                                     : json_integer((json_int_t)number));
}

static size_t add_labels(const char **out, size_t count, const char *const *labels)
{
    for (size_t i = 0; labels != NULL && labels[i] != NULL; i++) {
        assert(count < LABELS_MAX);
        out[count++] = labels[i];
    }
    return count;
}

static void put_metric(struct flowd_metrics *metrics, const struct flowd_counter *row,
                       uint64_t number, const char *const *labels)
{
    const char *all[LABELS_MAX + 1];
    size_t count = add_labels(all, add_labels(all, 0, labels), row->labels);

    all[count] = NULL;
    flowd_metrics_add_number(
        metrics, row->metric,
        (struct flowd_tcp_number){.number = number, .decimals = row->is_time ? US_DECIMALS : 0},
        count > 0 ? all : NULL);
}

void flowd_counters_put(const struct flowd_counter_sink *sink, const struct flowd_counter *rows,
                        const void *values, const char *const *labels)
{
    for (; rows->key != NULL; rows++) {
        uint64_t number = number_of(rows, values);

        if (sink->status != NULL)
            put_status(sink->status, rows, number);
        if (sink->metrics != NULL)
            put_metric(sink->metrics, rows, number, labels);
    }
}
