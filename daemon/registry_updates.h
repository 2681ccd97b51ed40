/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the registry to what its file and its URL say. Flows hold numbers and names are looked up
 * when they are read or shown, so the registry may change at any time.
 *
 * What the URL gave last, also before a restart, goes before the file: the file is there until the
 * URL has answered for the first time.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "daemon/flow/registry.h"

struct ev_loop;
struct flowd_counter_sink;
struct flowd_fetcher;
struct flowd_registry_updates;

/* What is followed: of the settings. */
struct flowd_registry_places {
    const char *path; /* "": none */
    const char *url;  /* "": none */
    int64_t refresh_s;
    const char *state_dir; /* "": no copy is kept */
};

/* The registry and the fetcher (borrowed) outlive it. Returns owned, NULL: no memory. */
struct flowd_registry_updates *flowd_registry_updates_new(struct ev_loop *loop,
                                                          struct flowd_fetcher *fetcher,
                                                          struct flowd_registry *registry);
void flowd_registry_updates_free(struct flowd_registry_updates *updates);

/*
 * Reads the file and the copy at once, at the start and again at each reload, and has the URL
 * fetched in the next turn of the loop once it has begun. Says in the log what became of it.
 */
void flowd_registry_updates_follow(struct flowd_registry_updates *updates,
                                   const struct flowd_registry_places *places);

/* From here on URLs are fetched: loading libcurl is for when flowd is ready. */
void flowd_registry_updates_begin(struct flowd_registry_updates *updates);

/* Why the names may be missing or old: the file can't be read, or the URL does not answer; "": no.
 */
const char *flowd_registry_updates_failure(const struct flowd_registry_updates *updates);
/* Adds to the status's object "registry" what is no number: origin, error. */
void flowd_registry_updates_status(const struct flowd_registry_updates *updates, json_t *status);
void flowd_registry_updates_count(const struct flowd_registry_updates *updates,
                                  const struct flowd_counter_sink *sink);
