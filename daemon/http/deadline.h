/*
 * Deadlines of one length, kept in a list in the order in which they fall due, with one timer for
 * all of them. Setting and clearing cost a few stores; the timer is only touched when it fires.
 */
#pragma once

#include <ev.h>
#include <stdint.h>

struct flowd_http_deadlines;

/* Embedded in what is to be timed. Zero-initialised is not set. */
struct flowd_http_deadline {
    struct flowd_http_deadline *previous;
    struct flowd_http_deadline *next;
    struct flowd_http_deadlines *list; /* NULL: not set */
    int64_t due_ms;                    /* CLOCK_MONOTONIC */
};

struct flowd_http_deadlines {
    ev_timer timer;
    struct ev_loop *loop;
    int64_t length_ms;
    struct flowd_http_deadline *first;
    struct flowd_http_deadline *last;
    void (*expired)(struct flowd_http_deadline *deadline);
};

/* expired() is called with the deadline already cleared. */
void flowd_http_deadlines_init(struct flowd_http_deadlines *list, struct ev_loop *loop,
                               int64_t length_ms,
                               void (*expired)(struct flowd_http_deadline *deadline));
void flowd_http_deadlines_fini(struct flowd_http_deadlines *list);

/* The deadline falls due after the list's length, counted from this call. */
void flowd_http_deadline_set(struct flowd_http_deadlines *list,
                             struct flowd_http_deadline *deadline);
void flowd_http_deadline_clear(struct flowd_http_deadline *deadline);
