/*
 * One queue for each delay, so that the next to be looked at is always in front of one of them.
 */
#include "daemon/lingering.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/flow_socket.h"
#include "daemon/hub.h"
#include "daemon/tcp_sample.h"
#include "daemon/timestamp.h"

#define DELAY_S 0.1
#define RECENT_US 2000000
#define CAPACITY_MIN 64
#define PER_TURN 1024

struct flowd_lingering_entry {
    struct flowd_flow_key key; /* its flow may end and begin anew with another tag */
    uint64_t id;               /* of the flow when it was last looked at */
    uint32_t interface;
    double due; /* the loop's time */
};

static bool make_room(struct flowd_lingering_level *level)
{
    size_t capacity = level->capacity > 0 ? level->capacity * 2 : CAPACITY_MIN;
    struct flowd_lingering_entry *entries;

    if (level->first > 0 && level->first >= level->capacity / 2) {
        memmove(level->entries, level->entries + level->first,
                level->count * sizeof(*level->entries));
        level->first = 0;
    }
    if (level->first + level->count < level->capacity)
        return true;
    entries = realloc(level->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return false;
    level->entries = entries;
    level->capacity = capacity;
    return true;
}

/* entry.due is set here. */
static bool push(struct flowd_lingering *lingering, unsigned number,
                 struct flowd_lingering_entry entry)
{
    struct flowd_lingering_level *level = &lingering->levels[number];

    if (!make_room(level))
        return false;
    entry.due = ev_now(lingering->context->loop) + DELAY_S * (1 << number);
    level->entries[level->first + level->count++] = entry;
    return true;
}

static void pop(struct flowd_lingering_level *level)
{
    level->first++;
    if (--level->count > 0)
        return;
    free(level->entries);
    *level = (struct flowd_lingering_level){0};
}

static void set_timer(struct flowd_lingering *lingering)
{
    struct ev_loop *loop = lingering->context->loop;
    double due = 0;
    double after;

    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        const struct flowd_lingering_level *level = &lingering->levels[i];

        if (level->count > 0 && (due == 0 || level->entries[level->first].due < due))
            due = level->entries[level->first].due;
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

/* Looks at one flow again. */
static void look(struct flowd_lingering *lingering, unsigned number,
                 struct flowd_lingering_entry entry)
{
    const struct flowd_context *context = lingering->context;
    struct flowd_flow *flow = flowd_hub_find_key(context->hub, &entry.key);
    unsigned next = number + 1 < FLOWD_LINGERING_LEVELS ? number + 1 : number;
    int life;

    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE)
        return;
    life = flowd_flow_socket_life(lingering->diag, context->host, &entry.key, entry.interface);
    if (life == FLOWD_TCP_CONNECTED)
        return;
    if (life != FLOWD_TCP_LINGERS) {
        if (entry.id != flow->id && is_recent(flow) && push(lingering, number, entry))
            return;
    } else {
        entry.id = flow->id;
        if (push(lingering, next, entry))
            return;
    }
    lingering->ended++;
    flowd_hub_end(context->hub, lingering->source, flow, NULL);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_lingering *lingering = watcher->data;
    int budget = PER_TURN;

    (void)events;
    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        struct flowd_lingering_level *level = &lingering->levels[i];

        while (budget > 0 && level->count > 0 && level->entries[level->first].due <= ev_now(loop)) {
            struct flowd_lingering_entry entry = level->entries[level->first];

            budget--;
            pop(level);
            look(lingering, i, entry);
        }
    }
    set_timer(lingering);
}

void flowd_lingering_init(struct flowd_lingering *lingering, const struct flowd_context *context,
                          struct flowd_sock_diag *diag, struct flowd_source *source)
{
    *lingering = (struct flowd_lingering){.context = context, .diag = diag, .source = source};
    ev_timer_init(&lingering->timer, on_timer, DELAY_S, 0);
    lingering->timer.data = lingering;
}

void flowd_lingering_fini(struct flowd_lingering *lingering)
{
    if (lingering->context == NULL)
        return;
    ev_timer_stop(lingering->context->loop, &lingering->timer);
    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++)
        free(lingering->levels[i].entries);
    *lingering = (struct flowd_lingering){0};
}

void flowd_lingering_add(struct flowd_lingering *lingering, struct flowd_flow *flow,
                         uint32_t interface)
{
    const struct flowd_lingering_entry entry = {
        .key = flow->key, .id = flow->id, .interface = interface};

    if (push(lingering, 0, entry)) {
        set_timer(lingering);
        return;
    }
    lingering->ended++;
    flowd_hub_end(lingering->context->hub, lingering->source, flow, NULL);
}

bool flowd_lingering_has(const struct flowd_lingering *lingering, const struct flowd_flow *flow)
{
    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++) {
        const struct flowd_lingering_level *level = &lingering->levels[i];

        for (size_t n = level->first; n < level->first + level->count; n++)
            if (level->entries[n].id == flow->id)
                return true;
    }
    return false;
}

size_t flowd_lingering_count(const struct flowd_lingering *lingering)
{
    size_t count = 0;

    for (unsigned i = 0; i < FLOWD_LINGERING_LEVELS; i++)
        count += lingering->levels[i].count;
    return count;
}
