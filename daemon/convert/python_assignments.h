/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assignments of literals to names, as a flowd.cfg of flowd (Python) has them: NAME = 'text', 5,
 * True, None, [...] or (...). The file is Python that flowd executes; nothing else of that language
 * is understood here.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "daemon/base/messages.h"

/*
 * Reads text. Returns an object of what each name has at the end (owned); tuples are arrays. What
 * is no such assignment gets a line with its number in notes and is left out. NULL: no memory.
 */
json_t *flowd_python_parse(const char *text, size_t length, struct flowd_messages *notes);
