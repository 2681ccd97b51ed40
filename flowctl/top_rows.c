/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of `flowctl top`: a hash table by flow id that lives from one refresh to the next, and
 * an array of its rows to be sorted.
 */
#include "top_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/base/vector.h"
#include "daemon/flow/flow.h"

/* A rate is shown for so many spans after the last sample; then the flow has no socket any more. */
#define SPANS_SHOWN 3
#define SPAN_MIN_MS 1000

/* The counts of one sample. */
struct counts {
    int64_t taken_us;
    uint64_t sent, received, retransmissions;
};

void top_rows_fini(struct top_rows *rows)
{
    struct top_row *row, *next;

    HASH_ITER (hh, rows->by_id, row, next) {
        HASH_DEL(rows->by_id, row);
        free(row);
    }
    free(rows->sorted);
    *rows = (struct top_rows){0};
}

void top_rows_begin(struct top_rows *rows)
{
    rows->refresh++;
}

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(object, key));

    return number > 0 ? (uint64_t)number : 0;
}

static void copy_text(const json_t *object, const char *key, char *buffer, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(buffer, size, "%s", text != NULL ? text : "-");
}

static bool read_counts(const json_t *sample, struct counts *counts)
{
    const char *time = json_string_value(json_object_get(sample, "time"));
    const json_t *usage = json_object_get(sample, "usage");

    if (time == NULL || flowd_timestamp_parse(time, strlen(time), &counts->taken_us) < 0)
        return false;
    counts->sent = count_of(usage, "sent");
    counts->received = count_of(usage, "received");
    counts->retransmissions = count_of(sample, "retrans");
    return true;
}

/* Counts that went down are those of another socket. */
static void take_rates(struct top_row *row, const struct counts *counts)
{
    int64_t span_us = counts->taken_us - row->taken_us;
    double bits = 8e6 / (double)span_us;

    row->rated = row->sampled && span_us > 0 && counts->sent >= row->sent &&
                 counts->received >= row->received &&
                 counts->retransmissions >= row->retransmissions;
    if (!row->rated)
        return;
    row->sent_rate = (double)(counts->sent - row->sent) * bits;
    row->received_rate = (double)(counts->received - row->received) * bits;
    row->retransmissions_last = counts->retransmissions - row->retransmissions;
    row->span_ms = span_us / 1000;
}

static void take_sample(struct top_row *row, const json_t *sample, int64_t now_ms)
{
    const json_t *rtt = json_object_get(sample, "rtt");
    struct counts counts;

    if (!read_counts(sample, &counts) || (row->sampled && counts.taken_us == row->taken_us))
        return;
    take_rates(row, &counts);
    row->sampled = true;
    row->taken_us = counts.taken_us;
    row->sent = counts.sent;
    row->received = counts.received;
    row->retransmissions = counts.retransmissions;
    row->rtt_ms = json_is_number(rtt) ? json_number_value(rtt) : -1;
    row->changed_ms = now_ms;
}

static void take_flow(struct top_row *row, const json_t *flow)
{
    copy_text(flow, "protocol", row->protocol, sizeof(row->protocol));
    copy_text(flow, "src", row->src.address, sizeof(row->src.address));
    copy_text(flow, "dst", row->dst.address, sizeof(row->dst.address));
    row->src.port = (unsigned)count_of(flow, "srcPort");
    row->dst.port = (unsigned)count_of(flow, "dstPort");
    row->experiment = (unsigned)count_of(flow, "experiment");
    row->activity = (unsigned)count_of(flow, "activity");
}

int top_rows_take(struct top_rows *rows, const json_t *flow, int64_t now_ms)
{
    const char *text = json_string_value(json_object_get(flow, "id"));
    struct top_row *row;
    uint64_t id;

    if (text == NULL || flowd_flow_id_parse(text, strlen(text), &id) < 0)
        return -EINVAL;
    HASH_FIND(hh, rows->by_id, &id, sizeof(id), row);
    if (row == NULL) {
        row = calloc(1, sizeof(*row));
        if (row == NULL)
            return -ENOMEM;
        row->id = id;
        row->rtt_ms = -1;
        HASH_ADD(hh, rows->by_id, id, sizeof(row->id), row);
    }
    row->refresh = rows->refresh;
    take_flow(row, flow);
    take_sample(row, json_object_get(flow, "sample"), now_ms);
    return 0;
}

static int make_room(struct top_rows *rows)
{
    return flowd_vector_reserve(&rows->sorted, &rows->capacity, HASH_COUNT(rows->by_id));
}

/* Samples that have stopped coming say nothing of the rate. */
static void forget_old_rate(struct top_row *row, int64_t now_ms)
{
    int64_t span_ms = row->span_ms > SPAN_MIN_MS ? row->span_ms : SPAN_MIN_MS;

    if (row->rated && now_ms - row->changed_ms > SPANS_SHOWN * span_ms)
        row->rated = false;
}

int top_rows_end(struct top_rows *rows, int64_t now_ms)
{
    struct top_row *row, *next;

    rows->count = 0;
    rows->sent_rate = rows->received_rate = 0;
    for (row = rows->by_id; row != NULL; row = next) {
        next = row->hh.next;
        if (row->refresh == rows->refresh)
            continue;
        HASH_DEL(rows->by_id, row);
        free(row);
    }
    if (make_room(rows) < 0)
        return -ENOMEM;
    for (row = rows->by_id; row != NULL; row = row->hh.next) {
        forget_old_rate(row, now_ms);
        rows->sorted[rows->count++] = row;
        if (!row->rated)
            continue;
        rows->sent_rate += row->sent_rate;
        rows->received_rate += row->received_rate;
    }
    return 0;
}

/* The larger one first; equal ones in the order of their ids, so that rows do not jump. */
static int order(double left, double right)
{
    return (left < right) - (left > right);
}

static int order_by_id(const struct top_row *left, const struct top_row *right)
{
    return (left->id > right->id) - (left->id < right->id);
}

static double rate_of(const struct top_row *row)
{
    return row->rated ? row->sent_rate + row->received_rate : row->sampled ? -1 : -2;
}

static int compare_rates(const void *left, const void *right)
{
    const struct top_row *a = *(struct top_row *const *)left;
    const struct top_row *b = *(struct top_row *const *)right;
    int result = order(rate_of(a), rate_of(b));

    return result != 0 ? result : order_by_id(a, b);
}

static int compare_times(const void *left, const void *right)
{
    const struct top_row *a = *(struct top_row *const *)left;
    const struct top_row *b = *(struct top_row *const *)right;
    int result = order(a->rtt_ms, b->rtt_ms);

    return result != 0 ? result : order_by_id(a, b);
}

static int compare_retransmissions(const void *left, const void *right)
{
    const struct top_row *a = *(struct top_row *const *)left;
    const struct top_row *b = *(struct top_row *const *)right;
    int result = order(a->rated ? (double)a->retransmissions_last : -1,
                       b->rated ? (double)b->retransmissions_last : -1);

    if (result == 0)
        result = order(a->sampled ? (double)a->retransmissions : -1,
                       b->sampled ? (double)b->retransmissions : -1);
    return result != 0 ? result : order_by_id(a, b);
}

void top_rows_sort(struct top_rows *rows, enum top_sort sort)
{
    static int (*const compare[])(const void *, const void *) = {
        [TOP_SORT_RATE] = compare_rates,
        [TOP_SORT_RTT] = compare_times,
        [TOP_SORT_RETRANSMISSIONS] = compare_retransmissions,
    };

    if (rows->count > 0)
        qsort(rows->sorted, rows->count, sizeof(struct top_row *), compare[sort]);
}
