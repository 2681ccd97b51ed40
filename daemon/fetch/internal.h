/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share: fetch.c has a request's life, fetch_options.c says to libcurl
 * what is wanted and takes what arrives, fetch_loop.c joins libcurl to the loop.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>

#include "daemon/fetch/fetch.h"
#include "daemon/fetch/libcurl.h"

#define FETCH_ETAG_SIZE 256 /* a longer one is not used */
#define FETCH_DATE_SIZE 64

struct flowd_fetch {
    struct flowd_fetcher *fetcher; /* borrowed */
    CURL *easy;                    /* owned */
    struct curl_slist *headers;    /* owned */
    void (*done)(void *context, const struct flowd_fetch_answer *answer);
    void *context;
    struct ev_timer timeout, connect_timeout;
    char *body; /* owned */
    size_t size, capacity, size_max;
    int64_t timeout_ms, connect_timeout_ms;
    bool too_large;
    bool resolving; /* a name is being asked for: to remove it would wait for the answer */
    bool given_up;  /* nobody waits for it: it goes when libcurl is done with its name */
    char etag[FETCH_ETAG_SIZE];
    char last_modified[FETCH_DATE_SIZE];
    char error[CURL_ERROR_SIZE];
    struct flowd_fetch *next, *prev;
};

struct flowd_fetcher {
    struct ev_loop *loop;
    struct flowd_libcurl curl;
    CURLM *multi;          /* owned; NULL: nothing was fetched yet */
    struct ev_timer timer; /* libcurl's */
    struct flowd_fetch *fetches;
    unsigned given_up;
};

/* Makes the multi handle and lets it watch sockets and time on the loop. */
int fetch_loop_open(struct flowd_fetcher *fetcher, struct flowd_error *err);
void fetch_loop_close(struct flowd_fetcher *fetcher);

/* Says to libcurl what is wanted. Returns 0, -EINVAL or -ENOMEM. */
int fetch_options_set(struct flowd_fetch *fetch, const struct flowd_fetch_request *request,
                      struct flowd_error *err);

/* Ends every request that libcurl says is done. */
void fetch_take_finished(struct flowd_fetcher *fetcher);
