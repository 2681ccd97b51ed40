/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read from another program's configuration, made to fit the option tables.
 */
#pragma once

#include <jansson.h>

#include "daemon/configuration.h"

/*
 * Translates old spellings that no table has, and takes out what flowd does not know, has no value,
 * or is not in this version, with a line in notes for each. root is an object and changed; mistakes
 * and old spellings go to report.
 */
void flowd_conversion_fit(json_t *root, const struct flowd_module *const *modules,
                          struct flowd_messages *notes, struct flowd_options_report *report);

/* flowd_configuration_json() without what has its default. Returns owned, NULL: no memory. */
json_t *flowd_conversion_json(const struct flowd_configuration *configuration);
