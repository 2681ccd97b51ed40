/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry's file, and the last good copy of it that is kept in the state directory.
 */
#pragma once

#include "daemon/flow/registry.h"

/*
 * Replaces the registry's contents by those of the file at path; "" empties it. What is left out
 * adds lines to skipped (may be NULL). On failure the old contents stay. Returns 0 or -errno.
 */
int flowd_registry_load(struct flowd_registry *registry, const char *path,
                        struct flowd_messages *skipped, struct flowd_error *err);

/*
 * The same for the running daemon, which logs what became of it and keeps a copy of a good file in
 * state_dir ("": none). Where the file is no good, the names that are loaded stay, or the copy's
 * are taken if there are none. Returns 0 or -errno.
 */
int flowd_registry_follow(struct flowd_registry *registry, const char *path, const char *state_dir,
                          struct flowd_error *err);

/* Writes into the log what was left out, or the first of it. */
void flowd_registry_log_skipped(const struct flowd_messages *skipped);
