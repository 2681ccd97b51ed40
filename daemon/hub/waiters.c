/*
 * The queue of those who wait for a commit. Who comes while others are told waits for the next
 * commit. Whoever may go away before has to take himself off.
 */
#include "daemon/hub/waiters.h"

#include <assert.h>
#include <stddef.h>

void flowd_waiters_init(struct flowd_waiters *waiters)
{
    *waiters = (struct flowd_waiters){.end = &waiters->first};
}

void flowd_waiters_add(struct flowd_waiters *waiters, struct flowd_waiter *waiter)
{
    assert(!waiter->waiting);
    waiter->waiting = true;
    waiter->turn = waiters->turn;
    waiter->next = NULL;
    *waiters->end = waiter;
    waiters->end = &waiter->next;
}

void flowd_waiters_remove(struct flowd_waiters *waiters, struct flowd_waiter *waiter)
{
    struct flowd_waiter **at = &waiters->first;

    if (!waiter->waiting)
        return;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (waiter->next == NULL)
        waiters->end = at;
    waiter->waiting = false;
}

void flowd_waiters_begin(struct flowd_waiters *waiters)
{
    waiters->turn++;
}

void flowd_waiters_tell(struct flowd_waiters *waiters)
{
    while (waiters->first != NULL && waiters->first->turn < waiters->turn) {
        struct flowd_waiter *waiter = waiters->first;

        flowd_waiters_remove(waiters, waiter);
        waiter->committed(waiter);
    }
}
