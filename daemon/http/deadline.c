/*
 * Ordered deadline lists. All deadlines of a list have the same length, so the one that was set
 * last falls due last and belongs at the end.
 */
#include "deadline.h"

#include <stddef.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void start_timer(struct flowd_http_deadlines *list, int64_t after_ms)
{
    ev_timer_set(&list->timer, (double)(after_ms > 1 ? after_ms : 1) / 1000.0, 0.0);
    ev_timer_start(list->loop, &list->timer);
}

static void timer_fired(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct flowd_http_deadlines *list = timer->data;
    int64_t now = now_ms();

    (void)loop;
    (void)events;
    while (list->first != NULL && list->first->due_ms <= now) {
        struct flowd_http_deadline *deadline = list->first;

        flowd_http_deadline_clear(deadline);
        list->expired(deadline);
    }
    if (list->first != NULL && !ev_is_active(&list->timer))
        start_timer(list, list->first->due_ms - now);
}

void flowd_http_deadlines_init(struct flowd_http_deadlines *list, struct ev_loop *loop,
                               int64_t length_ms,
                               void (*expired)(struct flowd_http_deadline *deadline))
{
    *list = (struct flowd_http_deadlines){
        .loop = loop,
        .length_ms = length_ms,
        .expired = expired,
    };
    ev_init(&list->timer, timer_fired);
    list->timer.data = list;
}

void flowd_http_deadlines_fini(struct flowd_http_deadlines *list)
{
    while (list->first != NULL)
        flowd_http_deadline_clear(list->first);
    ev_timer_stop(list->loop, &list->timer);
}

void flowd_http_deadline_set(struct flowd_http_deadlines *list,
                             struct flowd_http_deadline *deadline)
{
    flowd_http_deadline_clear(deadline);
    deadline->list = list;
    deadline->due_ms = now_ms() + list->length_ms;
    deadline->previous = list->last;
    deadline->next = NULL;
    if (list->last != NULL)
        list->last->next = deadline;
    else
        list->first = deadline;
    list->last = deadline;
    if (!ev_is_active(&list->timer))
        start_timer(list, list->length_ms);
}

void flowd_http_deadline_clear(struct flowd_http_deadline *deadline)
{
    struct flowd_http_deadlines *list = deadline->list;

    if (list == NULL)
        return;
    if (deadline->previous != NULL)
        deadline->previous->next = deadline->next;
    else
        list->first = deadline->next;
    if (deadline->next != NULL)
        deadline->next->previous = deadline->previous;
    else
        list->last = deadline->previous;
    deadline->previous = NULL;
    deadline->next = NULL;
    deadline->list = NULL;
}
