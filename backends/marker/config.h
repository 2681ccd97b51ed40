/*
 * The marker's options.
 */
#pragma once

#include <stdbool.h>

#include "daemon/option.h"

enum marker_strategy {
    MARKER_STRATEGY_LABEL,
    MARKER_STRATEGY_HOP_BY_HOP,
    MARKER_STRATEGY_DESTINATION,
    MARKER_STRATEGY_HOP_BY_HOP_DESTINATION,
};

enum marker_attach_method { MARKER_ATTACH_AUTO, MARKER_ATTACH_TCX, MARKER_ATTACH_TC };

enum marker_on_exit { MARKER_ON_EXIT_DETACH, MARKER_ON_EXIT_KEEP };

struct flowd_marker_config {
    struct flowd_strings target_interfaces;
    bool discover_interfaces;
    int strategy; /* enum marker_strategy */
    int option_encoding;
    bool match_all;
    bool match_source;
    int attach; /* enum marker_attach_method */
    bool remove_qdisc;
    char *pin_path;
    int on_exit; /* enum marker_on_exit */
    bool debug_mode;
};

/* Ends with a NULL key. */
extern const struct flowd_option marker_options[];

/* struct flowd_module's check. */
void marker_config_check(const void *values, const char *path, struct flowd_mistakes *mistakes);
