/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the API share: its instance and its request handlers.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>

#include "access.h"
#include "daemon/http/server.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "event_json.h"

/* Most events in one request. */
#define API_EVENTS_MAX 10000

struct api_config {
    char *bind_address;
    int64_t bind_port;
    char *socket_path;
    int64_t socket_mode;
    char *socket_group;
    char *token_file;
};

struct api_listing;
struct api_pending;

/* The lists that are asked for, see list.c. */
struct api_lists {
    struct api_listing *first; /* the one that is made; owned */
    struct flowd_text body;    /* of the first, so far */
    struct ev_prepare share;   /* at the end of each turn */
    struct ev_idle awake;      /* keeps the loop from waiting while there are any */
    uint32_t work;             /* that is left of the share */
};

struct api {
    const struct flowd_context *context;
    struct flowd_source *source;
    struct flowd_http_server *server;
    struct api_tokens tokens;
    struct api_pending *pending; /* requests that wait for the commit */
    struct api_pending *spare;
    struct api_lists lists;
};

typedef void api_handler(struct api *api, struct flowd_http_exchange *exchange,
                         const struct flowd_http_request *request);

/* What the server calls. */
extern const struct flowd_http_handler api_http_handler;

/* Requests on flows. */
api_handler api_flows_post;
api_handler api_flows_list;
api_handler api_flow_get;
api_handler api_flow_delete;
api_handler api_go_post;
api_handler api_dummy_start;
api_handler api_dummy_end;
/* Everything else. */
api_handler api_root_get;
api_handler api_status_get;
api_handler api_registry_get;
api_handler api_health_get;
api_handler api_ready_get;
api_handler api_openapi_get;

/* The flow whose id ends the path, live or just ended; NULL: there is none. */
struct flowd_flow *api_flow_of_path(const struct api *api,
                                    const struct flowd_http_request *request);
void api_lists_init(struct api *api);
/* Forgets the list that is made for exchange. Returns whether there was one. */
bool api_list_cancel(struct api *api, const struct flowd_http_exchange *exchange);
/* None may be left. */
void api_lists_fini(struct api *api);
/* Forgets the request that waits on exchange. */
void api_pending_cancel(struct api *api, struct flowd_http_exchange *exchange);
/* Frees what is kept for pending requests; none may be left. */
void api_pending_fini(struct api *api);

/* docs/openapi.json, byte for byte. */
extern const char api_openapi[];
extern const size_t api_openapi_length;
