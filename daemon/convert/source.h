/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which program a configuration is for, by its content.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/messages.h"
#include "daemon/base/text.h"

enum flowd_source_syntax {
    FLOWD_SYNTAX_JSON,   /* flowd-go up to 2.2, and flowd itself */
    FLOWD_SYNTAX_YAML,   /* flowd-go 2.3 and later */
    FLOWD_SYNTAX_PYTHON, /* flowd (Python) */
};

/* What text looks like. Never fails: what looks like nothing is YAML. */
enum flowd_source_syntax flowd_source_syntax_of(const char *text, size_t length);
/*
 * Appends the file's bytes to text, up to 1 MiB. Returns 0 or -errno (EFBIG: it is larger); text is
 * for flowd_text_fini() in any case.
 */
int flowd_source_read(const char *path, struct flowd_text *text, struct flowd_error *err);

/* What the file is where it is another program's and no JSON ("YAML, as ..."); NULL: it is not. */
const char *flowd_source_foreign(const char *path);

/*
 * Reads text and puts it in flowd's words, with a line in notes for each thing that behaves
 * differently or was left out. Returns an object (owned) that may have old spellings and keys that
 * nobody knows, or NULL with the reason in err.
 */
json_t *flowd_source_convert(const char *text, size_t length, struct flowd_messages *notes,
                             struct flowd_error *err);
