/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plugin, a backend or an enricher is: a constant table, exported as its file's only symbol
 * and listed by CMake (flowd_add_plugin, flowd_add_backend, flowd_add_enricher).
 *
 * Every module has a life: check() on the configuration, start(), any number of reload()s, stop().
 * Plugins have no more: they hand flow events to the hub as they read them. Backends are told of
 * each start and end, queue what follows from it, and send it in commit(), once per loop turn.
 * Enrichers are told the same and hand the hub samples of the flows' sockets, which it keeps and
 * shows to the backends.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/source.h"
#include "daemon/options/option.h"

struct ev_loop;
struct flowd_counter_sink;
struct flowd_fetcher;
struct flowd_hub;
struct flowd_host;
struct flowd_listen_fds;
struct flowd_liveness;
struct flowd_metrics;
struct flowd_registry;
struct flowd_tcp_sample;

/* What the daemon lends to its modules. Everything outlives them. */
struct flowd_context {
    struct ev_loop *loop;
    struct flowd_hub *hub;
    struct flowd_host *host;
    struct flowd_registry *registry;
    struct flowd_fetcher *fetcher;       /* documents by http(s) */
    struct flowd_liveness *liveness;     /* who is going to ask opens it (flowd_liveness_open) */
    struct flowd_listen_fds *listen_fds; /* what was handed over; NULL: nothing */
    size_t flows_max;                    /* flows.max at start */
    int64_t sample_period_ms;            /* enrichers.period at start */
    /* The daemon's part of the status: version, uptime, modules, counters. Returns owned or NULL.
     */
    json_t *(*status)(const struct flowd_context *context);
    /* Writes the metrics of the daemon and of every module. */
    void (*metrics)(const struct flowd_context *context, struct flowd_metrics *metrics);
    /* 0 when everything that is configured works; else -errno with the reason. */
    int (*ready)(const struct flowd_context *context, struct flowd_error *err);
};

enum flowd_module_kind { FLOWD_PLUGIN, FLOWD_BACKEND, FLOWD_ENRICHER };

/* What modules know of each other's settings. */
struct flowd_shared {
    /* The tag that packets of no flow are to bear. */
    const struct flowd_module *general_tag_plugin; /* who names it; NULL: nobody */
    struct flowd_tag general_tag;
    bool general_tag_taken; /* by a backend, which marks packets with it */
    /* More collectors of what is relayed, "host[:port]"; NULL: no plugin names any. */
    const struct flowd_strings *firefly_receivers;
    bool firefly_receivers_taken; /* by a backend, which sends to them */
};

/* What a configuration is judged by, beside itself. */
struct flowd_environment {
    const struct flowd_host *host; /* NULL: only what the configuration alone shows is asked for */
    bool has_enricher;             /* flows are sampled */
};

/* A backend's name for what it did with a flow, as the API shows it ("marked", "not-ipv6"). */
struct flowd_backend_status {
    const char *name;
    bool failed; /* the event was not applied: the API does not answer with success */
};

/* What the hub asks of a backend. Each function but those that say so may be NULL. */
struct flowd_backend_ops {
    const struct flowd_backend_status *statuses; /* indexed by flow->backend[slot] */
    /*
     * Which of them is said of a flow, where that depends on more than the flow: what holds for all
     * of them needs no walk over them when it changes. NULL: flow->backend[slot].
     */
    const struct flowd_backend_status *(*show_status)(const void *instance,
                                                      const struct flowd_flow *flow);
    /*
     * May refuse a start before anything has been done: -errno with a reason that names the field.
     */
    int (*accept)(void *instance, const struct flowd_event *event, struct flowd_error *err);
    /*
     * A flow with this key may begin or end in a moment, after a few others: a hint, by which what
     * will be looked at then can be on its way from memory into the cache. It changes nothing.
     */
    void (*flow_expected)(void *instance, const struct flowd_flow_key *key);
    /*
     * A flow has begun (restored: it was live before this process started), or has ended: queues,
     * and sets flow->backend[slot]. At the end of a flow flowd_hub_sample_of() has its last sample.
     */
    void (*flow_start)(void *instance, struct flowd_flow *flow, bool restored);
    void (*flow_end)(void *instance, struct flowd_flow *flow);
    /*
     * An event came as a firefly (event->message), which is valid in itself, and has come to that.
     * flow is the one it concerns, NULL where there is none: an end of an unknown flow, or a start
     * that a limit or a backend refused. It is told after flow_start() of a flow that the event
     * starts, and before flow_end() of one that it ends.
     */
    void (*firefly)(void *instance, const struct flowd_event *event, struct flowd_flow *flow,
                    enum flowd_result result);
    /*
     * The flow, which is live, was sampled, after a period or so since the backends were told the
     * last time.
     */
    void (*flow_sample)(void *instance, struct flowd_flow *flow,
                        const struct flowd_tcp_sample *sample);
    /* Sends what was queued in this loop turn and sets the final flow->backend[slot]. */
    void (*commit)(void *instance);
};

/* What the hub asks of an enricher. Each may be NULL. */
struct flowd_enricher_ops {
    /* A flow has begun (restored: it was live before this process started), or has ended. */
    void (*flow_start)(void *instance, struct flowd_flow *flow, bool restored);
    void (*flow_end)(void *instance, struct flowd_flow *flow);
};

/* What every module has. What may be NULL says so. */
struct flowd_module {
    enum flowd_module_kind kind;
    const char *name;    /* its key under "plugins", "backends" or "enrichers" */
    const char *alias;   /* another key that still works; NULL: none */
    const char *summary; /* one line */
    const struct flowd_option *options;
    size_t config_size; /* of the struct that the options fill */
    /* It needs privileges for what it does to the kernel, and flowd is of use without it. */
    bool can_be_left_out;

    /*
     * Rewrites members that other programs' configurations have into those of the table, before the
     * table is read; may be NULL. object belongs to the caller and may be changed; a line for each
     * old spelling goes to report->deprecations.
     */
    void (*translate)(json_t *object, const char *path, struct flowd_options_report *report);
    /*
     * The keys that are in translate()'s way and in no row of options, as rows for the schema and
     * the manual; nothing is read by them. NULL: there are none.
     */
    const struct flowd_option *old_options;
    /* Mistakes that a single row can't show; may be NULL. path is the section's. */
    void (*check)(const void *config, const char *path, struct flowd_messages *errors);
    /*
     * Gives what others are to know of these settings, and takes into them what it has to know of
     * others'; plugins are asked before backends. May be NULL.
     */
    void (*share)(void *config, const char *path, struct flowd_shared *shared,
                  struct flowd_messages *errors);
    /* What is allowed, but hardly meant. May be NULL. */
    void (*warn)(const void *config, const char *path, const struct flowd_environment *environment,
                 struct flowd_messages *warnings);

    /*
     * config (borrowed) stays valid and unchanged until stop() or the next reload() has returned.
     * Returns 0 with an instance in *instance (owned by the module until stop()), or -errno.
     * -EPERM of a module that can be left out: flowd goes on without it and says so.
     * A backend keeps flowd_hub_next_slot(), an index of flow->backend, for its statuses.
     */
    int (*start)(const struct flowd_context *context, const void *config, void **instance,
                 struct flowd_error *err);
    /* Takes a changed configuration; on failure the module goes on with the old one. May be NULL.
     */
    int (*reload)(void *instance, const void *config, struct flowd_error *err);
    /* Clean stop: what was promised is sent, kernel state goes as configured. Frees the instance.
     */
    void (*stop)(void *instance);

    /* 0, or -EAGAIN with the reason why it does not do what it is configured for; may be NULL. */
    int (*ready)(const void *instance, struct flowd_error *err);
    /*
     * Adds members that are no counters to the module's object in the status; may be NULL.
     * "interfaces" stands in the status itself and not in the object.
     */
    void (*status)(const void *instance, json_t *object);
    /* Puts the module's counters (flowd_counters_put) into its object or the metrics; may be NULL.
     */
    void (*count)(const void *instance, const struct flowd_counter_sink *sink);
    /*
     * `flowd clean`: removes kernel state that any flowd left. interfaces (may be empty: all).
     * Prints nothing; appends what it removed to removed. May be NULL.
     */
    int (*clean)(const void *config, const struct flowd_strings *interfaces,
                 struct flowd_messages *removed, struct flowd_error *err);

    const struct flowd_backend_ops *backend;   /* of a backend, else NULL */
    const struct flowd_enricher_ops *enricher; /* of an enricher, else NULL */
};

/* Every module of this build, NULL-terminated; generated by CMake. */
extern const struct flowd_module *const flowd_modules[];
