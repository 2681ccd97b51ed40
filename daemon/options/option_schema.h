/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option tables as JSON Schema (draft 2020-12), for editors and for the manual. What a schema has
 * no word for stands in members of its own: "x-unit", "x-reload" (it can change while flowd runs),
 * "x-oldSpellingOf" (the key that replaces this one) and "x-instead".
 */
#pragma once

#include <jansson.h>

#include "daemon/options/option.h"

/*
 * The object that the table is read from. old (may be NULL) are rows of keys that are rewritten
 * before the table is read: each is known, and deprecated. Returns owned, NULL: no memory.
 */
json_t *flowd_options_schema(const struct flowd_option *table, const struct flowd_option *old);
