/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON Schema of the whole configuration, from the tables of the daemon and of its modules.
 */
#pragma once

#include <jansson.h>

#include "daemon/hub/module.h"

/* modules is NULL-terminated and borrowed. Returns owned, NULL: no memory. */
json_t *flowd_configuration_schema(const struct flowd_module *const *modules);
