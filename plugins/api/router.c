/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's routes: from a request to the handler that answers it. Access is checked first (token,
 * Host), then path, method and content type.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"

#define ID_PREFIX "/v1/flows/"

struct route {
    const char *path; /* ending in "/": anything behind it that has no further "/" */
    enum flowd_http_method method;
    api_handler *handler;
    bool open; /* needs no token */
};

static const struct route routes[] = {
    {"/v1/flows", FLOWD_HTTP_POST, api_flows_post, false},
    {"/v1/flows", FLOWD_HTTP_GET, api_flows_list, false},
    {ID_PREFIX, FLOWD_HTTP_GET, api_flow_get, false},
    {ID_PREFIX, FLOWD_HTTP_DELETE, api_flow_delete, false},
    {"/v1/status", FLOWD_HTTP_GET, api_status_get, false},
    {"/v1/registry", FLOWD_HTTP_GET, api_registry_get, false},
    {"/healthz", FLOWD_HTTP_GET, api_health_get, true},
    {"/readyz", FLOWD_HTTP_GET, api_ready_get, true},
    {"/openapi.json", FLOWD_HTTP_GET, api_openapi_get, false},
    {"/flow", FLOWD_HTTP_POST, api_go_post, false},
    {"/dummy/start", FLOWD_HTTP_GET, api_dummy_start, false},
    {"/dummy/end", FLOWD_HTTP_GET, api_dummy_end, false},
    {"/", FLOWD_HTTP_GET, api_root_get, false},
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static bool matches(const struct route *route, struct flowd_http_slice path)
{
    size_t length = strlen(route->path);

    if (length > 1 && route->path[length - 1] == '/')
        return path.length > length && memcmp(path.data, route->path, length) == 0 &&
               memchr(path.data + length, '/', path.length - length) == NULL;
    return path.length == length && memcmp(path.data, route->path, length) == 0;
}

static bool serves(const struct route *route, enum flowd_http_method method)
{
    return route->method == method ||
           (route->method == FLOWD_HTTP_GET && method == FLOWD_HTTP_HEAD);
}

static void answer_method(struct flowd_http_exchange *exchange,
                          const struct flowd_http_request *request)
{
    static const struct {
        enum flowd_http_method method;
        const char *names;
    } names[] = {
        {FLOWD_HTTP_GET, "GET, HEAD"},
        {FLOWD_HTTP_POST, "POST"},
        {FLOWD_HTTP_DELETE, "DELETE"},
    };
    char header[64] = "Allow: ";
    size_t used = strlen(header);

    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
        for (size_t i = 0; i < ROUTES; i++)
            if (routes[i].method == names[n].method && matches(&routes[i], request->path)) {
                used += (size_t)snprintf(header + used, sizeof(header) - used, "%s%s",
                                         used > 7 ? ", " : "", names[n].names);
                break;
            }
    snprintf(header + used, sizeof(header) - used, "\r\n");
    flowd_http_answer_problem(exchange, 405, header, NULL, "the path does not take this method");
}

/* The route of the request; NULL with an answer given if it may not or cannot be served. */
static const struct route *find_route(const struct api *api, struct flowd_http_exchange *exchange,
                                      const struct flowd_http_request *request)
{
    const struct route *route = NULL;
    bool path_known = false;

    for (size_t i = 0; i < ROUTES && route == NULL; i++)
        if (matches(&routes[i], request->path)) {
            path_known = true;
            if (serves(&routes[i], request->method))
                route = &routes[i];
        }
    if (api->tokens.count == 0 && request->foreign) {
        flowd_http_answer_problem(exchange, 421, NULL, "Host",
                                  "Host: is neither an address nor a name of this machine");
        return NULL;
    }
    if (api->tokens.count > 0 && (route == NULL || !route->open) &&
        !api_tokens_match(&api->tokens, request->authorization)) {
        flowd_http_answer_problem(exchange, 401,
                                  request->authorization.length > 0
                                      ? "WWW-Authenticate: Bearer realm=\"flowd\", "
                                        "error=\"invalid_token\"\r\n"
                                      : "WWW-Authenticate: Bearer realm=\"flowd\"\r\n",
                                  "Authorization", "a bearer token is required");
        return NULL;
    }
    if (!path_known)
        flowd_http_answer_problem(exchange, 404, NULL, NULL, "there is nothing at this path");
    else if (route == NULL)
        answer_method(exchange, request);
    return route;
}

/* Access, path, method, content coding and type. NULL: the answer has been given. */
static const struct route *check_request(const struct api *api,
                                         struct flowd_http_exchange *exchange,
                                         const struct flowd_http_request *request)
{
    const struct route *route = find_route(api, exchange, request);

    if (route != NULL && request->encoded) {
        flowd_http_answer_problem(exchange, 415, "Accept-Encoding: identity\r\n",
                                  "Content-Encoding", "Content-Encoding: must be identity");
        return NULL;
    }
    if (route == NULL || route->method != FLOWD_HTTP_POST || api_is_json(request->content_type))
        return route;
    flowd_http_answer_problem(exchange, 415, NULL, "Content-Type",
                              "Content-Type: must be application/json");
    return NULL;
}

static bool router_admit(void *context, struct flowd_http_exchange *exchange,
                         const struct flowd_http_request *request)
{
    return check_request(context, exchange, request) != NULL;
}

static void router_handle(void *context, struct flowd_http_exchange *exchange,
                          const struct flowd_http_request *request)
{
    const struct route *route = check_request(context, exchange, request);

    if (route != NULL)
        route->handler(context, exchange, request);
}

static void cancel(void *context, struct flowd_http_exchange *exchange)
{
    if (!api_list_cancel(context, exchange))
        api_pending_cancel(context, exchange);
}

const struct flowd_http_handler api_http_handler = {
    .admit = router_admit,
    .handle = router_handle,
    .cancel = cancel,
};
