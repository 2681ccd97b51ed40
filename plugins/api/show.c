/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of requests that only look at one thing: a flow, the status, health and readiness, the
 * OpenAPI document. They answer at once.
 */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "flow_json.h"

#define ID_PREFIX_LENGTH (sizeof("/v1/flows/") - 1)
static const char json_media_type[] = "application/json";

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
    api_flow_write_sampled(flowd_http_body(exchange), api->context, flow);
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
        "\"status\":\"/v1/status\",\"registry\":\"/v1/registry\",\"openapi\":\"/openapi.json\"}}";

    (void)api;
    (void)request;
    flowd_http_answer_bytes(exchange, 200, json_media_type, NULL, body, sizeof(body) - 1);
}
