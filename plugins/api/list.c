/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of flows, a page at a time.
 *
 * All lists together get a share of work in each turn of the loop, one after the other: whoever
 * asks for many, or for what few flows match, waits himself and does not make others wait. The
 * share lies behind the hub's commit, so an event that was read is answered before it; an event
 * that comes meanwhile waits for what is left of one share. A page is over when it is full or has
 * looked at PAGE_RECORDS records, so it may be empty and have a cursor.
 */
#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "api.h"
#include "daemon/base/integer.h"
#include "daemon/flow/registry.h"
#include "flow_json.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 10000
/* Of flows with their samples, which take ten times as long to write. */
#define LIMIT_SAMPLES 1000
#define VALUE_SIZE 256

/* Records that a page looks at, of live flows or not. */
#define PAGE_RECORDS 65536u
/* A share, in looks at a record: some 20 to 40 ns each. */
#define SHARE_WORK 4096u
/* Of writing one flow, without and with its sample, and of an answer beside its flows. */
#define WRITE_WORK 32u
#define SAMPLE_WORK 320u
#define ANSWER_WORK 512u

static const char json_media_type[] = "application/json";

struct filter {
    bool by_experiment, by_activity, by_address;
    uint16_t experiment;
    uint8_t activity;
    struct flowd_address address;
    unsigned seen; /* a bit for each parameter */
    uint64_t limit;
    uint64_t cursor;
    bool samples;
    /* An activity's name means something within its experiment only, which may come later. */
    char activity_text[VALUE_SIZE];
};

/* A page that is being made, or waits for its turn. */
struct api_listing {
    struct flowd_http_exchange *exchange;
    struct filter filter;
    uint64_t count;   /* flows on the page */
    uint32_t cursor;  /* the record to look at next */
    uint32_t records; /* that it may still look at */
    struct api_listing *next;
    struct api_listing *previous;
};

static int read_number(const char *name, const char *value, uint64_t min, uint64_t max,
                       uint64_t *out, struct flowd_error *err)
{
    if (flowd_integer_parse(value, strlen(value), min, max, out) < 0)
        return flowd_fail(err, EINVAL, "%s: \"%s\" is not in %llu-%llu", name, value,
                          (unsigned long long)min, (unsigned long long)max);
    return 0;
}

static int read_boolean(const char *name, const char *value, bool *out, struct flowd_error *err)
{
    *out = strcmp(value, "true") == 0;
    if (!*out && strcmp(value, "false") != 0)
        return flowd_fail(err, EINVAL, "%s: \"%s\" is neither true nor false", name, value);
    return 0;
}

/* Whether the parameter was seen before: two answers to one question are a mistake. */
static bool is_repeated(const char *name, struct filter *filter)
{
    static const char *const names[] = {"experiment", "activity", "address",
                                        "limit",      "cursor",   "samples"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        if (filter->seen & 1u << i)
            return true;
        filter->seen |= 1u << i;
    }
    return false;
}

static int read_parameter(const struct api *api, const char *name, const char *value,
                          struct filter *filter, struct flowd_error *err)
{
    size_t length = strlen(value);

    if (is_repeated(name, filter))
        return flowd_fail(err, EINVAL, "%s: is given twice", name);
    if (strcmp(name, "experiment") == 0) {
        filter->by_experiment = true;
        return flowd_registry_read_experiment(api->context->registry, value, length,
                                              &filter->experiment, err);
    }
    if (strcmp(name, "activity") == 0) {
        filter->by_activity = true;
        memcpy(filter->activity_text, value, length + 1);
        return 0;
    }
    if (strcmp(name, "address") == 0) {
        filter->by_address = true;
        if (flowd_address_parse(value, length, &filter->address) == 0)
            return 0;
        return flowd_fail(err, EINVAL, "address: \"%s\" is no numeric IPv4 or IPv6 address", value);
    }
    if (strcmp(name, "samples") == 0)
        return read_boolean(name, value, &filter->samples, err);
    if (strcmp(name, "limit") == 0)
        return read_number(name, value, 1, LIMIT_MAX, &filter->limit, err);
    if (strcmp(name, "cursor") == 0)
        return read_number(name, value, 0, UINT32_MAX, &filter->cursor, err);
    return flowd_fail(err, EINVAL, "%s: is not a parameter of this request", name);
}

static int read_filter(const struct api *api, struct flowd_http_slice query, struct filter *filter,
                       struct flowd_error *err)
{
    struct flowd_http_slice raw_name, raw_value;
    char name[VALUE_SIZE], value[VALUE_SIZE];

    *filter = (struct filter){.limit = LIMIT_DEFAULT};
    while (flowd_http_query_next(&query, &raw_name, &raw_value) > 0) {
        int result;

        if (flowd_http_percent_decode(raw_name, name, sizeof(name)) < 0 ||
            flowd_http_percent_decode(raw_value, value, sizeof(value)) < 0)
            return flowd_fail(err, EINVAL, "%.*s: is not properly percent-encoded, or too long",
                              api_shown(raw_name.length), raw_name.data);
        result = read_parameter(api, name, value, filter, err);
        if (result < 0)
            return result;
    }
    if (filter->samples && filter->limit > LIMIT_SAMPLES)
        filter->limit = LIMIT_SAMPLES;
    if (!filter->by_activity)
        return 0;
    return flowd_registry_read_activity(api->context->registry, filter->experiment,
                                        filter->activity_text, strlen(filter->activity_text),
                                        &filter->activity, err);
}

static bool same_address(const struct flowd_flow_key *key, const struct in6_addr *end,
                         const struct flowd_address *address)
{
    return key->family == address->family && memcmp(end, &address->addr, sizeof(*end)) == 0;
}

static bool passes(const struct flowd_flow *flow, const struct filter *filter)
{
    const struct flowd_flow_key *key = &flow->key;

    if (filter->by_experiment && flow->experiment != filter->experiment)
        return false;
    if (filter->by_activity && flow->activity != filter->activity)
        return false;
    return !filter->by_address || same_address(key, &key->src, &filter->address) ||
           same_address(key, &key->dst, &filter->address);
}

static void answer_query_error(struct flowd_http_exchange *exchange, const struct flowd_error *err)
{
    char field[VALUE_SIZE];
    size_t length = strcspn(err->message, ":");

    if (err->message[length] == '\0' || length >= sizeof(field)) {
        flowd_http_answer_problem(exchange, 400, NULL, NULL, err->message);
        return;
    }
    memcpy(field, err->message, length);
    field[length] = '\0';
    flowd_http_answer_problem(exchange, 400, NULL, field, err->message);
}

static void write_flow(struct api *api, struct api_listing *listing, const struct flowd_flow *flow)
{
    struct api_lists *lists = &api->lists;

    if (listing->count++ > 0)
        flowd_text_char(&lists->body, ',');
    if (listing->filter.samples)
        api_flow_write_sampled(&lists->body, api->context, flow);
    else
        api_flow_write(&lists->body, api->context, flow, false);
}

static void spend(struct api_lists *lists, uint32_t work)
{
    lists->work -= work < lists->work ? work : lists->work;
}

/* Adds to the first page of the queue until it is over or the share is used up. Returns whether it
 * is over. */
static bool make_some(struct api *api, struct api_listing *listing)
{
    struct api_lists *lists = &api->lists;
    uint32_t write_work = listing->filter.samples ? SAMPLE_WORK : WRITE_WORK;

    while (listing->records > 0 && lists->work > 0) {
        uint32_t most = listing->records < lists->work ? listing->records : lists->work;
        uint32_t budget = most;
        const struct flowd_flow *flow =
            flowd_hub_next_within(api->context->hub, &listing->cursor, &budget);
        bool at_end = flow == NULL && budget > 0;

        listing->records -= most - budget;
        lists->work -= most - budget;
        if (at_end) {
            listing->cursor = 0;
            return true;
        }
        if (flow == NULL || !passes(flow, &listing->filter))
            continue;
        if (listing->count == listing->filter.limit) {
            /* The next page begins with the flow that did not fit on this one. */
            listing->cursor--;
            return true;
        }
        write_flow(api, listing, flow);
        spend(lists, write_work);
    }
    return listing->records == 0;
}

static void start_shares(struct api *api)
{
    ev_prepare_start(api->context->loop, &api->lists.share);
    ev_idle_start(api->context->loop, &api->lists.awake);
}

static void stop_shares(struct api *api)
{
    ev_prepare_stop(api->context->loop, &api->lists.share);
    ev_idle_stop(api->context->loop, &api->lists.awake);
}

static void dequeue(struct api_lists *lists, struct api_listing *listing)
{
    if (listing == lists->first)
        flowd_text_clear(&lists->body);
    DL_DELETE2(lists->first, listing, previous, next);
    free(listing);
}

/* Answers the first page of the queue, which takes it out. cursor 0: it was the last page. */
static void answer(struct api *api, bool last)
{
    struct api_lists *lists = &api->lists;
    struct api_listing *listing = lists->first;
    struct flowd_http_exchange *exchange = listing->exchange;
    struct flowd_text body = lists->body;

    flowd_text_char(&body, ']');
    if (!last)
        flowd_text_printf(&body, ",\"cursor\":\"%u\"", listing->cursor);
    flowd_text_char(&body, '}');
    /* The answer may have the connection's next request handled, which may be for a list too. */
    lists->body = (struct flowd_text){0};
    dequeue(lists, lists->first);
    if (flowd_text_failed(&body))
        flowd_http_answer_problem(exchange, 503, NULL, NULL, "out of memory");
    else
        flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, body.data, body.length);
    flowd_text_fini(&body);
}

static void answer_crowded(struct flowd_http_exchange *exchange)
{
    flowd_http_answer_problem(exchange, 503, "Retry-After: 1\r\n", NULL,
                              "too many large answers at once");
}

/* Begins the first page of the queue. False: it was refused, for answers that nobody reads have
 * piled up while it waited. */
static bool begin_page(struct api *api)
{
    struct api_lists *lists = &api->lists;
    struct flowd_http_exchange *exchange = lists->first->exchange;

    if (flowd_http_server_crowded(api->server)) {
        dequeue(lists, lists->first);
        answer_crowded(exchange);
        return false;
    }
    flowd_text_puts(&lists->body, "{\"flows\":[");
    return true;
}

/* Makes pages until all are answered or the share is used up. */
static void make_pages(struct api *api)
{
    struct api_lists *lists = &api->lists;

    lists->work = SHARE_WORK;
    while (lists->first != NULL && lists->work > 0) {
        struct api_listing *listing = lists->first;

        if (lists->body.length > 0 || begin_page(api)) {
            if (!make_some(api, listing))
                break;
            answer(api, listing->cursor == 0);
        }
        spend(lists, ANSWER_WORK);
    }
}

static void on_share(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    struct api *api = watcher->data;

    (void)loop;
    (void)events;
    /* Not in the turn of the last answer, which may have had an event read that waits for a commit:
     * the loop must not block before. */
    if (api->lists.first == NULL)
        stop_shares(api);
    else
        make_pages(api);
}

static void on_awake(struct ev_loop *loop, struct ev_idle *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

void api_flows_list(struct api *api, struct flowd_http_exchange *exchange,
                    const struct flowd_http_request *request)
{
    struct api_lists *lists = &api->lists;
    struct api_listing *listing;
    struct flowd_error err;
    struct filter filter;

    if (read_filter(api, request->query, &filter, &err) < 0) {
        answer_query_error(exchange, &err);
        return;
    }
    listing = flowd_http_server_crowded(api->server) ? NULL : malloc(sizeof(*listing));
    if (listing == NULL) {
        answer_crowded(exchange);
        return;
    }
    *listing = (struct api_listing){.exchange = exchange,
                                    .filter = filter,
                                    .cursor = (uint32_t)filter.cursor,
                                    .records = PAGE_RECORDS};
    if (lists->first == NULL)
        start_shares(api);
    DL_APPEND2(lists->first, listing, previous, next);
}

bool api_list_cancel(struct api *api, const struct flowd_http_exchange *exchange)
{
    struct api_listing *listing;

    DL_SEARCH_SCALAR2(api->lists.first, listing, exchange, exchange, next);
    if (listing != NULL)
        dequeue(&api->lists, listing);
    return listing != NULL;
}

void api_lists_init(struct api *api)
{
    struct api_lists *lists = &api->lists;

    ev_prepare_init(&lists->share, on_share);
    ev_idle_init(&lists->awake, on_awake);
    /* Behind the hub's. */
    ev_set_priority(&lists->share, EV_MINPRI);
    lists->share.data = api;
}

void api_lists_fini(struct api *api)
{
    struct api_lists *lists = &api->lists;

    stop_shares(api);
    while (lists->first != NULL)
        dequeue(lists, lists->first);
    flowd_text_fini(&lists->body);
}
