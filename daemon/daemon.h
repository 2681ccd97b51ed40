/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon: builds everything from a configuration, runs the loop, reloads, and takes everything
 * down again.
 */
#pragma once

#include "daemon/base/error.h"
#include "daemon/configuration.h"

/* What the command line says; it goes before the configuration. -1: not given. */
struct flowd_log_override {
    int level;
    int format;
};

/*
 * Runs until SIGINT or SIGTERM. Takes configuration; path is borrowed and read again on SIGHUP.
 * Returns 0 after a clean stop, or -errno if something could not be set up (with the reason).
 */
int flowd_daemon_run(struct flowd_configuration *configuration, const char *path,
                     const struct flowd_log_override *log, struct flowd_error *err);
