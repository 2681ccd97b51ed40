/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches all live flows with their samples, page by page, and shows them, once an interval: on the
 * whole screen where there is a terminal, else as one table or JSON document after the other.
 */
#include "top.h"

#include <errno.h>
#include <poll.h>

#include "clock.h"
#include "daemon/base/timestamp.h"
#include "request.h"
#include "screen.h"
#include "top_rows.h"
#include "top_view.h"

/* Small enough for flowd, which does nothing else while it writes a page. */
#define PAGE "500"

struct top {
    const struct flowctl *flowctl;
    bool on_screen;
    struct top_rows rows;
    struct top_view view;
    struct flowd_text text; /* what is being shown */
    struct flowd_error problem;
};

static int take_page(struct top *top, const json_t *page)
{
    int64_t now_ms = clock_now_ms();
    json_t *flow;
    size_t i;

    json_array_foreach (json_object_get(page, "flows"), i, flow) {
        int result = top_rows_take(&top->rows, flow, now_ms);

        if (result < 0)
            return flowd_fail_errno(&top->problem, -result, "a flow of the list");
    }
    return 0;
}

/* Fetches one page; *cursor (owned) is the next one's, NULL: it was the last. */
static int fetch_page(struct top *top, char **cursor)
{
    struct flowd_text path = {0};
    json_t *page = NULL;
    const char *next;
    int result;

    flowd_text_puts(&path, "/v1/flows?samples=true&limit=" PAGE);
    if (*cursor != NULL)
        flowd_text_printf(&path, "&cursor=%s", *cursor);
    flowd_text_char(&path, '\0');
    result = flowd_text_failed(&path) ? flowd_fail_errno(&top->problem, ENOMEM, "request")
                                      : request_json(&top->flowctl->endpoint, "GET", path.data,
                                                     NULL, &page, &top->problem);
    flowd_text_fini(&path);
    if (result == 0)
        result = take_page(top, page);
    free(*cursor);
    next = json_string_value(json_object_get(page, "cursor"));
    *cursor = result == 0 && next != NULL ? strdup(next) : NULL;
    if (result == 0 && next != NULL && *cursor == NULL)
        result = flowd_fail_errno(&top->problem, ENOMEM, "request");
    json_decref(page);
    return result;
}

static int fetch(struct top *top)
{
    char *cursor = NULL;
    int result;

    top_rows_begin(&top->rows);
    do
        result = fetch_page(top, &cursor);
    while (result == 0 && cursor != NULL);
    free(cursor);
    if (result == 0 && top_rows_end(&top->rows, clock_now_ms()) < 0)
        result = flowd_fail_errno(&top->problem, ENOMEM, "rows");
    top->view.problem = result < 0 ? top->problem.message : NULL;
    return result;
}

static int top_show(struct top *top)
{
    const struct flowctl *flowctl = top->flowctl;

    flowd_text_clear(&top->text);
    top_rows_sort(&top->rows, top->view.sort);
    if (top->on_screen) {
        screen_size(&top->view.columns, &top->view.lines);
        top_view_screen(&top->text, &top->rows, &top->view);
        return screen_write(&top->text);
    }
    if (flowctl->json)
        top_view_json(&top->text, &top->rows, flowd_timestamp_now_us());
    else
        top_view_plain(&top->text, &top->rows, &top->view);
    if (flowd_text_failed(&top->text))
        return -ENOMEM;
    fwrite(top->text.data, 1, top->text.length, flowctl->out);
    return fflush(flowctl->out) == 0 ? 0 : -EIO;
}

/* Does what the key is for. Returns false: the user has seen enough. */
static bool obey_key(struct top *top, char key)
{
    switch (key) {
    case 'r':
        top->view.sort = TOP_SORT_RATE;
        break;
    case 't':
        top->view.sort = TOP_SORT_RTT;
        break;
    case 'x':
        top->view.sort = TOP_SORT_RETRANSMISSIONS;
        break;
    case 'q':
    case 'Q':
        return false;
    default:
        break;
    }
    return true;
}

/* Waits for the next refresh. Returns false: there shall be none. */
static bool wait_on_screen(struct top *top, int64_t deadline_ms)
{
    for (;;) {
        char key = '\0';

        switch (screen_wait(deadline_ms, &key)) {
        case SCREEN_TIME:
            return true;
        case SCREEN_GONE:
            return false;
        case SCREEN_KEY:
            if (!obey_key(top, key))
                return false;
            break;
        case SCREEN_RESIZED:
            break;
        }
        if (top_show(top) < 0)
            return false;
    }
}

static void wait_until(int64_t deadline_ms)
{
    int64_t left_ms;

    while ((left_ms = deadline_ms - clock_now_ms()) > 0)
        (void)poll(NULL, 0, (int)left_ms);
}

/* The first refresh has been fetched and is shown, then the others. */
static int top_go_on(struct top *top)
{
    const struct flowctl_refresh *refresh = &top->flowctl->refresh;
    int64_t next_ms = clock_now_ms();
    int result = 0;

    for (uint64_t done = 1;; done++) {
        result = top_show(top);
        if (result < 0 || done == refresh->count)
            return result;
        next_ms += refresh->interval_ms;
        /* A refresh that took longer than the interval is not made up for. */
        if (next_ms < clock_now_ms())
            next_ms = clock_now_ms();
        if (!top->on_screen)
            wait_until(next_ms);
        else if (!wait_on_screen(top, next_ms))
            return 0;
        result = fetch(top);
        /* On a screen the last rows stay, with the reason: flowd may be restarting. */
        if (result < 0 && !top->on_screen)
            return result;
    }
}

enum flowctl_exit top_run(const struct flowctl *flowctl, const char *name, char **arguments)
{
    const struct client_endpoint *endpoint = &flowctl->endpoint;
    struct top top = {
        .flowctl = flowctl,
        .on_screen = !flowctl->json && screen_is_there(),
        .view = {.sort = flowctl->refresh.sort,
                 .where = endpoint->unix_path != NULL ? endpoint->unix_path : endpoint->url}};
    int result = fetch(&top);

    (void)name;
    (void)arguments;
    if (result == 0 && top.on_screen)
        result = screen_open(&top.problem);
    if (result == 0) {
        result = top_go_on(&top);
        if (top.on_screen)
            screen_close();
        if (result < 0 && top.view.problem == NULL)
            flowd_fail_errno(&top.problem, -result, "output");
    }
    if (result < 0)
        flowctl_explain(flowctl, result, &top.problem);
    flowd_text_fini(&top.text);
    top_rows_fini(&top.rows);
    return flowctl_exit_of(result);
}
