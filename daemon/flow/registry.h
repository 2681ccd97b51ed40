/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SciTags registry: names of experiments and of their activities, read from `api.json`.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/messages.h"

struct flowd_registry;

/* An empty registry. Returns owned, NULL: no memory. */
struct flowd_registry *flowd_registry_new(void);
void flowd_registry_free(struct flowd_registry *registry);

/*
 * Replaces the contents by those of the text (size bytes of JSON). An entry that is no good is left
 * out, and one whose name others have is not found by it: each adds a line to skipped. On failure
 * the old contents stay. Returns 0 or -errno.
 */
int flowd_registry_read(struct flowd_registry *registry, const char *text, size_t size,
                        struct flowd_messages *skipped, struct flowd_error *err);
void flowd_registry_clear(struct flowd_registry *registry);
/* Moves the contents of from, which is left empty, in the place of the registry's own. */
void flowd_registry_move(struct flowd_registry *registry, struct flowd_registry *from);

/*
 * Where the names are from (a path or URL, copied), and when they were last known to be those
 * (CLOCK_REALTIME). Forgotten with the names.
 */
void flowd_registry_set_origin(struct flowd_registry *registry, const char *origin,
                               int64_t confirmed_us);
/* "" if there are no names, or nobody said. Borrowed until the next load. */
const char *flowd_registry_origin(const struct flowd_registry *registry);
/* Since they were known to be those; 0 where nobody said. */
int64_t flowd_registry_age_us(const struct flowd_registry *registry);

size_t flowd_registry_count(const struct flowd_registry *registry);

/*
 * Finds a name of len bytes, without regard to blanks, "_", "-" and case. Of several, the one that
 * is written like it counts. Returns 0, -ENOENT, or -ENOTUNIQ: it may be one or another. An
 * activity's name belongs to its experiment.
 */
int flowd_registry_experiment(const struct flowd_registry *registry, const char *name, size_t len,
                              uint16_t *experiment);
int flowd_registry_activity(const struct flowd_registry *registry, uint16_t experiment,
                            const char *name, size_t len, uint8_t *activity);

/* The registry's name for a number; NULL: none. Borrowed until the next load. */
const char *flowd_registry_experiment_name(const struct flowd_registry *registry,
                                           uint16_t experiment);
const char *flowd_registry_activity_name(const struct flowd_registry *registry, uint16_t experiment,
                                         uint8_t activity);

/*
 * Reads "a number or, where a registry is loaded, a name". Returns 0; -ERANGE for a number outside
 * 0-FLOWD_EXPERIMENT_MAX / 0-FLOWD_ACTIVITY_MAX; -ENOENT for an unknown name; -ENOTUNIQ for one
 * that several have; with the reason.
 */
int flowd_registry_read_experiment(const struct flowd_registry *registry, const char *text,
                                   size_t len, uint16_t *experiment, struct flowd_error *err);
int flowd_registry_read_activity(const struct flowd_registry *registry, uint16_t experiment,
                                 const char *text, size_t len, uint8_t *activity,
                                 struct flowd_error *err);
