/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd-go's spelling of the places that get what is relayed.
 */
#pragma once

#include <jansson.h>

#include "daemon/options/option.h"

/* What such a place has. */
extern const struct flowd_option firefly_receiver_options[];

/*
 * Rewrites "fireflyReceivers" of the section: each {"address": ..., "port": ...} becomes
 * "address:port". What is a string already stays.
 */
void firefly_receivers_translate(json_t *object, const char *path,
                                 struct flowd_options_report *report);
