/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML document as JSON: what configuration files are made of, by libyaml.
 *
 * Scalars follow the core schema of YAML 1.2 (true, false, null, integers, reals, else strings).
 * Bounded: 32 levels deep, 100,000 nodes and 4 MiB of text with what aliases repeat, so that a
 * small file can't become a large one.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "daemon/base/error.h"

/*
 * Reads the one document in text. Returns owned, or NULL with the line and the reason in err: no
 * YAML, a key twice, a key that is no scalar, a merge key, a tag of its own, too large. A document
 * without content is null.
 */
json_t *flowd_yaml_parse(const char *text, size_t length, struct flowd_error *err);
