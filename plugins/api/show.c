/*
 * Requests that only look: flows, status, health, the OpenAPI document.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "daemon/integer.h"
#include "daemon/registry.h"
#include "flow_json.h"

#define ID_PREFIX_LENGTH (sizeof("/v1/flows/") - 1)
#define LIMIT_STANDARD 1000
#define LIMIT_MAX 10000
/* Of flows with their samples, which take ten times as long to write. */
#define LIMIT_SAMPLES 1000
#define VALUE_SIZE 256

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

struct flowd_flow *api_flow_of_path(const struct api *api, const struct flowd_http_request *request)
{
    uint64_t id;

    if (flowd_flow_id_parse(request->path.data + ID_PREFIX_LENGTH,
                            request->path.length - ID_PREFIX_LENGTH, &id) < 0)
        return NULL;
    return flowd_hub_find(api->context->hub, id);
}

void api_flow_get(struct api *api, struct flowd_http_exchange *exchange,
                  const struct flowd_http_request *request)
{
    const struct flowd_flow *flow = api_flow_of_path(api, request);

    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE) {
        flowd_http_answer_problem(exchange, 404, NULL, NULL, "no live flow has this id");
        return;
    }
    api_flow_write_sampled(flowd_http_body(exchange), api->context->hub, flow);
    flowd_http_answer(exchange, 200, json_media_type, NULL);
}

static int read_number(const char *name, const char *value, uint64_t min, uint64_t max,
                       uint64_t *out, struct flowd_error *err)
{
    if (flowd_integer_parse(value, strlen(value), min, max, out) < 0)
        return flowd_fail(err, -EINVAL, "%s: \"%s\" is not in %llu-%llu", name, value,
                          (unsigned long long)min, (unsigned long long)max);
    return 0;
}

static int read_boolean(const char *name, const char *value, bool *out, struct flowd_error *err)
{
    *out = strcmp(value, "true") == 0;
    if (!*out && strcmp(value, "false") != 0)
        return flowd_fail(err, -EINVAL, "%s: \"%s\" is neither true nor false", name, value);
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
        return flowd_fail(err, -EINVAL, "%s: is given twice", name);
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
        return flowd_fail(err, -EINVAL, "address: \"%s\" is no numeric IPv4 or IPv6 address",
                          value);
    }
    if (strcmp(name, "samples") == 0)
        return read_boolean(name, value, &filter->samples, err);
    if (strcmp(name, "limit") == 0)
        return read_number(name, value, 1, LIMIT_MAX, &filter->limit, err);
    if (strcmp(name, "cursor") == 0)
        return read_number(name, value, 0, UINT32_MAX, &filter->cursor, err);
    return flowd_fail(err, -EINVAL, "%s: is not a parameter of this request", name);
}

static int read_filter(const struct api *api, struct flowd_http_slice query, struct filter *filter,
                       struct flowd_error *err)
{
    struct flowd_http_slice raw_name, raw_value;
    char name[VALUE_SIZE], value[VALUE_SIZE];

    *filter = (struct filter){.limit = LIMIT_STANDARD};
    while (flowd_http_query_next(&query, &raw_name, &raw_value) > 0) {
        int result;

        if (flowd_http_percent_decode(raw_name, name, sizeof(name)) < 0 ||
            flowd_http_percent_decode(raw_value, value, sizeof(value)) < 0)
            return flowd_fail(err, -EINVAL, "%.*s: is not properly percent-encoded, or too long",
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

void api_flows_list(struct api *api, struct flowd_http_exchange *exchange,
                    const struct flowd_http_request *request)
{
    struct flowd_hub *hub = api->context->hub;
    struct flowd_text *body;
    struct flowd_flow *flow;
    struct flowd_error err;
    struct filter filter;
    uint64_t count = 0;
    uint32_t cursor;

    if (read_filter(api, request->query, &filter, &err) < 0) {
        answer_query_error(exchange, &err);
        return;
    }
    if (flowd_http_server_crowded(api->server)) {
        flowd_http_answer_problem(exchange, 503, "Retry-After: 1\r\n", NULL,
                                  "too many large answers at once");
        return;
    }
    body = flowd_http_body(exchange);
    cursor = (uint32_t)filter.cursor;
    flowd_text_puts(body, "{\"flows\":[");
    while ((flow = flowd_hub_next(hub, &cursor)) != NULL) {
        if (!passes(flow, &filter))
            continue;
        if (count == filter.limit)
            break;
        if (count++ > 0)
            flowd_text_char(body, ',');
        if (filter.samples)
            api_flow_write_sampled(body, hub, flow);
        else
            api_flow_write(body, hub, flow, false);
    }
    flowd_text_char(body, ']');
    /* The next page begins with the flow that did not fit on this one. */
    if (flow != NULL)
        flowd_text_printf(body, ",\"cursor\":\"%u\"", cursor - 1);
    flowd_text_char(body, '}');
    flowd_http_answer(exchange, 200, json_media_type, NULL);
}

void api_status_get(struct api *api, struct flowd_http_exchange *exchange,
                    const struct flowd_http_request *request)
{
    json_t *status = api->context->status(api->context);
    char *text = status != NULL ? json_dumps(status, JSON_COMPACT) : NULL;

    (void)request;
    json_decref(status);
    if (text == NULL) {
        flowd_http_answer_problem(exchange, 503, NULL, NULL, "out of memory");
        return;
    }
    flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, text, strlen(text));
    free(text);
}

void api_health_get(struct api *api, struct flowd_http_exchange *exchange,
                    const struct flowd_http_request *request)
{
    static const char body[] = "{\"status\":\"ok\"}";

    (void)api;
    (void)request;
    flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, body, sizeof(body) - 1);
}

void api_ready_get(struct api *api, struct flowd_http_exchange *exchange,
                   const struct flowd_http_request *request)
{
    static const char body[] = "{\"status\":\"ready\"}";
    struct flowd_error err;

    (void)request;
    if (api->context->ready(api->context, &err) < 0)
        flowd_http_answer_problem(exchange, 503, NULL, NULL, err.message);
    else
        flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, body, sizeof(body) - 1);
}

void api_openapi_get(struct api *api, struct flowd_http_exchange *exchange,
                     const struct flowd_http_request *request)
{
    (void)api;
    (void)request;
    flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, api_openapi, api_openapi_length);
}

void api_root_get(struct api *api, struct flowd_http_exchange *exchange,
                  const struct flowd_http_request *request)
{
    static const char body[] =
        "{\"name\":\"flowd\",\"version\":\"" FLOWD_VERSION "\",\"links\":{\"flows\":\"/v1/flows\","
        "\"status\":\"/v1/status\",\"openapi\":\"/openapi.json\"}}";

    (void)api;
    (void)request;
    flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, body, sizeof(body) - 1);
}
