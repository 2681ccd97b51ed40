/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marker's options.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"
#include "daemon/hub/module.h"
#include "daemon/net/host.h"
#include "daemon/options/option.h"
#include "ebpf/marker.h"

enum marker_attach_method { MARKER_ATTACH_AUTO, MARKER_ATTACH_TCX, MARKER_ATTACH_TC };

enum marker_on_exit { MARKER_ON_EXIT_DETACH, MARKER_ON_EXIT_KEEP };

struct flowd_marker_config {
    struct flowd_strings target_interfaces;
    bool discover_interfaces;
    int strategy;             /* enum flowd_marker_strategy */
    int option_encoding;      /* enum flowd_marker_encoding */
    bool match_all;           /* also set by a plugin with a general tag */
    struct flowd_tag general; /* that tag; no option */
    bool match_source;
    int64_t mss_reduction; /* bytes */
    int attach;            /* enum marker_attach_method */
    bool remove_qdisc;
    char *pin_path;
    int on_exit; /* enum marker_on_exit */
    bool debug_mode;
};

/* By value; NULL-terminated. */
extern const char *const marker_strategy_names[];
extern const char *const marker_encoding_names[];

/* Ends with a NULL key. */
extern const struct flowd_option marker_options[];

/* struct flowd_module's translate. */
void marker_config_translate(json_t *object, const char *path, struct flowd_options_report *report);
/* struct flowd_module's check. */
void marker_config_check(const void *values, const char *path, struct flowd_messages *errors);
/* struct flowd_module's warn. */
void marker_config_warn(const void *values, const char *path,
                        const struct flowd_environment *environment,
                        struct flowd_messages *warnings);
/* struct flowd_module's share. */
void marker_config_share(void *values, const char *path, struct flowd_shared *shared,
                         struct flowd_messages *errors);
/* The largest experiment that marks of this configuration can say. */
unsigned marker_config_experiment_max(const struct flowd_marker_config *config);
