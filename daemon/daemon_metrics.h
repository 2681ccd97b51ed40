/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics of the daemon and of everything that runs in it, but for the flows' own.
 */
#pragma once

struct flowd_destroy_listener;
struct flowd_context;
struct flowd_counter_sink;
struct flowd_metrics;
struct flowd_running;

/* Puts the counters that are of no module. destroy_listener may be NULL. */
void flowd_daemon_count(const struct flowd_context *context, const struct flowd_running *running,
                        const struct flowd_destroy_listener *destroy_listener,
                        const struct flowd_counter_sink *sink);
/* Those and everything else. */
void flowd_daemon_metrics(const struct flowd_context *context, const struct flowd_running *running,
                          const struct flowd_destroy_listener *destroy_listener,
                          struct flowd_metrics *metrics);
