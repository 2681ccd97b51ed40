/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry by URL: fetched at the start, at a reload and once in a while, which is not the same
 * while for every host. Only a body that is a registry with names takes the place of the former
 * one; until there is one again it is asked for after a minute, two, four and so on.
 */
#include "daemon/registry_updates.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/base/timestamp.h"
#include "daemon/fetch/fetch.h"
#include "daemon/flow/registry_copy.h"
#include "daemon/flow/registry_file.h"
#include "daemon/metrics/counter.h"

/* Twenty times what there is; it is read in one turn of the loop. */
#define SIZE_MAX_BYTES ((size_t)256 << 10)
#define TIMEOUT_MS 20000
#define CONNECT_TIMEOUT_MS 10000
#define RETRY_S 60
#define JITTER 0.1

struct counts {
    uint64_t taken, unchanged, failed;
    uint64_t experiments;
    uint64_t age_us;
};

struct flowd_registry_updates {
    struct ev_loop *loop;
    struct flowd_fetcher *fetcher;
    struct flowd_registry *registry;
    char *url;       /* owned; NULL: none */
    char *state_dir; /* owned */
    int64_t refresh_s;
    int64_t retry_s;
    bool begun;
    bool has_answered; /* the names are the URL's, from the server or from the copy */
    struct flowd_registry_version version;
    struct flowd_fetch *fetch; /* under way; NULL: none */
    struct ev_timer timer;     /* the next one */
    bool copy_failed;
    char failure[FLOWD_ERROR_SIZE]; /* of the last fetch; "": it went well */
    struct flowd_error file_err;    /* why the file could not be read; "": it could, or need not */
    struct counts counts;
};

static const struct flowd_metric fetches = {
    "flowd_registry_fetches_total", FLOWD_METRIC_COUNTER,
    "Times that the registry was asked for at its URL: a new one was taken, there was no new one, "
    "or it failed and the former one stays."};
static const struct flowd_metric experiments = {"flowd_registry_experiments", FLOWD_METRIC_GAUGE,
                                                "Experiments that have names."};
static const struct flowd_metric age = {
    "flowd_registry_age_seconds", FLOWD_METRIC_GAUGE,
    "Time since the registry was read from its file, or its URL said that it is up to date."};

static const struct flowd_counter counters[] = {
    {.key = "registry.experiments",
     .metric = &experiments,
     FLOWD_COUNTED(struct counts, experiments)},
    {.key = "registry.age", .metric = &age, FLOWD_COUNTED(struct counts, age_us), .is_time = true},
    {.key = "registry.taken",
     .metric = &fetches,
     .labels = {"result", "taken"},
     FLOWD_COUNTED(struct counts, taken)},
    {.key = "registry.unchanged",
     .metric = &fetches,
     .labels = {"result", "unchanged"},
     FLOWD_COUNTED(struct counts, unchanged)},
    {.key = "registry.failed",
     .metric = &fetches,
     .labels = {"result", "failed"},
     FLOWD_COUNTED(struct counts, failed)},
    {.key = NULL},
};

/* A number from -JITTER to JITTER: hosts that were started together don't ask together. */
static double jitter(void)
{
    uint32_t random = UINT32_MAX / 2;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    return JITTER * (2.0 * random / UINT32_MAX - 1);
}

static void fetch_after(struct flowd_registry_updates *updates, int64_t after_s)
{
    ev_timer_stop(updates->loop, &updates->timer);
    ev_timer_set(&updates->timer, (double)after_s * (1 + jitter()), 0);
    ev_timer_start(updates->loop, &updates->timer);
}

/* Said once; what stays as it is is for who debugs. */
static void note_failure(struct flowd_registry_updates *updates, const char *why)
{
    bool first = updates->failure[0] == '\0';

    updates->counts.failed++;
    snprintf(updates->failure, sizeof(updates->failure), "%s", why);
    flowd_log(first ? FLOWD_LOG_ERROR : FLOWD_LOG_DEBUG, "registry",
              "%s: %s; %zu experiments keep their names, and it is asked for again in %lld s",
              updates->url, why, flowd_registry_count(updates->registry),
              (long long)updates->retry_s);
    fetch_after(updates, updates->retry_s);
    updates->retry_s *= 2;
    if (updates->retry_s > updates->refresh_s)
        updates->retry_s = updates->refresh_s;
}

static void reset_retry(struct flowd_registry_updates *updates)
{
    updates->retry_s = updates->refresh_s < RETRY_S ? updates->refresh_s : RETRY_S;
}

static void note_success(struct flowd_registry_updates *updates)
{
    if (updates->failure[0] != '\0')
        flowd_info("registry", "%s answers again", updates->url);
    updates->failure[0] = updates->file_err.message[0] = '\0';
    flowd_registry_set_origin(updates->registry, updates->url, flowd_timestamp_now_us());
    reset_retry(updates);
    fetch_after(updates, updates->refresh_s);
}

static void keep_copy(struct flowd_registry_updates *updates,
                      const struct flowd_fetch_answer *answer)
{
    struct flowd_error err;
    int result = flowd_registry_copy_store(updates->state_dir, updates->url, &updates->version,
                                           answer->body, answer->size, &err);

    if (result < 0 && !updates->copy_failed)
        flowd_warning("registry", "%s", err.message);
    updates->copy_failed = result < 0;
}

static void take_tag(char *out, size_t size, const char *tag)
{
    size_t length = strlen(tag);

    snprintf(out, size, "%s", length < size && flowd_text_is_utf8(tag, length) ? tag : "");
}

/* Returns 0, or -errno with the reason for which nothing was changed. */
static int take_body(struct flowd_registry_updates *updates,
                     const struct flowd_fetch_answer *answer, struct flowd_messages *skipped,
                     struct flowd_error *err)
{
    struct flowd_registry *fresh;
    int result;

    if (answer->size == 0)
        return flowd_fail(err, EINVAL, "the answer is empty");
    fresh = flowd_registry_new();
    if (fresh == NULL)
        return flowd_fail_errno(err, ENOMEM, "reading it");
    result = flowd_registry_read(fresh, answer->body, answer->size, skipped, err);
    if (result == 0 && flowd_registry_count(fresh) == 0)
        result = flowd_fail(err, EINVAL, "it has no experiments");
    if (result == 0)
        flowd_registry_move(updates->registry, fresh);
    flowd_registry_free(fresh);
    return result;
}

static void take_answer(struct flowd_registry_updates *updates,
                        const struct flowd_fetch_answer *answer)
{
    struct flowd_messages skipped = {0};
    struct flowd_error err;

    if (take_body(updates, answer, &skipped, &err) < 0) {
        note_failure(updates, err.message);
    } else {
        updates->counts.taken++;
        updates->has_answered = true;
        take_tag(updates->version.etag, sizeof(updates->version.etag), answer->etag);
        take_tag(updates->version.last_modified, sizeof(updates->version.last_modified),
                 answer->last_modified);
        flowd_info("registry", "%zu experiments have names, from %s",
                   flowd_registry_count(updates->registry), updates->url);
        flowd_registry_log_skipped(&skipped);
        note_success(updates);
        keep_copy(updates, answer);
    }
    flowd_messages_fini(&skipped);
}

/* Whether "not modified" is an answer. */
static bool has_asked_for_news(const struct flowd_registry_updates *updates)
{
    return updates->has_answered &&
           (updates->version.etag[0] != '\0' || updates->version.last_modified[0] != '\0');
}

static void on_answer(void *context, const struct flowd_fetch_answer *answer)
{
    struct flowd_registry_updates *updates = context;
    char why[64];

    updates->fetch = NULL;
    if (answer->result < 0) {
        note_failure(updates, answer->error);
    } else if (answer->status == 200) {
        take_answer(updates, answer);
    } else if (answer->status == 304 && has_asked_for_news(updates)) {
        updates->counts.unchanged++;
        flowd_registry_copy_confirm(updates->state_dir);
        note_success(updates);
    } else {
        snprintf(why, sizeof(why), "the server answers with status %ld", answer->status);
        note_failure(updates, why);
    }
}

static void on_time(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct flowd_registry_updates *updates = timer->data;
    const bool known = updates->has_answered;
    const struct flowd_fetch_request request = {
        .url = updates->url,
        .etag = known ? updates->version.etag : "",
        .last_modified = known ? updates->version.last_modified : "",
        .family = AF_UNSPEC,
        .size_max = SIZE_MAX_BYTES,
        .timeout_ms = TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .done = on_answer,
        .context = updates,
    };
    struct flowd_error err;

    (void)loop;
    (void)events;
    if (flowd_fetch_start(updates->fetcher, &request, &updates->fetch, &err) < 0)
        note_failure(updates, err.message);
}

struct flowd_registry_updates *flowd_registry_updates_new(struct ev_loop *loop,
                                                          struct flowd_fetcher *fetcher,
                                                          struct flowd_registry *registry)
{
    struct flowd_registry_updates *updates = calloc(1, sizeof(*updates));

    if (updates == NULL)
        return NULL;
    updates->loop = loop;
    updates->fetcher = fetcher;
    updates->registry = registry;
    ev_init(&updates->timer, on_time);
    updates->timer.data = updates;
    return updates;
}

static void stop(struct flowd_registry_updates *updates)
{
    flowd_fetch_cancel(updates->fetch);
    updates->fetch = NULL;
    ev_timer_stop(updates->loop, &updates->timer);
}

/* Nothing is known of a URL, and there may be none. Returns whether there was memory. */
static bool set_url(struct flowd_registry_updates *updates, const char *url, const char *state_dir)
{
    free(updates->url);
    free(updates->state_dir);
    updates->url = url[0] != '\0' ? strdup(url) : NULL;
    updates->state_dir = strdup(state_dir);
    updates->has_answered = false;
    updates->version = (struct flowd_registry_version){.etag = ""};
    updates->failure[0] = '\0';
    return updates->state_dir != NULL && (url[0] == '\0' || updates->url != NULL);
}

void flowd_registry_updates_free(struct flowd_registry_updates *updates)
{
    if (updates == NULL)
        return;
    stop(updates);
    free(updates->url);
    free(updates->state_dir);
    free(updates);
}

static void take_copy(struct flowd_registry_updates *updates)
{
    struct flowd_error err;
    int result = flowd_registry_copy_load(updates->registry, updates->state_dir, updates->url,
                                          &updates->version, &err);

    updates->has_answered = result == 0;
    if (result == 0)
        flowd_info("registry", "%zu experiments have names, from the copy of %s",
                   flowd_registry_count(updates->registry), updates->url);
    else if (result != -ENOENT)
        flowd_warning("registry", "the copy is not used: %s", err.message);
}

static void follow_file(struct flowd_registry_updates *updates, const char *path,
                        const char *state_dir)
{
    if (flowd_registry_follow(updates->registry, path, state_dir, &updates->file_err) == 0)
        updates->file_err.message[0] = '\0';
}

void flowd_registry_updates_follow(struct flowd_registry_updates *updates,
                                   const struct flowd_registry_places *places)
{
    const bool same = strcmp(places->url, updates->url != NULL ? updates->url : "") == 0;

    stop(updates);
    if (!same || updates->state_dir == NULL)
        if (!set_url(updates, places->url, places->state_dir)) {
            flowd_err("registry", "out of memory; it is not fetched");
            return;
        }
    updates->refresh_s = places->refresh_s;
    updates->file_err.message[0] = '\0';
    if (updates->url == NULL) {
        follow_file(updates, places->path, places->state_dir);
        return;
    }
    /* The copy in stateDir is the URL's. */
    if (!updates->has_answered && places->path[0] != '\0')
        follow_file(updates, places->path, "");
    if (!same)
        take_copy(updates);
    reset_retry(updates);
    if (updates->begun)
        fetch_after(updates, 0);
}

void flowd_registry_updates_begin(struct flowd_registry_updates *updates)
{
    updates->begun = true;
    if (updates->url != NULL)
        fetch_after(updates, 0);
}

const char *flowd_registry_updates_failure(const struct flowd_registry_updates *updates)
{
    return updates->failure[0] != '\0' ? updates->failure : updates->file_err.message;
}

void flowd_registry_updates_status(const struct flowd_registry_updates *updates, json_t *status)
{
    json_t *object = json_object_get(status, "registry");
    const char *failure = flowd_registry_updates_failure(updates);

    if (flowd_registry_origin(updates->registry)[0] != '\0')
        json_object_set_new(object, "origin",
                            json_string(flowd_registry_origin(updates->registry)));
    if (failure[0] != '\0')
        json_object_set_new(object, "error", json_string(failure));
}

void flowd_registry_updates_count(const struct flowd_registry_updates *updates,
                                  const struct flowd_counter_sink *sink)
{
    struct counts counts = updates->counts;

    counts.experiments = flowd_registry_count(updates->registry);
    counts.age_us = (uint64_t)flowd_registry_age_us(updates->registry);
    flowd_counters_put(sink, counters, &counts, NULL);
}
