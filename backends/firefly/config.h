/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the firefly backend is told to do: the options of backends.firefly.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/hub/module.h"
#include "daemon/options/option.h"
#include "daemon/stun/public_addresses.h"

/* Which TCP statistics stand in a firefly: firefly_config.enrichment_mode. */
enum firefly_mode { FIREFLY_LEAN, FIREFLY_COMPATIBLE, FIREFLY_ALL };

struct firefly_config {
    int64_t destination_port;
    bool send_to_destination;
    struct flowd_strings collectors;
    struct flowd_strings exclude_networks;
    bool prepend_syslog;
    bool relay;
    bool enrich;
    int enrichment_mode; /* enum firefly_mode */
    struct flowd_public_settings stun;
    /* More collectors, for what is relayed; NULL: none. Good while it is started or reloaded. */
    const struct flowd_strings *receivers;
};

extern const struct flowd_option firefly_options[];
extern const struct flowd_option firefly_old_options[];

/* The functions of struct flowd_module of these names. */
void firefly_check(const void *config, const char *path, struct flowd_messages *errors);
void firefly_share(void *config, const char *path, struct flowd_shared *shared,
                   struct flowd_messages *errors);
void firefly_warn(const void *config, const char *path, const struct flowd_environment *environment,
                  struct flowd_messages *warnings);
void firefly_translate(json_t *object, const char *path, struct flowd_options_report *report);
