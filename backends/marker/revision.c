/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk that revises all marks, in turns. A change of a mark weighs as much as some looks at
 * flows, so that a turn is about as long whether no flow is concerned or each.
 */
#include "revision.h"

#include <stddef.h>

#include "daemon/base/log.h"
#include "daemon/net/host.h"
#include "entries.h"

/* Of one change, in looks at a record: the flow map's lines are in no cache. */
#define CHANGE_WORK 24u
/* Of one question to the kernel whether an address is local. */
#define QUESTION_WORK 100u

static struct marker_revision *revision_of(struct flowd_walk *walk)
{
    return (struct marker_revision *)((char *)walk - offsetof(struct marker_revision, walk));
}

static uint32_t visit(struct flowd_walk *walk, struct flowd_flow *flow)
{
    struct marker_revision *revision = revision_of(walk);
    uint32_t before = flowd_host_asked(revision->entries->host);
    unsigned changes = marker_entries_reconsider(revision->entries, flow);
    uint32_t asked = flowd_host_asked(revision->entries->host) - before;

    revision->looked_at++;
    revision->changed += changes;
    return changes * CHANGE_WORK + asked * QUESTION_WORK;
}

static void rest(struct flowd_walk *walk, bool over)
{
    struct marker_revision *revision = revision_of(walk);

    revision->turns++;
    marker_entries_commit(revision->entries);
    revision->committed(revision);
    if (over)
        flowd_debug("marker",
                    "addresses changed: %llu flows looked at, %llu marks changed, in %llu turns",
                    (unsigned long long)revision->looked_at, (unsigned long long)revision->changed,
                    (unsigned long long)revision->turns);
}

void marker_revision_init(struct marker_revision *revision, struct ev_loop *loop,
                          struct marker_entries *entries,
                          void (*committed)(struct marker_revision *revision))
{
    *revision = (struct marker_revision){.entries = entries, .committed = committed};
    flowd_walk_init(&revision->walk, loop, entries->hub, visit, rest);
}

void marker_revision_start(struct marker_revision *revision)
{
    if (!flowd_walk_is_running(&revision->walk))
        revision->looked_at = revision->changed = revision->turns = 0;
    flowd_walk_start(&revision->walk, 0);
}

void marker_revision_stop(struct marker_revision *revision)
{
    flowd_walk_stop(&revision->walk);
}
