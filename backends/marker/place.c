/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of flowd's place in the chain: see place.h. Whether a program ends the chain can't be
 * read from it, so what stands before flowd's is taken to do so until the program behind it marks
 * packets of flows. A neighbour that wants the head for itself is not fought for long.
 */
#include "place.h"

#include <string.h>

#include "attach.h"
#include "daemon/base/log.h"
#include "hook.h"

/* A return to the head that lasted this long counts as one that was accepted. */
#define LASTING_S 30.0
/* So many returns at once; then each waits twice as long as the one before. */
#define MOVES_AT_ONCE 10u
#define WAIT_S 60.0
#define DOUBLINGS_MAX 6u
/* For so long after a flow's packet was marked the chain is taken to be open. */
#define REACHED_FOR_S 300.0

static bool may_move(const struct marker_place *place, double now_s)
{
    unsigned doublings;

    if (place->moves < MOVES_AT_ONCE)
        return true;
    doublings = place->moves - MOVES_AT_ONCE;
    if (doublings > DOUBLINGS_MAX)
        doublings = DOUBLINGS_MAX;
    return now_s - place->moved_s >= WAIT_S * (double)(1u << doublings);
}

/* Says that what stood before flowd's program does so no more, or only part of it. */
static void say_moved(const struct marker_interface *interface, const struct marker_front *before,
                      const struct marker_front *after)
{
    if (after->count == 0)
        flowd_info("marker", "interface %s: %s stood before flowd's program, which is first again",
                   interface->name, before->first);
    else
        flowd_info("marker", "interface %s: flowd's program is first among its like, behind %s",
                   interface->name, after->first);
}

/* Goes back to the head if that is allowed; front is then what is still before it. */
static void return_to_head(struct marker_attach *attach, struct marker_interface *interface,
                           struct marker_front *front, double now_s)
{
    struct marker_place *place = &interface->place;
    struct marker_front after = {0};
    int result;

    if (front->movable == 0) {
        if (place->moves > 0 && now_s - place->moved_s >= LASTING_S)
            place->moves = 0;
        return;
    }
    if (!may_move(place, now_s))
        return;
    place->moves++;
    place->moved_s = now_s;
    result = marker_hook_move_first(attach, interface);
    if (result == 0)
        result = marker_hook_look(attach, interface, &after);
    if (result < 0)
        flowd_debug("marker", "interface %s: can't get before %s: %s", interface->name,
                    front->first, strerror(-result));
    if (result == 0 && after.movable < front->movable) {
        say_moved(interface, front, &after);
        *front = after;
    } else if (place->moves < MOVES_AT_ONCE) {
        /* It won't be different the next time. */
        place->moves = MOVES_AT_ONCE;
    }
}

static uint64_t count_marked(const struct marker_attach *attach,
                             const struct marker_interface *interface)
{
    uint32_t slot = (uint32_t)interface->index % FLOWD_MARKER_INTERFACE_SLOTS;
    struct flowd_marker_counters counters = {0};

    marker_program_counters(attach->program, slot, &counters);
    return counters.packets[FLOWD_MARKER_MARKED];
}

/* Whether packets of flows are marked behind what stands there. */
static bool is_reached(const struct marker_attach *attach, struct marker_interface *interface,
                       bool same_front, double now_s)
{
    struct marker_place *place = &interface->place;
    uint64_t marked = count_marked(attach, interface);

    if (!same_front)
        place->reached_s = 0;
    else if (marked > place->marked)
        place->reached_s = now_s;
    place->marked = marked;
    return place->reached_s > 0 && now_s - place->reached_s < REACHED_FOR_S;
}

static void say(const struct marker_interface *interface)
{
    const struct marker_place *place = &interface->place;

    if (!place->shadowed)
        flowd_info("marker",
                   place->front.count > 0 ? "interface %s: packets of flows are marked behind %s"
                                          : "interface %s: nothing stands before flowd's program%s",
                   interface->name, place->front.first);
    else
        flowd_log(place->warned ? FLOWD_LOG_INFO : FLOWD_LOG_WARNING, "marker",
                  "interface %s: shadowed by %s, which flowd can't get before: packets may leave "
                  "unmarked (bpftool net show dev %s; tc filter show dev %s egress)",
                  interface->name, place->front.first, interface->name, interface->name);
}

bool marker_place_check(struct marker_attach *attach, struct marker_interface *interface,
                        double now_s)
{
    struct marker_place *place = &interface->place;
    struct marker_front front = {0};
    bool was_shadowed = place->shadowed, same_front;

    place->doubted = false;
    place->looked_s = now_s;
    if (marker_hook_look(attach, interface, &front) < 0)
        return false;
    return_to_head(attach, interface, &front, now_s);
    same_front = strcmp(front.first, place->front.first) == 0;
    if (!same_front)
        place->warned = false;
    place->front = front;
    place->shadowed = front.count > 0 && !is_reached(attach, interface, same_front, now_s);
    if (place->shadowed != was_shadowed || (place->shadowed && !same_front))
        say(interface);
    place->warned |= place->shadowed;
    return true;
}
