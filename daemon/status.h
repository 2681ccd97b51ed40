/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon says about itself: the status of the API, readiness, the summary in the log.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/configuration.h"
#include "daemon/hub/module.h"

struct flowd_destroy_listener;
struct flowd_registry_updates;

/* A module that is configured. */
struct flowd_running_module {
    const struct flowd_module *module;
    void *instance;                 /* NULL: it could not start */
    char failure[FLOWD_ERROR_SIZE]; /* why, or "" */
};

/* What became of each SIGHUP. */
struct flowd_reloads {
    uint64_t done;
    uint64_t partly; /* some of what was changed waits for a restart, or a module refused it */
    uint64_t refused;
    uint32_t outdated; /* 1: the last one was not taken in full; else 0 */
};

/* What the daemon knows of its own run. */
struct flowd_running {
    struct flowd_running_module modules[FLOWD_MODULES_MAX];
    size_t count;
    struct flowd_registry_updates *registry;
    struct flowd_reloads reloads;
    bool ready;
    bool few_descriptors;  /* too few were left once everything was set up */
    int64_t started_us;    /* CLOCK_BOOTTIME */
    int64_t started_at_us; /* CLOCK_REALTIME */
};

/* destroy_listener may be NULL. Returns owned, NULL: no memory. */
json_t *flowd_status_json(const struct flowd_context *context, const struct flowd_running *running,
                          const struct flowd_destroy_listener *destroy_listener);
/* 0, or -EAGAIN with the reason: not set up yet, stopping, or a module could not start. */
int flowd_status_ready(const struct flowd_running *running, struct flowd_error *err);
/* A few lines in the log. */
void flowd_status_log(const struct flowd_context *context, const struct flowd_running *running,
                      const struct flowd_destroy_listener *destroy_listener);
