/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of those who wait for a commit. Who comes while others are told waits for the next
 * commit. Whoever may go away before has to take himself off.
 */
#include "daemon/hub/waiters.h"

#include <assert.h>
#include <stddef.h>
#include <utlist.h>

void flowd_waiters_add(struct flowd_waiters *waiters, struct flowd_waiter *waiter)
{
    assert(!waiter->waiting);
    waiter->waiting = true;
    waiter->turn = waiters->turn;
    DL_APPEND2(waiters->first, waiter, previous, next);
}

void flowd_waiters_remove(struct flowd_waiters *waiters, struct flowd_waiter *waiter)
{
    if (!waiter->waiting)
        return;
    DL_DELETE2(waiters->first, waiter, previous, next);
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
