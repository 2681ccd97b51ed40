/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What option.c does with lists. For that file alone.
 */
#pragma once

#include <jansson.h>

#include "daemon/options/option.h"

/* Frees what they own and empties them; the struct itself is not freed. */
void option_strings_fini(struct flowd_strings *strings);
void option_integers_fini(struct flowd_integers *integers);
void option_pairs_fini(struct flowd_pairs *pairs);

/* As JSON arrays, and an object. Returns owned, NULL: no memory. */
json_t *option_strings_json(const struct flowd_strings *strings);
json_t *option_integers_json(const struct flowd_integers *integers);
json_t *option_pairs_json(const struct flowd_pairs *pairs);
