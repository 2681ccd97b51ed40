/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that change flows: POST of one event or of an array, DELETE, and flowd-go's forms.
 *
 * A body is read to its end before its first event is submitted: a text that turns out to be no
 * JSON changes nothing.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "flow_json.h"
#include "pending.h"

typedef int read_event(struct flowd_json *json, const struct api_event_context *context,
                       struct api_item *item);

static const char json_media_type[] = "application/json";

static const char *type_of(int status)
{
    return status >= 400 ? "application/problem+json" : json_media_type;
}

static void answer_one(struct api_pending *pending)
{
    const struct api_item *item = &pending->items[0];
    struct flowd_text *body = flowd_http_body(pending->exchange);
    int status = api_item_write(body, pending, item, false);
    char location[] = "Location: /v1/flows/0123456789abcdef\r\n";
    char *id = location + sizeof("Location: /v1/flows/") - 1;

    if (status == 201) {
        flowd_flow_id_format(item->flow->id, id);
        id[FLOWD_FLOW_ID_SIZE - 1] = '\r'; /* in the place of its NUL */
    }
    flowd_http_answer(pending->exchange, status, type_of(status), status == 201 ? location : NULL);
}

static void answer_array(struct api_pending *pending)
{
    struct flowd_text *body = flowd_http_body(pending->exchange);

    flowd_text_char(body, '[');
    for (size_t i = 0; i < pending->count; i++) {
        if (i > 0)
            flowd_text_char(body, ',');
        api_item_write(body, pending, &pending->items[i], true);
    }
    flowd_text_char(body, ']');
    flowd_http_answer(pending->exchange, 200, json_media_type, NULL);
}

/* As flowd-go, which gave the event back; what the request does not know is the flow's. */
static void answer_go(struct api_pending *pending)
{
    const struct api_item *item = &pending->items[0];
    struct flowd_text *body = flowd_http_body(pending->exchange);
    int status = api_item_status(pending->api, item);

    if (status >= 400)
        api_item_write(body, pending, item, false);
    else
        api_item_write_go(body, item);
    flowd_http_answer(pending->exchange, status < 400 ? 200 : status, type_of(status), NULL);
}

static void answer_malformed(struct api *api, struct flowd_http_exchange *exchange,
                             const struct flowd_json *json)
{
    struct flowd_error detail;

    api->source->malformed++;
    flowd_fail(&detail, EBADMSG, "%s%sline %u, column %u: %s",
               json->error_field != NULL ? json->error_field : "",
               json->error_field != NULL ? ": " : "", json->error_line, json->error_column,
               json->error != NULL ? json->error : "not JSON");
    flowd_http_answer_problem(exchange, 400, NULL, json->error_field, detail.message);
}

/* Reads an array's events. Returns 0, -EBADMSG, -E2BIG or -ENOMEM. */
static int read_array(struct api_pending *pending, struct flowd_json *json,
                      const struct api_event_context *context)
{
    struct flowd_json_value opening;
    bool first = true;
    int more = flowd_json_value(json, &opening);

    if (more != 0)
        return more;
    while ((more = flowd_json_element(json, first)) > 0) {
        struct api_item *item = pending->count < API_EVENTS_MAX ? api_pending_add(pending) : NULL;

        first = false;
        if (item == NULL)
            return pending->count == API_EVENTS_MAX ? -E2BIG : -ENOMEM;
        if (api_event_read(json, context, item) != 0)
            return -EBADMSG;
    }
    return more;
}

static int read_one(struct api_pending *pending, struct flowd_json *json,
                    const struct api_event_context *context, read_event *read)
{
    struct api_item *item = api_pending_add(pending);

    return item != NULL ? read(json, context, item) : -ENOMEM;
}

static bool begins_array(const struct flowd_http_request *request)
{
    for (size_t i = 0; i < request->body_length; i++)
        if (strchr(" \t\r\n", request->body[i]) == NULL || request->body[i] == '\0')
            return request->body[i] == '[';
    return false;
}

static void answer_unread(struct api *api, struct flowd_http_exchange *exchange,
                          const struct flowd_json *json, int result)
{
    if (result == -E2BIG)
        flowd_http_answer_problem(exchange, 413, NULL, NULL,
                                  "an array may have at most 10000 events");
    else if (result == -ENOMEM)
        flowd_http_answer_problem(exchange, 503, NULL, NULL, "out of memory");
    else
        answer_malformed(api, exchange, json);
}

static void post(struct api *api, struct flowd_http_exchange *exchange,
                 const struct flowd_http_request *request, read_event *read, bool arrays,
                 api_pending_answer *answer)
{
    struct api_pending *pending = api_pending_new(api, exchange);
    struct api_event_context context;
    struct flowd_json json;
    bool array = arrays && begins_array(request);
    int result;

    if (pending == NULL)
        return;
    context = (struct api_event_context){.registry = api->context->registry,
                                         .now_us = flowd_timestamp_now_us(),
                                         .reasons = &pending->reasons};
    flowd_json_begin(&json, request->body, request->body_length);
    result =
        array ? read_array(pending, &json, &context) : read_one(pending, &json, &context, read);
    if (result == 0)
        result = flowd_json_finish(&json);
    if (result == 0 && flowd_text_failed(&pending->reasons))
        result = -ENOMEM;
    if (result != 0) {
        answer_unread(api, exchange, &json, result);
        api_pending_drop(pending);
        return;
    }
    api_pending_submit(pending);
    api_pending_finish(pending, array ? answer_array : answer);
}

void api_flows_post(struct api *api, struct flowd_http_exchange *exchange,
                    const struct flowd_http_request *request)
{
    post(api, exchange, request, api_event_read, true, answer_one);
}

void api_go_post(struct api *api, struct flowd_http_exchange *exchange,
                 const struct flowd_http_request *request)
{
    post(api, exchange, request, api_event_read_go, false, answer_go);
}

/* A pending request of one item. NULL: no memory, and the answer was given. */
static struct api_pending *begin_one(struct api *api, struct flowd_http_exchange *exchange,
                                     struct api_item **item)
{
    struct api_pending *pending = api_pending_new(api, exchange);

    if (pending == NULL)
        return NULL;
    *item = api_pending_add(pending);
    if (*item != NULL)
        return pending;
    flowd_http_answer_problem(exchange, 503, NULL, NULL, "out of memory");
    api_pending_drop(pending);
    return NULL;
}

void api_flow_delete(struct api *api, struct flowd_http_exchange *exchange,
                     const struct flowd_http_request *request)
{
    struct flowd_flow *flow = api_flow_of_path(api, request);
    struct api_pending *pending;
    struct api_item *item;

    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE) {
        flowd_http_answer_problem(exchange, 404, NULL, NULL, "no live flow has this id");
        return;
    }
    pending = begin_one(api, exchange, &item);
    if (pending == NULL)
        return;
    *item = (struct api_item){.flow = flow, .result = FLOWD_ENDED};
    flowd_hub_end(api->context->hub, api->source, flow);
    api_pending_finish(pending, answer_one);
}

/*
 * flowd-go's fixed flow, to try the API with a browser. A GET needs no leave of a browser: a page
 * from elsewhere must not have it sent.
 */
static void dummy(struct api *api, struct flowd_http_exchange *exchange,
                  const struct flowd_http_request *request, enum flowd_event_state state)
{
    const struct flowd_event event = {
        .state = state,
        .key = {.src = IN6ADDR_LOOPBACK_INIT,
                .dst = IN6ADDR_LOOPBACK_INIT,
                .src_port = 2345,
                .dst_port = 5777,
                .family = AF_INET6,
                .protocol = IPPROTO_TCP},
        .experiment = 1,
        .activity = 1,
    };
    struct api_pending *pending;
    struct api_item *item;

    if (api_is_cross_site(request)) {
        flowd_http_answer_problem(exchange, 403, NULL, NULL,
                                  "a page from elsewhere may not start or end flows");
        return;
    }
    pending = begin_one(api, exchange, &item);
    if (pending == NULL)
        return;
    *item = (struct api_item){.event = event};
    api_pending_submit(pending);
    api_pending_finish(pending, answer_one);
}

void api_dummy_start(struct api *api, struct flowd_http_exchange *exchange,
                     const struct flowd_http_request *request)
{
    dummy(api, exchange, request, FLOWD_EVENT_START);
}

void api_dummy_end(struct api *api, struct flowd_http_exchange *exchange,
                   const struct flowd_http_request *request)
{
    dummy(api, exchange, request, FLOWD_EVENT_END);
}
