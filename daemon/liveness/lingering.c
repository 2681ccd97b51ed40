/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows that linger, in one queue for each delay between two looks at a flow, so that the next to
 * be looked at is always in front of one of them. One timer serves all queues.
 */
#include "daemon/liveness/lingering.h"

#include <errno.h>
#include <stdlib.h>

/* Where memory is short HASH_ADD() leaves the entry out, and its hh.tbl NULL. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/internal.h"
#include "daemon/tcp/tcp_sample.h"

#define DELAY_S 0.1
#define RECENT_US 2000000
#define LOOKS_PER_TURN 1024
/* More than walks and scans may ask: they would leave nothing for what is due, one turn after the
 * other. */
#define QUESTIONS_PER_TURN (2 * FLOWD_LIVENESS_PER_TURN)

struct flowd_lingering_entry {
    uint64_t id;               /* of the flow when it was last looked at */
    struct flowd_flow_key key; /* its flow may end and begin anew with another tag */
    uint32_t interface;
    unsigned level;
    struct flowd_source *source; /* of the end; borrowed */
    int64_t closed_us; /* CLOCK_REALTIME when its connection was seen closed; 0: it was not */
    int64_t heard_us;  /* the flow's last_event_us then */
    double due;        /* the loop's time */
    struct flowd_lingering_entry *prev, *next;
    UT_hash_handle hh;
};

static struct flowd_lingering_entry *lingering_find(const struct flowd_lingering *lingering,
                                                    uint64_t id)
{
    struct flowd_lingering_entry *entry;

    HASH_FIND(hh, lingering->entries, &id, sizeof(id), entry);
    return entry;
}

static void take_out(struct flowd_lingering *lingering, struct flowd_lingering_entry *entry)
{
    HASH_DEL(lingering->entries, entry);
    DL_DELETE(lingering->levels[entry->level], entry);
}

/* Owns the entry, whose id no other one has. Returns 0 or -ENOMEM: it is the caller's still. */
static int put(struct flowd_lingering *lingering, unsigned level,
               struct flowd_lingering_entry *entry)
{
    HASH_ADD(hh, lingering->entries, id, sizeof(entry->id), entry);
    if (entry->hh.tbl == NULL)
        return -ENOMEM;
    entry->level = level;
    entry->due = ev_now(lingering->liveness->context->loop) + DELAY_S * (1 << level);
    DL_APPEND(lingering->levels[level], entry);
    return 0;
}

static void set_timer(struct flowd_lingering *lingering)
{
    struct ev_loop *loop = lingering->liveness->context->loop;
    double due = 0;
    double after;

    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        const struct flowd_lingering_entry *first = lingering->levels[i];

        if (first != NULL && (due == 0 || first->due < due))
            due = first->due;
    }
    if (due == 0)
        return;
    /* Those that follow within some milliseconds are taken along. */
    after = due > ev_now(loop) ? due - ev_now(loop) + 0.01 : 0.01;
    /* It may run for one that waits long already. */
    if (ev_is_active(&lingering->timer) && ev_timer_remaining(loop, &lingering->timer) <= after)
        return;
    ev_timer_stop(loop, &lingering->timer);
    ev_timer_set(&lingering->timer, after, 0);
    ev_timer_start(loop, &lingering->timer);
}

/* A flow with the same key that has just been announced may be of a connection yet to come. */
static bool is_recent(const struct flowd_flow *flow)
{
    return flowd_timestamp_boot_us() - flow->last_event_us < RECENT_US;
}

/* Ends the flow of an entry that is out, as of the time when it was seen closed, if it was. */
static void end(struct flowd_lingering *lingering, const struct flowd_lingering_entry *entry,
                struct flowd_flow *flow)
{
    const struct flowd_ending ending = {.last = FLOWD_LAST_KNOWN, .end_us = entry->closed_us};

    flowd_hub_end_as(lingering->liveness->context->hub, entry->source, flow, &ending);
}

static void note_closed(struct flowd_lingering_entry *entry, const struct flowd_flow *flow)
{
    entry->id = flow->id;
    entry->heard_us = flow->last_event_us;
    entry->closed_us = flowd_timestamp_now_us();
}

/* Whether somebody has announced the flow since its connection was seen closed: for another one. */
static bool is_announced_anew(const struct flowd_lingering_entry *entry,
                              const struct flowd_flow *flow)
{
    return flow->id != entry->id || flow->last_event_us != entry->heard_us;
}

/* Looks again at a flow that was seen closed, with life as below. */
static bool look_at_closed(struct flowd_lingering *lingering, struct flowd_lingering_entry *entry,
                           struct flowd_flow *flow, int life)
{
    lingering->liveness->reused += life == FLOWD_TCP_CONNECTED;
    if (life == FLOWD_TCP_LINGERS) {
        /* Another connection, and this end has closed that one, too. */
        lingering->liveness->reused++;
        entry->closed_us = 0;
        if (put(lingering, 0, entry) == 0)
            return true;
    }
    if (life != FLOWD_TCP_CONNECTED)
        end(lingering, entry, flow);
    return false;
}

/* Whether the flow of an entry that is taken out goes on waiting; it ends if it is over. */
static bool look(struct flowd_lingering *lingering, struct flowd_lingering_entry *entry)
{
    struct flowd_flow *flow = flowd_hub_find_key(lingering->liveness->context->hub, &entry->key);
    unsigned level = entry->level;
    bool unanswered, over;
    int life;

    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE ||
        (entry->closed_us != 0 && is_announced_anew(entry, flow)))
        return false;
    life = flowd_liveness_judge(lingering->liveness, flow, entry->interface, NULL);
    /* The kernel did not say; if it never does, the flow ends as if it had. */
    unanswered = life < 0 && life != -EADDRNOTAVAIL && level + 1 < FLOWD_LINGERING_LEVELS;
    if (entry->closed_us != 0 && !unanswered)
        return look_at_closed(lingering, entry, flow, life);
    if (life == FLOWD_TCP_CONNECTED)
        return false;
    if (unanswered)
        life = FLOWD_TCP_LINGERS;
    over = life != FLOWD_TCP_LINGERS && (entry->id == flow->id || !is_recent(flow));
    if (life == FLOWD_TCP_LINGERS) {
        /* Another tag has made it another flow, which may have been told to wait itself. */
        if (entry->id != flow->id && lingering_find(lingering, flow->id) != NULL)
            return false;
        entry->id = flow->id;
        level = level + 1 < FLOWD_LINGERING_LEVELS ? level + 1 : level;
    } else if (over && life == FLOWD_TCP_CLOSED) {
        if (entry->id != flow->id && lingering_find(lingering, flow->id) != NULL)
            return false;
        note_closed(entry, flow);
        over = false;
        level = 0;
    }
    if (!over && put(lingering, level, entry) == 0)
        return true;
    end(lingering, entry, flow);
    return false;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_lingering *lingering = watcher->data;
    int budget = LOOKS_PER_TURN;

    (void)events;
    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        struct flowd_lingering_entry *entry;

        while (budget > 0 && (entry = lingering->levels[i]) != NULL && entry->due <= ev_now(loop) &&
               lingering->liveness->spent < QUESTIONS_PER_TURN) {
            budget--;
            take_out(lingering, entry);
            if (!look(lingering, entry))
                free(entry);
        }
    }
    set_timer(lingering);
}

void flowd_lingering_init(struct flowd_lingering *lingering, struct flowd_liveness *liveness)
{
    *lingering = (struct flowd_lingering){.liveness = liveness};
    ev_timer_init(&lingering->timer, on_timer, DELAY_S, 0);
    lingering->timer.data = lingering;
}

void flowd_lingering_fini(struct flowd_lingering *lingering)
{
    ev_timer_stop(lingering->liveness->context->loop, &lingering->timer);
    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        struct flowd_lingering_entry *entry;

        while ((entry = lingering->levels[i]) != NULL) {
            take_out(lingering, entry);
            free(entry);
        }
    }
    *lingering = (struct flowd_lingering){0};
}

/* Has a new entry wait for its first look. Without memory its flow ends at once. */
static void add(struct flowd_lingering *lingering, struct flowd_lingering_entry *entry,
                struct flowd_flow *flow)
{
    if (put(lingering, 0, entry) == 0) {
        set_timer(lingering);
        return;
    }
    end(lingering, entry, flow);
    free(entry);
}

static void add_new(struct flowd_lingering *lingering, const struct flowd_lingering_entry *like,
                    struct flowd_flow *flow)
{
    struct flowd_lingering_entry *entry = malloc(sizeof(*entry));

    if (entry == NULL) {
        end(lingering, like, flow);
        return;
    }
    *entry = *like;
    add(lingering, entry, flow);
}

void flowd_lingering_add(struct flowd_lingering *lingering, struct flowd_source *source,
                         struct flowd_flow *flow, uint32_t interface)
{
    const struct flowd_lingering_entry entry = {
        .id = flow->id, .key = flow->key, .interface = interface, .source = source};

    if (!flowd_lingering_has(lingering, flow))
        add_new(lingering, &entry, flow);
}

bool flowd_lingering_add_closed(struct flowd_lingering *lingering, struct flowd_source *source,
                                struct flowd_flow *flow, uint32_t interface)
{
    struct flowd_lingering_entry *known = lingering_find(lingering, flow->id);
    struct flowd_lingering_entry entry = {
        .key = flow->key, .interface = interface, .source = source};

    if (known != NULL && known->closed_us != 0)
        return false;
    if (known != NULL) {
        take_out(lingering, known);
        known->source = source;
        note_closed(known, flow);
        add(lingering, known, flow);
        return true;
    }
    note_closed(&entry, flow);
    add_new(lingering, &entry, flow);
    return true;
}

void flowd_lingering_end(struct flowd_lingering *lingering, struct flowd_flow *flow)
{
    struct flowd_lingering_entry *entry = lingering_find(lingering, flow->id);

    if (entry == NULL)
        return;
    take_out(lingering, entry);
    end(lingering, entry, flow);
    free(entry);
}

/*
 * Who is told of the flow's close himself. He has been told already, maybe, and left the flow to
 * the entry that came first. NULL: nobody is.
 */
static struct flowd_source *follower_of(const struct flowd_lingering *lingering,
                                        const struct flowd_lingering_entry *entry)
{
    struct flowd_hub *hub = lingering->liveness->context->hub;
    const struct flowd_flow *flow = flowd_hub_find(hub, entry->id);
    struct flowd_source *source = flow != NULL ? flowd_hub_source_of(hub, flow) : NULL;

    return source != NULL && source->follows_sockets ? source : NULL;
}

void flowd_lingering_forget(struct flowd_lingering *lingering, const struct flowd_source *source)
{
    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        struct flowd_lingering_entry *entry = lingering->levels[i];

        while (entry != NULL) {
            struct flowd_lingering_entry *next = entry->next;

            if (entry->source == source)
                entry->source = follower_of(lingering, entry);
            if (entry->source == NULL || entry->source == source) {
                take_out(lingering, entry);
                free(entry);
            }
            entry = next;
        }
    }
}

bool flowd_lingering_has(const struct flowd_lingering *lingering, const struct flowd_flow *flow)
{
    return lingering_find(lingering, flow->id) != NULL;
}

size_t flowd_lingering_count(const struct flowd_lingering *lingering)
{
    return HASH_COUNT(lingering->entries);
}
