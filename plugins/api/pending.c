/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From submitted events to one answer. Structs of answered requests are kept for the next ones: a
 * busy API allocates nothing for a request.
 */
#include "pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/base/vector.h"
#include "flow_json.h"

/* Item lists longer than this are given back. */
#define ITEMS_KEPT 64
#define REASONS_KEPT 16384
/* So many events before an event is submitted, its flow's look-up begins. */
#define AHEAD 4

struct api_pending *api_pending_new(struct api *api, struct flowd_http_exchange *exchange)
{
    struct api_pending *pending = api->spare;

    if (pending != NULL)
        api->spare = pending->next;
    else
        pending = calloc(1, sizeof(*pending));
    if (pending == NULL) {
        flowd_http_answer_problem(exchange, 503, NULL, NULL, "out of memory");
        return NULL;
    }
    pending->api = api;
    pending->exchange = exchange;
    pending->count = 0;
    flowd_text_clear(&pending->reasons);
    return pending;
}

struct api_item *api_pending_add(struct api_pending *pending)
{
    if (flowd_vector_reserve(&pending->items, &pending->capacity, pending->count + 1) < 0)
        return NULL;
    return &pending->items[pending->count++];
}

void api_pending_drop(struct api_pending *pending)
{
    struct api *api = pending->api;

    if (pending->capacity > ITEMS_KEPT) {
        free(pending->items);
        pending->items = NULL;
        pending->capacity = 0;
    }
    if (pending->reasons.capacity > REASONS_KEPT)
        flowd_text_fini(&pending->reasons);
    pending->next = api->spare;
    api->spare = pending;
}

static int status_of_refusal(int error)
{
    return error == -EINVAL || error == -ERANGE || error == -ENOENT ? 422 : 503;
}

static void submit(struct api_pending *pending, struct api_item *item)
{
    struct api *api = pending->api;
    struct flowd_error err;
    int result = flowd_hub_submit(api->context->hub, api->source, &item->event, &item->flow, &err);

    if (result < 0)
        api_item_refuse_error(item, &pending->reasons, status_of_refusal(result), &err);
    else
        item->result = (uint8_t)result;
}

void api_pending_submit(struct api_pending *pending)
{
    for (size_t i = 0; i < pending->count; i++) {
        if (i + AHEAD < pending->count && pending->items[i + AHEAD].status == 0)
            flowd_hub_prefetch(pending->api->context->hub, &pending->items[i + AHEAD].event);
        if (pending->items[i].status == 0)
            submit(pending, &pending->items[i]);
        else
            pending->api->source->malformed++;
    }
}

static void on_committed(struct flowd_waiter *waiter)
{
    struct api_pending *pending =
        (struct api_pending *)((char *)waiter - offsetof(struct api_pending, waiter));

    DL_DELETE2(pending->api->pending, pending, previous, next);
    pending->answer(pending);
    api_pending_drop(pending);
}

void api_pending_finish(struct api_pending *pending, api_pending_answer *answer)
{
    struct api *api = pending->api;
    bool submitted = false;

    for (size_t i = 0; i < pending->count && !submitted; i++)
        submitted = pending->items[i].status == 0;
    pending->answer = answer;
    if (!submitted) {
        answer(pending);
        api_pending_drop(pending);
        return;
    }
    DL_PREPEND2(api->pending, pending, previous, next);
    pending->waiter.committed = on_committed;
    flowd_hub_wait(api->context->hub, &pending->waiter);
}

void api_pending_cancel(struct api *api, struct flowd_http_exchange *exchange)
{
    struct api_pending *pending;

    DL_SEARCH_SCALAR2(api->pending, pending, exchange, exchange, next);
    if (pending == NULL)
        return;
    flowd_hub_unwait(api->context->hub, &pending->waiter);
    DL_DELETE2(api->pending, pending, previous, next);
    api_pending_drop(pending);
}

void api_pending_fini(struct api *api)
{
    while (api->spare != NULL) {
        struct api_pending *pending = api->spare;

        api->spare = pending->next;
        free(pending->items);
        flowd_text_fini(&pending->reasons);
        free(pending);
    }
}

int api_item_status(const struct api *api, const struct api_item *item)
{
    const char *status;

    if (item->status != 0)
        return item->status;
    if (item->flow != NULL && api_failed_backend(api->context->hub, item->flow, &status) != NULL)
        return 503;
    return item->result == FLOWD_STARTED || item->result == FLOWD_RESTARTED ? 201 : 200;
}

static void write_refusal(struct flowd_text *text, const struct api_pending *pending,
                          const struct api_item *item)
{
    const char *reasons = pending->reasons.data;

    flowd_http_problem_write(
        text, item->status, item->field.length > 0 ? reasons + item->field.at : NULL,
        item->field.length, reasons + item->detail.at, item->detail.length, false);
}

/* The flow stays live and the backend tries again, but nothing is promised. */
static void write_failure(struct flowd_text *text, const struct api_pending *pending,
                          const struct api_item *item)
{
    const struct flowd_hub *hub = pending->api->context->hub;
    const char *status = NULL;
    const char *backend = api_failed_backend(hub, item->flow, &status);
    struct flowd_error detail;

    flowd_fail(&detail, EIO, "%s: %s; the flow is known and it is tried again", backend, status);
    flowd_http_problem_write(text, 503, NULL, 0, detail.message, strlen(detail.message), true);
    flowd_text_puts(text, ",\"flow\":");
    api_flow_write(text, pending->api->context, item->flow, false);
    flowd_text_char(text, '}');
}

int api_item_write(struct flowd_text *text, const struct api_pending *pending,
                   const struct api_item *item, bool with_status)
{
    int status = api_item_status(pending->api, item);

    if (item->status != 0) {
        write_refusal(text, pending, item);
        return status;
    }
    if (status == 503) {
        write_failure(text, pending, item);
        return status;
    }
    if (item->flow != NULL)
        api_flow_write(text, pending->api->context, item->flow, true);
    else
        api_event_write(text, pending->api->context, &item->event, true);
    flowd_text_puts(text, ",\"result\":\"");
    flowd_text_puts(text, flowd_result_names[item->result]);
    flowd_text_char(text, '"');
    if (with_status) {
        flowd_text_puts(text, ",\"status\":");
        flowd_text_u64(text, (uint64_t)status);
    }
    flowd_text_char(text, '}');
    return status;
}
