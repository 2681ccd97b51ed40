/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy of a registry that was fetched: stateDir/registry.json, and beside it in
 * registry.json.source of which URL it is and what its server calls it.
 */
#pragma once

#include "daemon/base/messages.h"
#include "daemon/flow/registry.h"

#define FLOWD_REGISTRY_TAG_SIZE 256

/* What its server calls this version of a document; each may be "". */
struct flowd_registry_version {
    char etag[FLOWD_REGISTRY_TAG_SIZE];
    char last_modified[64];
};

/*
 * Reads the copy of what came from url into the registry, and its version. Returns 0; -ENOENT if
 * there is none, or it is another URL's; another -errno with the reason if it is damaged: the
 * registry has its old contents then.
 */
int flowd_registry_copy_load(struct flowd_registry *registry, const char *state_dir,
                             const char *url, struct flowd_registry_version *version,
                             struct flowd_error *err);
/* Writes both files, without waiting for the disk. Returns 0 or -errno with the reason. */
int flowd_registry_copy_store(const char *state_dir, const char *url,
                              const struct flowd_registry_version *version, const char *data,
                              size_t size, struct flowd_error *err);
/* Notes that the copy is what the server has still. */
void flowd_registry_copy_confirm(const char *state_dir);
