/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of the flow map: what becomes of them when flows begin and end. The flow behind an
 * entry stands beside its slot in table.c.
 */
#include "entries.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/vector.h"
#include "daemon/flow/flow_table.h"
#include "daemon/hub/hub.h"
#include "daemon/net/host.h"

/* Lists longer than this are given back after use. */
#define LIST_KEPT 4096

/* In flow->directions: the flow has a mark of the direction; writing it failed the last time. */
#define HAS_MARK(direction) (1u << (direction))
#define HAS_FAILED(direction) (0x10u << (direction))
#define FAILED_MASK 0xf0u
/* Both directions have a mark because neither end is this host's. */
#define FORWARDED 4u

/* What the packets are found by that a flow of this key sends in this direction. */
static void sums_of_key(const struct marker_entries *entries, const struct flowd_flow_key *tuple,
                        enum marker_direction direction, struct marker_sums *sums)
{
    bool forward = direction == MARKER_FORWARD;
    struct flowd_marker_key key = {
        .sport_be = htons(forward ? tuple->src_port : tuple->dst_port),
        .dport_be = htons(forward ? tuple->dst_port : tuple->src_port),
        .protocol = tuple->protocol,
    };

    memcpy(key.dst, forward ? &tuple->dst : &tuple->src, sizeof(key.dst));
    memcpy(key.src, forward ? &tuple->src : &tuple->dst, sizeof(key.src));
    marker_table_sums(&entries->table, &key, sums);
}

/* Among flows that share a key the most recently started one is marked. */
static bool is_newer(const struct flowd_flow *flow, const struct flowd_flow *than)
{
    return flow->start_us != than->start_us ? flow->start_us > than->start_us : flow->id > than->id;
}

/* What is written of the flow. */
static flowd_marker_value value_of(const struct marker_entries *entries,
                                   const struct flowd_flow *flow)
{
    const struct flowd_marker_mark mark = {
        .label = flow->flow_label,
        .experiment = flow->experiment,
        .activity = flow->activity,
    };

    return flowd_marker_value_of(&mark, entries->table.maps.format & FLOWD_MARKER_FORMAT_SCITAG);
}

static struct flowd_flow *flow_of(const struct marker_entries *entries, marker_ref ref)
{
    return flowd_hub_at(entries->hub, marker_ref_record(ref));
}

int marker_entries_init(struct marker_entries *entries, struct flowd_hub *hub,
                        const struct flowd_host *host, const struct marker_table_maps *maps,
                        unsigned experiment_max)
{
    struct flowd_probe outdone;
    int result;

    if (flowd_probe_init(&outdone) < 0)
        return -ENOMEM;
    *entries = (struct marker_entries){
        .hub = hub,
        .host = host,
        .experiment_max = experiment_max,
        .outdone = outdone,
    };
    result = marker_table_open(&entries->table, maps);
    if (result < 0)
        marker_entries_fini(entries);
    return result;
}

void marker_entries_fini(struct marker_entries *entries)
{
    marker_table_close(&entries->table);
    flowd_probe_fini(&entries->outdone);
    free(entries->ended.items);
    free(entries->failed.items);
    *entries = (struct marker_entries){0};
}

static void set_status(struct marker_entries *entries, struct flowd_flow *flow,
                       enum marker_status status)
{
    flow->backend[entries->slot] = (uint8_t)status;
}

static enum marker_status marked_status(const struct flowd_flow *flow)
{
    return flow->directions & FORWARDED ? MARKER_STATUS_FORWARDED : MARKER_STATUS_MARKED;
}

static const char *explain_refusal(int error)
{
    return error == -E2BIG ? "the map is full" : strerror(-error);
}

static void note_success(struct marker_entries *entries, struct flowd_flow *flow,
                         enum marker_direction direction)
{
    flow->directions &= (uint8_t)~HAS_FAILED(direction);
    if (!(flow->directions & FAILED_MASK))
        set_status(entries, flow, marked_status(flow));
}

/* Said once, until no entry waits any more. */
static void note_failure(struct marker_entries *entries, struct flowd_flow *flow,
                         enum marker_direction direction, int error)
{
    static struct flowd_log_limit limit;
    struct marker_failed_list *failed = &entries->failed;

    flow->directions |= (uint8_t)HAS_FAILED(direction);
    set_status(entries, flow, MARKER_STATUS_FAILED);
    if (entries->refusal == 0)
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                          "an entry of the flow map can't be written: %s; trying again each second",
                          explain_refusal(error));
    entries->refusal = error;
    if (flowd_vector_reserve(&failed->items, &failed->capacity, failed->count + 1) == 0)
        failed->items[failed->count++] = marker_ref_make(flowd_flow_index(flow), direction);
    else
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                          "out of memory: a flow stays unmarked");
}

static void sums_of(const struct marker_entries *entries, const struct flowd_flow *flow,
                    enum marker_direction direction, struct marker_sums *sums)
{
    sums_of_key(entries, &flow->key, direction, sums);
}

/*
 * Remembers a mark for when the flow that has its key ends. It may be there already, if what came
 * after that failed and is tried again.
 */
static int outdo(struct marker_entries *entries, uint32_t hash, marker_ref ref)
{
    int result = flowd_probe_expect(&entries->outdone, entries->outdone.count + 1);

    if (result < 0)
        return result;
    flowd_probe_remove(&entries->outdone, hash, ref);
    flowd_probe_add(&entries->outdone, hash, ref);
    return 0;
}

/* Writes a mark of the flow over what has its key. */
static int claim(struct marker_entries *entries, const struct flowd_flow *flow, marker_ref ref,
                 const struct marker_sums *sums, struct marker_owner *owner)
{
    const struct flowd_flow *other = owner->ref != 0 ? flow_of(entries, owner->ref) : NULL;
    int result = 0;

    if (other != NULL && owner->ref != ref) {
        bool newer = is_newer(flow, other);

        result = outdo(entries, sums->hash, newer ? owner->ref : ref);
        if (result < 0 || !newer)
            return result;
    }
    return marker_table_change(&entries->table, owner, sums, value_of(entries, flow), ref);
}

static int write_mark(struct marker_entries *entries, const struct flowd_flow *flow,
                      enum marker_direction direction)
{
    marker_ref ref = marker_ref_make(flowd_flow_index(flow), direction);
    struct marker_owner *owner;
    struct marker_sums sums;

    sums_of(entries, flow, direction, &sums);
    owner = marker_table_find(&entries->table, &sums);
    return owner == NULL ? marker_table_add(&entries->table, &sums, value_of(entries, flow), ref)
                         : claim(entries, flow, ref, &sums, owner);
}

static void add_mark(struct marker_entries *entries, struct flowd_flow *flow,
                     enum marker_direction direction)
{
    int result = write_mark(entries, flow, direction);

    /* Flows that ended since the last commit have their places still. */
    if (result == -E2BIG && entries->ended.count > 0 && !entries->kept_told) {
        marker_entries_commit(entries);
        result = write_mark(entries, flow, direction);
    }
    flow->directions |= (uint8_t)HAS_MARK(direction);
    if (result < 0)
        note_failure(entries, flow, direction, result);
}

/* Whether the mark's key is that of the sums, as far as sums can tell. */
static bool has_sums(const struct marker_entries *entries, marker_ref ref,
                     const struct marker_sums *sums)
{
    const struct flowd_flow *flow = flow_of(entries, ref);
    struct marker_sums own;

    if (flow == NULL)
        return false;
    sums_of(entries, flow, marker_ref_direction(ref), &own);
    return own.tag == sums->tag && own.check == sums->check;
}

/* The newest of the marks that wait for this key; 0: none does. */
static marker_ref find_heir(const struct marker_entries *entries, const struct marker_sums *sums)
{
    size_t cursor = FLOWD_PROBE_BEGIN;
    marker_ref heir = 0;
    marker_ref ref;

    while ((ref = flowd_probe_next(&entries->outdone, sums->hash, &cursor)) != 0)
        if (has_sums(entries, ref, sums) &&
            (heir == 0 || is_newer(flow_of(entries, ref), flow_of(entries, heir))))
            heir = ref;
    return heir;
}

static void give_up(struct marker_entries *entries, struct marker_owner *owner,
                    const struct marker_sums *sums)
{
    static struct flowd_log_limit limit;
    struct marker_ended_list *ended = &entries->ended;

    marker_table_abandon(&entries->table, owner);
    if (flowd_vector_reserve(&ended->items, &ended->capacity, ended->count + 1) == 0) {
        ended->items[ended->count++] = *sums;
        return;
    }
    flowd_log_limited(&limit, FLOWD_LOG_ERROR, "marker",
                      "out of memory: an ended flow stays marked until flowd restarts");
}

static void hand_over(struct marker_entries *entries, struct marker_owner *owner,
                      const struct marker_sums *sums, marker_ref heir)
{
    struct flowd_flow *flow = flow_of(entries, heir);
    int result = marker_table_change(&entries->table, owner, sums, value_of(entries, flow), heir);

    flowd_probe_remove(&entries->outdone, sums->hash, heir);
    if (result < 0)
        note_failure(entries, flow, marker_ref_direction(heir), result);
}

static void remove_mark(struct marker_entries *entries, struct flowd_flow *flow,
                        enum marker_direction direction)
{
    marker_ref ref = marker_ref_make(flowd_flow_index(flow), direction);
    struct marker_owner *owner;
    struct marker_sums sums;
    marker_ref heir;

    flow->directions &= (uint8_t)~HAS_MARK(direction);
    flow->directions &= (uint8_t)~HAS_FAILED(direction);
    sums_of(entries, flow, direction, &sums);
    owner = marker_table_find(&entries->table, &sums);
    if (entries->outdone.count > 0)
        flowd_probe_remove(&entries->outdone, sums.hash, ref);
    if (owner == NULL || owner->ref != ref)
        return;
    heir = entries->outdone.count > 0 ? find_heir(entries, &sums) : 0;
    if (heir == 0) {
        give_up(entries, owner, &sums);
        return;
    }
    hand_over(entries, owner, &sums, heir);
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
        if (has)
            remove_mark(entries, flow, direction);
        else
            add_mark(entries, flow, direction);
    }
    return changes;
}

void marker_entries_expect(const struct marker_entries *entries, const struct flowd_flow_key *tuple)
{
    struct marker_sums sums;
    bool forward;

    if (tuple->family != AF_INET6)
        return;
    /* Where both directions are marked, the second one is not worth the time. */
    forward = flowd_host_is_local(entries->host, AF_INET6, &tuple->src);
    sums_of_key(entries, tuple, forward ? MARKER_FORWARD : MARKER_BACKWARD, &sums);
    marker_table_prefetch(&entries->table, &sums);
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

/* Takes the entry away if no flow is behind it. */
static int remove_ended(struct marker_entries *entries, const struct marker_sums *sums)
{
    struct marker_owner *owner = marker_table_find(&entries->table, sums);
    int result = 0;

    if (owner != NULL && owner->ref == 0)
        result = marker_table_remove(&entries->table, owner, sums);
    if (result < 0)
        flowd_log(entries->kept_told ? FLOWD_LOG_DEBUG : FLOWD_LOG_ERROR, "marker",
                  "an entry of the flow map can't be deleted: %s; trying again each second",
                  strerror(-result));
    entries->kept_told |= result < 0;
    return result;
}

/*
 * As long as flows are untold, one of them may need the entry: the sweep sees to it then. What the
 * kernel did not let go stays in the list.
 */
void marker_entries_commit(struct marker_entries *entries)
{
    struct marker_ended_list *ended = &entries->ended;
    size_t kept = 0;

    for (size_t i = 0; i < ended->count && !entries->table.adopted; i++)
        if (remove_ended(entries, &ended->items[i]) < 0)
            ended->items[kept++] = ended->items[i];
    ended->count = kept;
    entries->kept_told = kept > 0;
    if (kept > 0 || ended->capacity <= LIST_KEPT)
        return;
    free(ended->items);
    *ended = (struct marker_ended_list){0};
}

bool marker_entries_unfinished(const struct marker_entries *entries)
{
    return entries->failed.count > 0 || entries->ended.count > 0;
}

size_t marker_entries_written(const struct marker_entries *entries)
{
    return entries->table.count;
}

/* Tries again to write the mark, unless its flow has ended or begun again since. */
static void retry(struct marker_entries *entries, marker_ref ref)
{
    enum marker_direction direction = marker_ref_direction(ref);
    struct flowd_flow *flow = flow_of(entries, ref);
    int result;

    if (flow == NULL || !(flow->directions & HAS_FAILED(direction)))
        return;
    result = write_mark(entries, flow, direction);
    if (result < 0)
        note_failure(entries, flow, direction, result);
    else
        note_success(entries, flow, direction);
}

void marker_entries_retry(struct marker_entries *entries)
{
    struct marker_failed_list failed = entries->failed;

    entries->failed = (struct marker_failed_list){0};
    marker_entries_commit(entries);
    for (size_t i = 0; i < failed.count; i++)
        retry(entries, failed.items[i]);
    free(failed.items);
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
