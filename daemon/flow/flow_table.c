/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow records in a mapped file, with an index and an order of age in memory.
 *
 * The address space for the largest table is reserved once, so records never move; the file behind
 * it grows block by block. Free records are kept on a stack, so a busy host with few flows touches
 * few pages.
 */
#include "daemon/flow/flow_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/timestamp.h"
#include "daemon/base/vector.h"
#include "daemon/flow/age_order.h"
#include "daemon/flow/flow_index.h"
#include "daemon/flow/flow_record.h"
#include "daemon/flow/state_file.h"

/*
 * So many records before one is read, its slot of the index is fetched into the cache, and the
 * record itself so many before that.
 */
#define AHEAD 8
#define CACHE_LINE 64

/* How far the file has been read. */
struct reading {
    struct flowd_age_order order; /* of the live flows */
    size_t looked_at;             /* records of a file in doubt, before any is changed */
    bool proven;                  /* one of them is a live flow's */
    size_t next;                  /* record */
    size_t used;                  /* records, up to the last that was ever used */
    size_t live_end;              /* records, up to the last live one */
    bool ordering;                /* all records have been read */
    int64_t now_us;               /* CLOCK_BOOTTIME when the last part was begun */
};

struct flowd_flow_table {
    struct flowd_state_file file;
    struct flowd_flow_index index;
    uint32_t *free_records; /* a stack; owned */
    size_t free_count;
    size_t free_capacity;
    size_t records; /* records ever used: those past it are zero */
    size_t live;
    size_t flows_max;
    size_t damaged; /* records that were dropped */
    struct reading reading;
    uint32_t oldest; /* record number + 1, 0: none */
    uint32_t newest;
};

uint32_t flowd_flow_index(const struct flowd_flow *flow)
{
    return (uint32_t)(flow->id & UINT32_MAX) - 1;
}

static struct flowd_flow *record_at(const struct flowd_flow_table *table, uint32_t number)
{
    return &table->file.records[number];
}

static void set_state(struct flowd_flow *flow, enum flowd_flow_state state)
{
    /* The record's other fields must be in the file's pages before it counts. */
    atomic_signal_fence(memory_order_release);
    *(volatile uint8_t *)&flow->state = (uint8_t)state;
    atomic_signal_fence(memory_order_release);
}

static void list_append(struct flowd_flow_table *table, struct flowd_flow *flow)
{
    uint32_t link = flowd_flow_index(flow) + 1;

    flow->older = table->newest;
    flow->newer = 0;
    if (table->newest != 0)
        record_at(table, table->newest - 1)->newer = link;
    else
        table->oldest = link;
    table->newest = link;
}

static void list_remove(struct flowd_flow_table *table, struct flowd_flow *flow)
{
    if (flow->older != 0)
        record_at(table, flow->older - 1)->newer = flow->newer;
    else
        table->oldest = flow->newer;
    if (flow->newer != 0)
        record_at(table, flow->newer - 1)->older = flow->older;
    else
        table->newest = flow->older;
}

/* Puts a free record on the stack. Room for it was made when the record was first used. */
static void push_free(struct flowd_flow_table *table, uint32_t number)
{
    table->free_records[table->free_count++] = number;
}

/* Makes the stack of free records as large as the number of records may become. */
static int reserve_free(struct flowd_flow_table *table, size_t records)
{
    return flowd_vector_reserve(&table->free_records, &table->free_capacity, records);
}

/* Makes sure that one more flow can be stored and entered, whatever is ended in between. */
static int make_room(struct flowd_flow_table *table)
{
    int result = flowd_flow_index_reserve(&table->index);

    if (result < 0 || table->free_count > 0)
        return result;
    if (table->records == FLOWD_FLOWS_LIMIT)
        return -ENOSPC;
    result = flowd_state_file_grow(&table->file, table->records + 1);
    return result < 0 ? result : reserve_free(table, table->records + 1);
}

/* There must be room. */
static uint32_t take_record(struct flowd_flow_table *table)
{
    return table->free_count > 0 ? table->free_records[--table->free_count]
                                 : (uint32_t)table->records++;
}

/* Takes over a flow that a former process left. */
static int adopt_record(struct flowd_flow_table *table, uint32_t number)
{
    struct flowd_flow *flow = record_at(table, number);
    int64_t now_us = table->reading.now_us;
    int result = flowd_flow_index_reserve(&table->index);

    /* Nothing proves the time of the last event; one that makes no sense costs no flow. */
    if (flow->last_event_us < 0 || flow->last_event_us > now_us)
        flow->last_event_us = now_us;
    memset(flow->backend, 0, sizeof(flow->backend));
    flow->directions = 0;
    flow->untold = true;
    set_state(flow, FLOWD_FLOW_LIVE);
    if (result == 0)
        result = flowd_age_order_add(&table->reading.order, number, flow->last_event_us);
    if (result < 0)
        return result;
    flowd_flow_index_add(&table->index, &flow->key, number);
    table->live++;
    table->reading.live_end = number + 1;
    return 0;
}

static void free_record(struct flowd_flow_table *table, uint32_t number)
{
    struct flowd_flow *flow = record_at(table, number);

    if (flow->state != FLOWD_FLOW_FREE)
        set_state(flow, FLOWD_FLOW_FREE);
    if (flow->check != 0)
        flow->check = 0;
    push_free(table, number);
}

/*
 * Takes over a live flow's record. A kill in the middle of a change of tag leaves a second one of
 * the same key: the newer one counts.
 */
static int adopt_newer(struct flowd_flow_table *table, uint32_t number)
{
    struct flowd_flow *flow = record_at(table, number);
    struct flowd_flow *other = flowd_flow_table_find(table, &flow->key);

    if (other != NULL && flow->last_event_us < other->last_event_us) {
        free_record(table, number);
        return 0;
    }
    if (other != NULL) {
        flowd_flow_index_remove(&table->index, &other->key, flowd_flow_index(other));
        free_record(table, flowd_flow_index(other));
        table->live--;
    }
    return adopt_record(table, number);
}

static int read_record(struct flowd_flow_table *table, uint32_t number,
                       struct flowd_flow_table_report *report)
{
    struct flowd_flow *flow = record_at(table, number);

    if (flow->id != 0 || flow->state != FLOWD_FLOW_FREE)
        table->reading.used = number + 1;
    if (flowd_flow_record_is_live(flow, number, table->file.seed))
        return adopt_newer(table, number);
    if (flow->state != FLOWD_FLOW_FREE && flow->state != FLOWD_FLOW_ENDED)
        report->damaged++;
    free_record(table, number);
    return 0;
}

/* Looks for a record that proves a file in doubt to be flowd's. */
static void look_for_proof(struct flowd_flow_table *table, size_t count)
{
    struct reading *reading = &table->reading;

    for (size_t i = 0; i < count && !reading->proven; i++) {
        size_t number = flowd_state_file_skip_hole(&table->file, reading->looked_at);

        reading->looked_at = number + 1;
        if (number >= table->file.capacity)
            return;
        reading->proven = flowd_flow_record_is_live(record_at(table, (uint32_t)number),
                                                    (uint32_t)number, table->file.seed);
    }
}

void flowd_flow_table_prefetch_at(const struct flowd_flow_table *table, uint32_t number)
{
    const char *record = (const char *)record_at(table, number);

    if (number >= table->file.capacity)
        return;
    for (size_t at = 0; at < sizeof(struct flowd_flow); at += CACHE_LINE)
        __builtin_prefetch(record + at);
}

/*
 * Has the slot of a record that will be read soon fetched into the cache: most of the reading would
 * be waiting for it. A record is looked at only in the block of one that has been read, and so in
 * no hole.
 */
static void look_ahead(const struct flowd_flow_table *table, size_t number)
{
    const struct flowd_flow *flow = record_at(table, (uint32_t)number);

    flowd_flow_table_prefetch_at(table, (uint32_t)number + AHEAD);
    if (number < table->file.capacity && number % FLOWD_STATE_BLOCK_RECORDS >= AHEAD &&
        flow->state == FLOWD_FLOW_LIVE)
        flowd_flow_index_prefetch(&table->index, &flow->key);
}

/* Reads records from next on. */
static int read_some(struct flowd_flow_table *table, size_t count,
                     struct flowd_flow_table_report *report)
{
    struct reading *reading = &table->reading;
    int result = 0;

    reading->now_us = flowd_timestamp_boot_us();
    for (size_t i = 0; i < count && reading->next < table->file.capacity && result == 0; i++) {
        size_t data = flowd_state_file_skip_hole(&table->file, reading->next);

        for (; reading->next < data; reading->next++)
            push_free(table, (uint32_t)reading->next);
        look_ahead(table, reading->next + AHEAD);
        if (reading->next < table->file.capacity)
            result = read_record(table, (uint32_t)reading->next++, report);
    }
    return result;
}

static int read_order(struct flowd_flow_table *table, size_t count)
{
    uint32_t number;

    for (size_t i = 0; i < count; i++) {
        if (!flowd_age_order_take(&table->reading.order, &number))
            return 0;
        /* An older record of a key has been freed. */
        if (record_at(table, number)->state == FLOWD_FLOW_LIVE)
            list_append(table, record_at(table, number));
    }
    return 1;
}

/* The table is whole: records that were never used are not on the stack. */
static int flow_table_conclude(struct flowd_flow_table *table,
                               struct flowd_flow_table_report *report, struct flowd_error *err)
{
    const struct reading *reading = &table->reading;
    size_t used = reading->used < table->flows_max ? reading->used : table->flows_max;
    int result;

    if (used < reading->live_end)
        used = reading->live_end;
    while (table->free_count > 0 && table->free_records[table->free_count - 1] >= used)
        table->free_count--;
    table->records = used;
    report->restored = table->live;
    table->damaged = report->damaged;
    result = flowd_state_file_settle(&table->file, used, table->live, report, err);
    /* A file that was set aside has left an empty one. */
    if (table->live == 0 && table->file.capacity == 0)
        table->records = table->free_count = 0;
    flowd_age_order_fini(&table->reading.order);
    return result;
}

/*
 * Room for what will be read. Where more flows are allowed than usual, there is room for all of
 * them at once: an index that grows then would hold up the loop.
 */
static int begin_reading(struct flowd_flow_table *table)
{
    size_t records = table->file.capacity;
    int result = reserve_free(table, records);

    if (records > table->flows_max || table->flows_max > FLOWD_FLOWS_USUAL)
        records = table->flows_max;
    return result < 0 ? result : flowd_flow_index_expect(&table->index, records);
}

int flowd_flow_table_read(struct flowd_flow_table *table, size_t count,
                          struct flowd_flow_table_report *report, struct flowd_error *err)
{
    struct reading *reading = &table->reading;
    bool unproven = table->file.doubt != NULL && !reading->proven;
    int result;

    if (reading->ordering) {
        result = read_order(table, count);
        return result == 0 ? flow_table_conclude(table, report, err) : result;
    }
    if (unproven && reading->looked_at < table->file.capacity) {
        look_for_proof(table, count);
        return 1;
    }
    result = reading->next == 0 ? begin_reading(table) : 0;
    /* Nothing in it is flowd's: it will be moved aside as it is. */
    if (unproven)
        reading->next = table->file.capacity;
    if (result == 0)
        result = read_some(table, count, report);
    if (result == 0 && reading->next >= table->file.capacity) {
        reading->ordering = true;
        result = flowd_age_order_begin(&reading->order);
    }
    return result < 0 ? flowd_fail_errno(err, -result, "read the flows of the state file") : 1;
}

int flowd_flow_table_open_unread(const char *directory, size_t flows_max,
                                 struct flowd_flow_table **out,
                                 struct flowd_flow_table_report *report, struct flowd_error *err)
{
    struct flowd_flow_table *table = calloc(1, sizeof(*table));
    int result;

    *report = (struct flowd_flow_table_report){0};
    if (table == NULL)
        return flowd_fail_errno(err, ENOMEM, "flow table");
    table->flows_max = flows_max;
    result = flowd_flow_index_init(&table->index, sizeof(struct flowd_flow));
    if (result < 0) {
        free(table);
        return flowd_fail_errno(err, -result, "flow table");
    }
    result = flowd_state_file_open(&table->file, directory, report, err);
    if (result < 0) {
        flowd_flow_table_close(table);
        return result;
    }
    *out = table;
    return 0;
}

int flowd_flow_table_open(const char *directory, struct flowd_flow_table **out,
                          struct flowd_flow_table_report *report, struct flowd_error *err)
{
    struct flowd_flow_table *table;
    int result = flowd_flow_table_open_unread(directory, FLOWD_FLOWS_USUAL, &table, report, err);

    if (result < 0)
        return result;
    do
        result = flowd_flow_table_read(table, FLOWD_FLOWS_LIMIT, report, err);
    while (result > 0);
    if (result < 0) {
        flowd_flow_table_close(table);
        return result;
    }
    *out = table;
    return 0;
}

int flowd_flow_table_restore_file(struct flowd_flow_table *table, const char *directory,
                                  struct flowd_error *err)
{
    return flowd_state_file_restore(&table->file, directory, err);
}

void flowd_flow_table_close(struct flowd_flow_table *table)
{
    if (table == NULL)
        return;
    flowd_state_file_close(&table->file);
    flowd_flow_index_fini(&table->index);
    flowd_age_order_fini(&table->reading.order);
    free(table->free_records);
    free(table);
}

size_t flowd_flow_table_count(const struct flowd_flow_table *table)
{
    return table->live;
}

size_t flowd_flow_table_damaged(const struct flowd_flow_table *table)
{
    return table->damaged;
}

struct flowd_flow *flowd_flow_table_find(const struct flowd_flow_table *table,
                                         const struct flowd_flow_key *key)
{
    uint32_t number = flowd_flow_index_find(&table->index, table->file.records, key);

    return number != FLOWD_FLOW_INDEX_NONE ? record_at(table, number) : NULL;
}

void flowd_flow_table_prefetch(const struct flowd_flow_table *table,
                               const struct flowd_flow_key *key)
{
    flowd_flow_index_prefetch(&table->index, key);
}

size_t flowd_flow_table_records(const struct flowd_flow_table *table)
{
    return table->records;
}

struct flowd_flow *flowd_flow_table_at(const struct flowd_flow_table *table, uint32_t number)
{
    struct flowd_flow *flow;

    if (number >= table->records)
        return NULL;
    flow = record_at(table, number);
    return flow->state != FLOWD_FLOW_FREE ? flow : NULL;
}

struct flowd_flow *flowd_flow_table_find_id(const struct flowd_flow_table *table, uint64_t id)
{
    struct flowd_flow *flow = flowd_flow_table_at(table, (uint32_t)(id & UINT32_MAX) - 1);

    return flow != NULL && flow->id == id ? flow : NULL;
}

struct flowd_flow *flowd_flow_table_next_within(const struct flowd_flow_table *table,
                                                uint32_t *index, uint32_t *budget)
{
    for (; (*index < table->records) && (*budget > 0); (*index)++) {
        (*budget)--;
        if (record_at(table, *index)->state == FLOWD_FLOW_LIVE)
            return record_at(table, *index);
    }
    return NULL;
}

int flowd_flow_table_store(struct flowd_flow_table *table, const struct flowd_flow *prototype,
                           struct flowd_flow **out)
{
    struct flowd_flow *flow;
    uint64_t generation;
    uint32_t number;
    int result = make_room(table);

    if (result < 0)
        return result;
    number = take_record(table);
    flow = record_at(table, number);
    /* What a freed record leaves is its generation: an old id never finds the new flow. */
    generation = flow->id >> 32 == UINT32_MAX ? 1 : (flow->id >> 32) + 1;
    *flow = *prototype;
    flow->state = FLOWD_FLOW_FREE;
    flow->id = generation << 32 | (number + 1u);
    flow->older = flow->newer = 0;
    flow->check = flowd_flow_record_check(flow, table->file.seed);
    set_state(flow, FLOWD_FLOW_LIVE);
    *out = flow;
    return 0;
}

void flowd_flow_table_enter(struct flowd_flow_table *table, struct flowd_flow *flow)
{
    flowd_flow_index_add(&table->index, &flow->key, flowd_flow_index(flow));
    list_append(table, flow);
    table->live++;
}

int flowd_flow_table_add(struct flowd_flow_table *table, const struct flowd_flow *prototype,
                         struct flowd_flow **out)
{
    int result = flowd_flow_table_store(table, prototype, out);

    if (result == 0)
        flowd_flow_table_enter(table, *out);
    return result;
}

void flowd_flow_table_end(struct flowd_flow_table *table, struct flowd_flow *flow)
{
    set_state(flow, FLOWD_FLOW_ENDED);
    /* Whatever becomes of the state, this record is no live flow's. */
    flow->check = 0;
    flowd_flow_index_remove(&table->index, &flow->key, flowd_flow_index(flow));
    list_remove(table, flow);
    table->live--;
}

void flowd_flow_table_release(struct flowd_flow_table *table, struct flowd_flow *flow)
{
    set_state(flow, FLOWD_FLOW_FREE);
    push_free(table, flowd_flow_index(flow));
}

void flowd_flow_table_touch(struct flowd_flow_table *table, struct flowd_flow *flow,
                            int64_t boot_us)
{
    flow->last_event_us = boot_us;
    if (flow->newer == 0)
        return;
    list_remove(table, flow);
    list_append(table, flow);
}

struct flowd_flow *flowd_flow_table_oldest(const struct flowd_flow_table *table)
{
    return table->oldest != 0 ? record_at(table, table->oldest - 1) : NULL;
}
