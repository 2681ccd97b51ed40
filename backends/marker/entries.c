/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of the flow map: what the flow callbacks note, and the commit that brings the map to
 * it. Which flows stand behind a key is looked up in the index of marks, and the system calls are
 * batch.c's.
 */
#include "entries.h"

#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "daemon/base/log.h"
#include "daemon/base/vector.h"
#include "daemon/flow/flow_table.h"
#include "daemon/hub/hub.h"
#include "daemon/net/host.h"

/* Lists longer than this are given back after use. */
#define LIST_KEPT 4096

/* In flow->directions: a mark of the direction is in the index; its last update failed. */
#define HAS_MARK(direction) (1u << (direction))
#define HAS_FAILED(direction) (0x10u << (direction))
#define FAILED_MASK 0xf0u
/* Both directions have a mark because neither end is this host's. */
#define FORWARDED 4u

/* The key of the packets that a flow sends in this direction. */
static void make_key(const struct flowd_flow *flow, enum marker_direction direction,
                     bool match_source, struct flowd_marker_key *key)
{
    const struct flowd_flow_key *tuple = &flow->key;
    bool forward = direction == MARKER_FORWARD;

    *key = (struct flowd_marker_key){
        .sport_be = htons(forward ? tuple->src_port : tuple->dst_port),
        .dport_be = htons(forward ? tuple->dst_port : tuple->src_port),
        .protocol = tuple->protocol,
    };
    memcpy(key->dst, forward ? &tuple->dst : &tuple->src, sizeof(key->dst));
    if (match_source)
        memcpy(key->src, forward ? &tuple->src : &tuple->dst, sizeof(key->src));
}

/* Among flows that share a key the most recently started one is marked. */
static bool is_newer(const struct flowd_flow *flow, const struct flowd_flow *than)
{
    return flow->start_us != than->start_us ? flow->start_us > than->start_us : flow->id > than->id;
}

/* Calls visit (may be NULL) for each flow behind the key; returns the one whose mark counts. */
static marker_ref find_winner(struct marker_entries *entries, const struct flowd_marker_key *key,
                              uint32_t hash,
                              void (*visit)(struct marker_entries *entries, struct flowd_flow *flow,
                                            enum marker_direction direction))
{
    const struct flowd_flow *newest = NULL;
    marker_ref winner = 0;
    marker_ref ref;
    size_t cursor = FLOWD_PROBE_BEGIN;

    while ((ref = flowd_probe_next(&entries->marks, hash, &cursor)) != 0) {
        struct flowd_flow *flow = flowd_hub_at(entries->hub, marker_ref_record(ref));
        struct flowd_marker_key candidate;

        if (flow == NULL)
            continue;
        make_key(flow, marker_ref_direction(ref), entries->match_source, &candidate);
        if (memcmp(&candidate, key, sizeof(candidate)) != 0)
            continue;
        if (visit != NULL)
            visit(entries, flow, marker_ref_direction(ref));
        if (newest == NULL || is_newer(flow, newest)) {
            newest = flow;
            winner = ref;
        }
    }
    return winner;
}

static int list_add(struct marker_dirty_list *list, const struct marker_dirty *item)
{
    if (flowd_vector_reserve(&list->items, &list->capacity, list->count + 1) < 0)
        return -ENOMEM;
    list->items[list->count++] = *item;
    return 0;
}

static void list_clear(struct marker_dirty_list *list)
{
    list->count = 0;
    if (list->capacity <= LIST_KEPT)
        return;
    free(list->items);
    *list = (struct marker_dirty_list){0};
}

int marker_entries_init(struct marker_entries *entries, struct flowd_hub *hub,
                        const struct flowd_host *host, int flows_fd,
                        struct flowd_marker_shared *shared, bool match_source,
                        unsigned experiment_max)
{
    struct marker_batch *batch = calloc(1, sizeof(*batch));
    struct flowd_probe marks;

    if (batch == NULL || flowd_probe_init(&marks) < 0) {
        free(batch);
        return -ENOMEM;
    }
    batch->map_fd = flows_fd;
    batch->key_size = match_source ? FLOWD_MARKER_KEY_SOURCE_SIZE : FLOWD_MARKER_KEY_SIZE;
    *entries = (struct marker_entries){
        .hub = hub,
        .host = host,
        .flows_fd = flows_fd,
        .shared = shared,
        .match_source = match_source,
        .experiment_max = experiment_max,
        .marks = marks,
        .batch = batch,
    };
    return 0;
}

void marker_entries_fini(struct marker_entries *entries)
{
    flowd_probe_fini(&entries->marks);
    free(entries->dirty.items);
    free(entries->failed.items);
    free(entries->batch);
    *entries = (struct marker_entries){0};
}

static void set_status(struct marker_entries *entries, struct flowd_flow *flow,
                       enum marker_status status)
{
    flow->backend[entries->slot] = (uint8_t)status;
}

static int add_mark(struct marker_entries *entries, struct flowd_flow *flow,
                    enum marker_direction direction)
{
    struct marker_dirty item = {0};
    bool shared;
    int result;

    make_key(flow, direction, entries->match_source, &item.key);
    item.hash = flowd_marker_key_hash(&item.key);
    shared = find_winner(entries, &item.key, item.hash, NULL) != 0;
    result = list_add(&entries->dirty, &item);
    if (result == 0)
        result = flowd_probe_expect(&entries->marks, entries->marks.count + 1);
    if (result < 0)
        return result;
    flowd_probe_add(&entries->marks, item.hash, marker_ref_make(flowd_flow_index(flow), direction));
    flow->directions |= (uint8_t)HAS_MARK(direction);
    if (!shared)
        entries->keys++;
    return 0;
}

static void remove_mark(struct marker_entries *entries, struct flowd_flow *flow,
                        enum marker_direction direction)
{
    static struct flowd_log_limit limit;
    struct marker_dirty item = {0};

    make_key(flow, direction, entries->match_source, &item.key);
    item.hash = flowd_marker_key_hash(&item.key);
    flowd_probe_remove(&entries->marks, item.hash,
                       marker_ref_make(flowd_flow_index(flow), direction));
    flow->directions &= (uint8_t) ~(HAS_MARK(direction) | HAS_FAILED(direction));
    if (find_winner(entries, &item.key, item.hash, NULL) == 0)
        entries->keys--;
    if (list_add(&entries->dirty, &item) < 0) {
        entries->delete_failures++;
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                          "out of memory: an ended flow stays marked until flowd restarts");
    }
}

static enum marker_status marked_status(const struct flowd_flow *flow)
{
    return flow->directions & FORWARDED ? MARKER_STATUS_FORWARDED : MARKER_STATUS_MARKED;
}

static void set_forwarded(struct marker_entries *entries, struct flowd_flow *flow, bool forwarded)
{
    if (forwarded == ((flow->directions & FORWARDED) != 0))
        return;
    flow->directions ^= (uint8_t)FORWARDED;
    if (forwarded)
        entries->forwarded++;
    else
        entries->forwarded--;
}

/*
 * Adds and removes marks until the flow has those of the directions that leave this host: away from
 * each end that is here. A flow of which neither end is here is somebody's for whom this host
 * forwards, or uses an address that nobody gave to this host: whichever of its packets leave a
 * target interface are marked.
 */
static unsigned adjust(struct marker_entries *entries, struct flowd_flow *flow)
{
    static struct flowd_log_limit limit;
    bool wanted[MARKER_DIRECTIONS] = {
        [MARKER_FORWARD] = flowd_host_is_local(entries->host, AF_INET6, &flow->key.src),
        [MARKER_BACKWARD] = flowd_host_is_local(entries->host, AF_INET6, &flow->key.dst),
    };
    bool forwarded = !wanted[MARKER_FORWARD] && !wanted[MARKER_BACKWARD];
    unsigned changes = 0;

    if (forwarded)
        wanted[MARKER_FORWARD] = wanted[MARKER_BACKWARD] = true;
    set_forwarded(entries, flow, forwarded);
    set_status(entries, flow,
               flow->directions & FAILED_MASK ? MARKER_STATUS_FAILED : marked_status(flow));
    for (unsigned i = 0; i < MARKER_DIRECTIONS; i++) {
        enum marker_direction direction = i == 0 ? MARKER_FORWARD : MARKER_BACKWARD;
        bool has = flow->directions & HAS_MARK(direction);

        if (has == wanted[direction])
            continue;
        changes++;
        if (has) {
            remove_mark(entries, flow, direction);
        } else if (add_mark(entries, flow, direction) < 0) {
            set_status(entries, flow, MARKER_STATUS_FAILED);
            entries->update_failures++;
            flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                              "out of memory: a flow is not marked");
        }
    }
    return changes;
}

void marker_entries_start(struct marker_entries *entries, struct flowd_flow *flow)
{
    flow->directions = 0;
    if (flow->key.family != AF_INET6)
        set_status(entries, flow, MARKER_STATUS_NOT_IPV6);
    else if (flow->experiment > entries->experiment_max)
        set_status(entries, flow, MARKER_STATUS_NO_LABEL);
    else
        adjust(entries, flow);
}

void marker_entries_end(struct marker_entries *entries, struct flowd_flow *flow)
{
    if (flow->directions & HAS_MARK(MARKER_FORWARD))
        remove_mark(entries, flow, MARKER_FORWARD);
    if (flow->directions & HAS_MARK(MARKER_BACKWARD))
        remove_mark(entries, flow, MARKER_BACKWARD);
    set_forwarded(entries, flow, false);
    if (flow->key.family == AF_INET6)
        set_status(entries, flow, MARKER_STATUS_UNMARKED);
}

unsigned marker_entries_reconsider(struct marker_entries *entries, struct flowd_flow *flow)
{
    /* Of one that this process was not told of yet it will be told. */
    if (flow->untold || flow->key.family != AF_INET6 || flow->experiment > entries->experiment_max)
        return 0;
    return adjust(entries, flow);
}

enum marker_status marker_entries_status(const struct marker_entries *entries,
                                         const struct flowd_flow *flow)
{
    enum marker_status status = (enum marker_status)flow->backend[entries->slot];

    if (entries->seeing || (status != MARKER_STATUS_MARKED && status != MARKER_STATUS_FORWARDED))
        return status;
    return entries->attached ? MARKER_STATUS_SHADOWED : MARKER_STATUS_NO_INTERFACE;
}

static void set_bit(struct marker_entries *entries, uint32_t hash)
{
    uint32_t bit = flowd_marker_bit(hash);

    entries->shared->bitmap[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static void clear_bit(struct marker_entries *entries, uint32_t hash)
{
    uint32_t bit = flowd_marker_bit(hash);

    entries->shared->bitmap[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

static void note_failure(struct marker_entries *entries, struct flowd_flow *flow,
                         enum marker_direction direction)
{
    flow->directions |= (uint8_t)HAS_FAILED(direction);
    set_status(entries, flow, MARKER_STATUS_FAILED);
}

static void note_success(struct marker_entries *entries, struct flowd_flow *flow,
                         enum marker_direction direction)
{
    flow->directions &= (uint8_t)~HAS_FAILED(direction);
    if (!(flow->directions & FAILED_MASK))
        set_status(entries, flow, marked_status(flow));
}

static const char *explain_refusal(int error)
{
    return error == -E2BIG ? "the map is full" : strerror(-error);
}

/* Said once, until no entry waits any more. */
static void note_refusal(struct marker_entries *entries, int error)
{
    static struct flowd_log_limit limit;

    if (entries->refusal == 0)
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                          "an entry of the flow map can't be written: %s; trying again each second",
                          explain_refusal(error));
    entries->refusal = error;
}

static void update_failed(void *owner, void *context, int error)
{
    static struct flowd_log_limit limit;
    struct marker_entries *entries = owner;
    struct marker_dirty *item = context;

    entries->update_failures++;
    note_refusal(entries, error);
    find_winner(entries, &item->key, item->hash, note_failure);
    item->retried = true;
    if (list_add(&entries->failed, item) < 0)
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                          "out of memory: a flow stays unmarked");
    item->retried = false;
}

static void delete_failed(void *owner, void *context, int error)
{
    static struct flowd_log_limit limit;
    struct marker_entries *entries = owner;

    (void)context;
    entries->delete_failures++;
    flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                      "an entry of the flow map can't be deleted: %s", strerror(-error));
}

/*
 * Deletes the dirty keys that nobody stands behind, then clears the bits that nobody needs. As long
 * as flows are untold, one of them may need the entry or the bit: the sweep sees to it then.
 */
static void commit_deletions(struct marker_entries *entries)
{
    struct marker_dirty_list *dirty = &entries->dirty;

    for (size_t i = 0; i < dirty->count; i++) {
        struct marker_dirty *item = &dirty->items[i];

        item->winner = find_winner(entries, &item->key, item->hash, NULL);
        if (item->winner != 0 || entries->adopted)
            continue;
        marker_batch_add(entries->batch, &item->key, 0, item);
        if (marker_batch_full(entries->batch))
            marker_batch_delete(entries->batch, delete_failed, entries);
    }
    marker_batch_delete(entries->batch, delete_failed, entries);
    for (size_t i = 0; i < dirty->count; i++)
        if (dirty->items[i].winner == 0 && !entries->adopted &&
            !marker_marks_bit_used(&entries->marks, dirty->items[i].hash))
            clear_bit(entries, dirty->items[i].hash);
}

static bool is_written(const struct marker_entries *entries, const struct flowd_marker_key *key,
                       flowd_marker_word wanted)
{
    flowd_marker_word word;

    return bpf_map_lookup_elem(entries->flows_fd, key, &word) == 0 && word == wanted;
}

static void commit_updates(struct marker_entries *entries)
{
    struct marker_dirty_list *dirty = &entries->dirty;

    for (size_t i = 0; i < dirty->count; i++) {
        struct marker_dirty *item = &dirty->items[i];
        const struct flowd_flow *flow;
        struct flowd_marker_mark mark;
        flowd_marker_word word;
        uint32_t check;

        if (item->winner == 0)
            continue;
        flow = flowd_hub_at(entries->hub, marker_ref_record(item->winner));
        assert(flow != NULL);
        mark = (struct flowd_marker_mark){
            .label = flow->flow_label,
            .experiment = flow->experiment,
            .activity = flow->activity,
        };
        if (item->retried) {
            /* Stands unless this try fails too. */
            find_winner(entries, &item->key, item->hash, note_success);
            item->retried = false;
        }
        set_bit(entries, item->hash);
        check = flowd_marker_check(item->hash, item->key.src[0], item->key.src[1]);
        word = flowd_marker_word_make(&mark, check);
        if (entries->adopted && is_written(entries, &item->key, word))
            continue;
        marker_batch_add(entries->batch, &item->key, word, item);
        if (marker_batch_full(entries->batch))
            marker_batch_update(entries->batch, update_failed, entries);
    }
    marker_batch_update(entries->batch, update_failed, entries);
}

/* After the entries were written: no CPU goes on with what it remembers of them. */
static void void_remembered(struct marker_entries *entries)
{
    /* No CPU sees the generation before the entry. */
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < entries->dirty.count; i++)
        entries->shared->generations[flowd_marker_recent_slot(entries->dirty.items[i].hash)]++;
}

void marker_entries_commit(struct marker_entries *entries)
{
    if (entries->dirty.count == 0)
        return;
    /* Deletions first: they make room. */
    commit_deletions(entries);
    commit_updates(entries);
    void_remembered(entries);
    list_clear(&entries->dirty);
}

size_t marker_entries_written(const struct marker_entries *entries)
{
    /* Flows may have ended whose entry was to be tried again. */
    return entries->keys > entries->failed.count ? entries->keys - entries->failed.count : 0;
}

bool marker_entries_wanted(struct marker_entries *entries, const struct flowd_marker_key *key)
{
    return find_winner(entries, key, flowd_marker_key_hash(key), NULL) != 0;
}

void marker_entries_retry(struct marker_entries *entries)
{
    struct marker_dirty_list failed = entries->failed;

    entries->failed = (struct marker_dirty_list){0};
    for (size_t i = 0; i < failed.count; i++)
        if (list_add(&entries->dirty, &failed.items[i]) < 0)
            list_add(&entries->failed, &failed.items[i]);
    free(failed.items);
    marker_entries_commit(entries);
    entries->refused_again = entries->failed.count > 0;
    if (entries->refused_again || entries->refusal == 0)
        return;
    entries->refusal = 0;
    flowd_info("marker", "no entry of the flow map waits any more");
}

int marker_entries_ready(const struct marker_entries *entries, struct flowd_error *err)
{
    if (!entries->refused_again)
        return 0;
    return flowd_fail(err, EAGAIN, "%zu entries of the flow map can't be written: %s",
                      entries->failed.count, explain_refusal(entries->refusal));
}
