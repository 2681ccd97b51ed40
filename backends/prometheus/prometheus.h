/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the prometheus backend share.
 */
#pragma once

#include "daemon/base/messages.h"
#include "daemon/http/server.h"
#include "daemon/hub/module.h"

/* Scrapes under way at once: each holds a copy of what it writes. */
#define PROMETHEUS_SCRAPES_MAX 4
/* Readers at once; the descriptors that there are belong to the API and the flows. */
#define PROMETHEUS_CONNECTIONS_MAX 64
/* Past PROMETHEUS_SCRAPES_MAX, a scrape that has taken longer than this gives way to another one.
 */
#define PROMETHEUS_PATIENCE_US 15000000

struct prometheus_config {
    char *bind_address;
    int64_t port;
    int64_t max_series;
};

struct prometheus_scrape;

struct prometheus {
    const struct flowd_context *context;
    const struct prometheus_config *config;
    unsigned slot;
    int64_t patience_us;
    struct flowd_http_server *server;
    struct prometheus_scrape *scrapes; /* under way, the oldest first */
    unsigned scrape_count;
    uint64_t served;
    uint64_t refused;        /* too many at once */
    uint64_t broken;         /* ended by the client, or for lack of memory */
    uint64_t series;         /* of flows in the latest scrape */
    uint64_t left_out;       /* series past maxSeries in the latest scrape, */
    uint64_t left_out_total; /* and in all of them */
};

/* What the server calls. */
extern const struct flowd_http_handler prometheus_http_handler;

/* Begins to answer with the metrics, or refuses. */
void prometheus_scrape(struct prometheus *prometheus, struct flowd_http_exchange *exchange,
                       const struct flowd_http_request *request);

extern const struct flowd_option prometheus_old_options[];
/* Takes flowd-go's netlinkPort and skopsPort for port; see struct flowd_module's translate. */
void prometheus_translate(json_t *object, const char *path, struct flowd_options_report *report);
