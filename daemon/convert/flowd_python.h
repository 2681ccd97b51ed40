/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of flowd (Python), by their names in flowd.cfg, in flowd's words.
 */
#pragma once

#include <jansson.h>

#include "daemon/base/messages.h"

/*
 * Makes a configuration of assignments (borrowed; flowd_python_parse). A line in notes for each
 * setting that has no equivalent or means something else. Returns owned, NULL: no memory.
 */
json_t *flowd_python_convert(const json_t *assignments, struct flowd_messages *notes);
