/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warnings: what a configuration may hold, but hardly means. `flowd check` prints them, the daemon
 * logs those that the configuration alone shows. Each module finds its own (struct flowd_module's
 * warn); what concerns several of them is found here.
 */
#pragma once

#include "daemon/configuration.h"

struct flowd_host;

/*
 * Adds a line for each. host NULL: only what the configuration alone shows, because this host is
 * still starting and may have tomorrow what it has not today.
 */
void flowd_configuration_warnings(const struct flowd_configuration *configuration,
                                  const struct flowd_host *host, struct flowd_messages *warnings);
