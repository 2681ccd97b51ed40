/*
 * Flow records in a mapped file, with an index and an order of age in memory.
 *
 * The address space for the largest table is reserved once, so records never move; the file behind
 * it grows block by block. Free records are kept on a stack, so a busy host with few flows touches
 * few pages.
 */
#include "daemon/flow_table.h"

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

#include "daemon/flow_index.h"
#include "daemon/state_file.h"

struct flowd_flow_table {
    struct flowd_state_file file;
    struct flowd_flow_index index;
    uint32_t *free_records; /* a stack; owned */
    size_t free_count;
    size_t free_capacity;
    size_t records; /* records ever used: those past it are zero */
    size_t live;
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
    size_t capacity = table->free_capacity > 0 ? table->free_capacity : 1024;
    uint32_t *larger;

    if (records <= table->free_capacity)
        return 0;
    while (capacity < records)
        capacity *= 2;
    larger = realloc(table->free_records, capacity * sizeof(*larger));
    if (larger == NULL)
        return -ENOMEM;
    table->free_records = larger;
    table->free_capacity = capacity;
    return 0;
}

int flowd_flow_table_reserve(struct flowd_flow_table *table)
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

static int by_last_event(const void *left, const void *right)
{
    const struct flowd_flow *a = *(struct flowd_flow *const *)left;
    const struct flowd_flow *b = *(struct flowd_flow *const *)right;

    return (a->last_event_us > b->last_event_us) - (a->last_event_us < b->last_event_us);
}

/* Takes over a record that a former process left live. Returns whether it is usable. */
static bool adopt_record(struct flowd_flow_table *table, uint32_t number)
{
    struct flowd_flow *flow = record_at(table, number);

    if (!flowd_state_file_record_ok(flow, number) ||
        flowd_flow_index_find(&table->index, table->file.records, &flow->key) !=
            FLOWD_FLOW_INDEX_NONE)
        return false;
    memset(flow->backend, 0, sizeof(flow->backend));
    flow->directions = 0;
    return true;
}

/* Rebuilds the index, the order of age and the stack of free records from the file. */
static int restore(struct flowd_flow_table *table, struct flowd_flow_table_report *report)
{
    size_t count = flowd_state_file_records(&table->file);
    struct flowd_flow **found = calloc(count > 0 ? count : 1, sizeof(struct flowd_flow *));
    size_t live = 0;
    int result = found != NULL ? reserve_free(table, count) : -ENOMEM;

    for (size_t number = 0; result == 0 && number < count; number++) {
        struct flowd_flow *flow = record_at(table, (uint32_t)number);

        if (flow->state == FLOWD_FLOW_LIVE && adopt_record(table, (uint32_t)number)) {
            result = flowd_flow_index_reserve(&table->index);
            if (result == 0) {
                flowd_flow_index_add(&table->index, &flow->key, (uint32_t)number);
                found[live++] = flow;
            }
            continue;
        }
        if (flow->state != FLOWD_FLOW_FREE && flow->state != FLOWD_FLOW_ENDED)
            report->damaged++;
        if (flow->state != FLOWD_FLOW_FREE)
            set_state(flow, FLOWD_FLOW_FREE);
        push_free(table, (uint32_t)number);
    }
    if (result == 0) {
        table->records = count;
        table->live = live;
        report->restored = live;
        qsort(found, live, sizeof(struct flowd_flow *), by_last_event);
        for (size_t i = 0; i < live; i++)
            list_append(table, found[i]);
    }
    free(found);
    return result;
}

int flowd_flow_table_open(const char *directory, struct flowd_flow_table **out,
                          struct flowd_flow_table_report *report, struct flowd_error *err)
{
    struct flowd_flow_table *table = calloc(1, sizeof(*table));
    int result;

    *report = (struct flowd_flow_table_report){0};
    if (table == NULL)
        return flowd_fail(err, ENOMEM, "flow table");
    result = flowd_flow_index_init(&table->index, sizeof(struct flowd_flow));
    if (result < 0) {
        free(table);
        return flowd_fail(err, -result, "flow table");
    }
    result = flowd_state_file_open(&table->file, directory, report->set_aside,
                                   sizeof(report->set_aside), err);
    if (result == 0) {
        result = restore(table, report);
        if (result < 0)
            flowd_fail(err, -result, "read the flows in %s", directory);
    }
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
    free(table->free_records);
    free(table);
}

size_t flowd_flow_table_count(const struct flowd_flow_table *table)
{
    return table->live;
}

struct flowd_flow *flowd_flow_table_find(const struct flowd_flow_table *table,
                                         const struct flowd_flow_key *key)
{
    uint32_t number = flowd_flow_index_find(&table->index, table->file.records, key);

    return number != FLOWD_FLOW_INDEX_NONE ? record_at(table, number) : NULL;
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
    for (; *index<table->records && * budget> 0; (*index)++) {
        (*budget)--;
        if (record_at(table, *index)->state == FLOWD_FLOW_LIVE)
            return record_at(table, *index);
    }
    return NULL;
}

struct flowd_flow *flowd_flow_table_next(const struct flowd_flow_table *table, uint32_t *index)
{
    uint32_t budget = UINT32_MAX;

    return flowd_flow_table_next_within(table, index, &budget);
}

int flowd_flow_table_add(struct flowd_flow_table *table, const struct flowd_flow *prototype,
                         struct flowd_flow **out)
{
    struct flowd_flow *flow;
    uint64_t generation;
    uint32_t number;
    int result = flowd_flow_table_reserve(table);

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
    flowd_flow_index_add(&table->index, &flow->key, number);
    list_append(table, flow);
    table->live++;
    set_state(flow, FLOWD_FLOW_LIVE);
    *out = flow;
    return 0;
}

void flowd_flow_table_end(struct flowd_flow_table *table, struct flowd_flow *flow)
{
    set_state(flow, FLOWD_FLOW_ENDED);
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
