/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for a commit: told once, in the order in which they came.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Embedded in its owner. committed is called after the next commit; then the waiter is forgotten.
 */
struct flowd_waiter {
    void (*committed)(struct flowd_waiter *waiter);
    struct flowd_waiter *next; /* the queue's, as what follows */
    struct flowd_waiter *previous;
    uint64_t turn;
    bool waiting;
};

/* Zero-initialised is empty. */
struct flowd_waiters {
    struct flowd_waiter *first;
    uint64_t turn; /* commits so far */
};

/* A waiter waits once; waiting again is an error. */
void flowd_waiters_add(struct flowd_waiters *waiters, struct flowd_waiter *waiter);
void flowd_waiters_remove(struct flowd_waiters *waiters, struct flowd_waiter *waiter);
/* A commit begins: who is there now is told when it is done. */
void flowd_waiters_begin(struct flowd_waiters *waiters);
/* The commit is done. Those who came since it began wait for the next. */
void flowd_waiters_tell(struct flowd_waiters *waiters);
