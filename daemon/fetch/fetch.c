/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's life. Time is kept here and not by libcurl, which waits for the thread that asks for
 * a name when a request with an unanswered name is removed: such a request is given up, its caller
 * hears of it at once, and libcurl keeps it until the name has its answer.
 */
#include "daemon/fetch/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "daemon/fetch/internal.h"

/* Each has a thread that asks for a name. */
#define GIVEN_UP_MAX 8
#define FOR_EVER_MS 86400000L

struct flowd_fetcher *flowd_fetcher_new(struct ev_loop *loop)
{
    struct flowd_fetcher *fetcher = calloc(1, sizeof(*fetcher));

    if (fetcher != NULL)
        fetcher->loop = loop;
    return fetcher;
}

/* Frees a request; half built is fine. */
static void fetch_free(struct flowd_fetch *fetch)
{
    const struct flowd_libcurl *curl = &fetch->fetcher->curl;

    if (fetch->easy != NULL)
        curl->f_curl_easy_cleanup(fetch->easy);
    curl->f_curl_slist_free_all(fetch->headers);
    free(fetch->body);
    free(fetch);
}

static void stop_timers(struct flowd_fetch *fetch)
{
    ev_timer_stop(fetch->fetcher->loop, &fetch->timeout);
    ev_timer_stop(fetch->fetcher->loop, &fetch->connect_timeout);
}

/* Takes a request out that libcurl does not have to wait for. */
static void take_out(struct flowd_fetch *fetch)
{
    struct flowd_fetcher *fetcher = fetch->fetcher;

    stop_timers(fetch);
    (void)fetcher->curl.f_curl_multi_remove_handle(fetcher->multi, fetch->easy);
    DL_DELETE(fetcher->fetches, fetch);
    fetcher->given_up -= fetch->given_up;
}

/* Removes a request, or has it go by itself once its name has been answered. */
static void let_go(struct flowd_fetch *fetch)
{
    struct flowd_fetcher *fetcher = fetch->fetcher;

    if (!fetch->resolving) {
        take_out(fetch);
        fetch_free(fetch);
        return;
    }
    stop_timers(fetch);
    fetch->given_up = true;
    fetcher->given_up++;
    (void)fetcher->curl.f_curl_easy_setopt(fetch->easy, CURLOPT_CONNECTTIMEOUT_MS, FOR_EVER_MS);
}

void flowd_fetch_cancel(struct flowd_fetch *fetch)
{
    if (fetch != NULL)
        let_go(fetch);
}

void flowd_fetcher_free(struct flowd_fetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    while (fetcher->fetches != NULL) {
        struct flowd_fetch *fetch = fetcher->fetches;

        take_out(fetch);
        fetch_free(fetch);
    }
    fetch_loop_close(fetcher);
    free(fetcher);
}

static int errno_of(const struct flowd_fetch *fetch, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return -EHOSTUNREACH;
    case CURLE_PEER_FAILED_VERIFICATION:
        return -EACCES;
    case CURLE_WRITE_ERROR:
        return fetch->too_large ? -EFBIG : -ENOMEM;
    default:
        return -EPROTO;
    }
}

/* Ends a request that libcurl is done with and tells whoever waits for it. */
static void finish(struct flowd_fetch *fetch, CURLcode code)
{
    const struct flowd_libcurl *curl = &fetch->fetcher->curl;
    struct flowd_fetch_answer answer = {
        .result = errno_of(fetch, code),
        .body = fetch->body != NULL ? fetch->body : "",
        .size = fetch->size,
        .etag = fetch->etag,
        .last_modified = fetch->last_modified,
        .error = fetch->error,
    };

    if (answer.result == 0) {
        fetch->error[0] = '\0';
        (void)curl->f_curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &answer.status);
    } else if (fetch->too_large) {
        snprintf(fetch->error, sizeof(fetch->error), "it has more than %zu bytes", fetch->size_max);
    } else if (fetch->error[0] == '\0') {
        snprintf(fetch->error, sizeof(fetch->error), "%s", curl->f_curl_easy_strerror(code));
    }
    take_out(fetch);
    if (!fetch->given_up)
        fetch->done(fetch->context, &answer);
    fetch_free(fetch);
}

void fetch_take_finished(struct flowd_fetcher *fetcher)
{
    const struct flowd_libcurl *curl = &fetcher->curl;
    const CURLMsg *message;
    int left;

    while ((message = curl->f_curl_multi_info_read(fetcher->multi, &left)) != NULL) {
        struct flowd_fetch *fetch = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl->f_curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &fetch);
        finish(fetch, code);
    }
}

static void time_out(struct flowd_fetch *fetch, const char *what, int64_t limit_ms)
{
    void (*done)(void *, const struct flowd_fetch_answer *) = fetch->done;
    void *context = fetch->context;
    char error[CURL_ERROR_SIZE];
    const struct flowd_fetch_answer answer = {
        .result = -ETIMEDOUT, .body = "", .etag = "", .last_modified = "", .error = error};

    snprintf(error, sizeof(error), "%s within %lld ms", fetch->resolving ? "no address" : what,
             (long long)limit_ms);
    let_go(fetch);
    done(context, &answer);
}

static void on_timeout(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct flowd_fetch *fetch = timer->data;

    (void)loop;
    (void)events;
    time_out(fetch, "no complete answer", fetch->timeout_ms);
}

static void on_connect_timeout(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct flowd_fetch *fetch = timer->data;
    curl_off_t sent_us = 0;

    (void)loop;
    (void)events;
    (void)fetch->fetcher->curl.f_curl_easy_getinfo(fetch->easy, CURLINFO_PRETRANSFER_TIME_T,
                                                   &sent_us);
    if (sent_us == 0)
        time_out(fetch, "no connection", fetch->connect_timeout_ms);
}

static void start_timer(struct flowd_fetch *fetch, struct ev_timer *timer, int64_t after_ms,
                        void (*callback)(struct ev_loop *, struct ev_timer *, int))
{
    ev_timer_init(timer, callback, (double)after_ms / 1000, 0);
    timer->data = fetch;
    ev_timer_start(fetch->fetcher->loop, timer);
}

static struct flowd_fetch *fetch_new(struct flowd_fetcher *fetcher,
                                     const struct flowd_fetch_request *request)
{
    struct flowd_fetch *fetch = calloc(1, sizeof(*fetch));

    if (fetch == NULL)
        return NULL;
    fetch->fetcher = fetcher;
    fetch->done = request->done;
    fetch->context = request->context;
    fetch->size_max = request->size_max;
    fetch->timeout_ms = request->timeout_ms;
    fetch->connect_timeout_ms = request->connect_timeout_ms;
    fetch->easy = fetcher->curl.f_curl_easy_init();
    return fetch;
}

int flowd_fetch_start(struct flowd_fetcher *fetcher, const struct flowd_fetch_request *request,
                      struct flowd_fetch **out, struct flowd_error *err)
{
    struct flowd_fetch *fetch;
    int result = fetch_loop_open(fetcher, err);

    if (result < 0)
        return result;
    if (fetcher->given_up >= GIVEN_UP_MAX)
        return flowd_fail(err, EAGAIN, "%u names still have no answer", fetcher->given_up);
    fetch = fetch_new(fetcher, request);
    if (fetch == NULL)
        return flowd_fail_errno(err, ENOMEM, "%.200s", request->url);
    result = fetch->easy != NULL ? fetch_options_set(fetch, request, err)
                                 : flowd_fail_errno(err, ENOMEM, "%.200s", request->url);
    if (result == 0 &&
        fetcher->curl.f_curl_multi_add_handle(fetcher->multi, fetch->easy) != CURLM_OK)
        result = flowd_fail_errno(err, ENOMEM, "%.200s", request->url);
    if (result < 0) {
        fetch_free(fetch);
        return result;
    }
    DL_APPEND(fetcher->fetches, fetch);
    start_timer(fetch, &fetch->timeout, request->timeout_ms, on_timeout);
    start_timer(fetch, &fetch->connect_timeout, request->connect_timeout_ms, on_connect_timeout);
    *out = fetch;
    return 0;
}
