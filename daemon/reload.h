/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reload's part that concerns modules, and what is counted of reloads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/configuration.h"
#include "daemon/status.h"

/*
 * Gives each running module its settings in fresh. One that does not take them, or can't reload at
 * all, goes on with those of running, which change places with the fresh ones. Returns whether
 * every module that reloads took its settings; what can't change while flowd runs must have been
 * put back before.
 */
bool flowd_reload_modules(struct flowd_running *daemon, struct flowd_configuration *running,
                          struct flowd_configuration *fresh);

/* Counts a reload; result is one of the counters of reloads. */
void flowd_reload_count(struct flowd_reloads *reloads, uint64_t *result);
