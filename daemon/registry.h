/*
 * The SciTags registry: names of experiments and of their activities, read from `api.json`.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/error.h"

struct flowd_registry;

/* An empty registry. Returns owned, NULL: no memory. */
struct flowd_registry *flowd_registry_new(void);
void flowd_registry_free(struct flowd_registry *registry);

/*
 * Replaces the contents by those of the file; "" empties it. On failure the old contents stay.
 * Returns 0 or -errno.
 */
int flowd_registry_load(struct flowd_registry *registry, const char *path, struct flowd_error *err);

size_t flowd_registry_count(const struct flowd_registry *registry);

/*
 * Finds a name of len bytes: in any case, "_" for a blank. Returns 0, or -ENOENT. An activity's
 * name belongs to its experiment.
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
 * 0-FLOWD_EXPERIMENT_MAX / 0-FLOWD_ACTIVITY_MAX; -ENOENT for an unknown name; with the reason.
 */
int flowd_registry_read_experiment(const struct flowd_registry *registry, const char *text,
                                   size_t len, uint16_t *experiment, struct flowd_error *err);
int flowd_registry_read_activity(const struct flowd_registry *registry, uint16_t experiment,
                                 const char *text, size_t len, uint8_t *activity,
                                 struct flowd_error *err);
