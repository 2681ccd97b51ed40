/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registry from a file. Names are a convenience: what is no good is said in the log, and flows
 * that are announced by number go on.
 */
#include "daemon/flow/registry_file.h"

#include <limits.h>
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/flow/registry_content.h"

#define SIZE_MAX_BYTES (16 << 20)
#define COPY_NAME "registry.json"
/* A registry with more than so many is some other file. */
#define SKIPPED_LOGGED 10

/* Loads the file, whose bytes stay with the caller. */
static int registry_file_load(struct flowd_registry *registry, const char *path,
                              struct flowd_content *content, struct flowd_messages *skipped,
                              struct flowd_error *err)
{
    struct flowd_messages unseen = {0};
    int result = flowd_content_read(path, SIZE_MAX_BYTES, content, err);

    if (result < 0)
        return result;
    result = flowd_registry_read(registry, content->data, content->size,
                                 skipped != NULL ? skipped : &unseen, err);
    flowd_messages_fini(&unseen);
    return result < 0 ? flowd_error_wrap(err, result, "registry %s", path) : 0;
}

int flowd_registry_load(struct flowd_registry *registry, const char *path,
                        struct flowd_messages *skipped, struct flowd_error *err)
{
    struct flowd_content content = {0};
    int result = 0;

    if (path[0] == '\0')
        flowd_registry_clear(registry);
    else
        result = registry_file_load(registry, path, &content, skipped, err);
    flowd_content_fini(&content);
    return result;
}

static void keep_copy(const char *state_dir, const struct flowd_content *content)
{
    char path[PATH_MAX];
    struct flowd_error err;
    int result;

    if (state_dir[0] == '\0')
        return;
    snprintf(path, sizeof(path), "%s/" COPY_NAME, state_dir);
    result = flowd_content_write(path, content->data, content->size, true);
    if (result == 0)
        return;
    flowd_fail_errno(&err, -result, "the registry can't be copied to %s", path);
    flowd_warning("registry", "%s", err.message);
}

void flowd_registry_log_skipped(const struct flowd_messages *skipped)
{
    for (size_t i = 0; i < skipped->count && i < SKIPPED_LOGGED; i++)
        flowd_warning("registry", "%s", skipped->lines[i]);
    if (skipped->count > SKIPPED_LOGGED)
        flowd_warning("registry", "%zu more entries are not as they should be",
                      skipped->count - SKIPPED_LOGGED);
}

static void take_copy(struct flowd_registry *registry, const char *state_dir, const char *why)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/" COPY_NAME, state_dir);
    if (state_dir[0] != '\0' && flowd_registry_load(registry, path, NULL, NULL) == 0) {
        flowd_registry_set_origin(registry, path, flowd_timestamp_now_us());
        flowd_err("registry", "%s; %zu experiments have their names from the last good copy, %s",
                  why, flowd_registry_count(registry), path);
    } else
        flowd_err("registry", "%s; flows are known by number only", why);
}

int flowd_registry_follow(struct flowd_registry *registry, const char *path, const char *state_dir,
                          struct flowd_error *err)
{
    struct flowd_messages skipped = {0};
    struct flowd_content content = {0};
    int result = 0;

    if (path[0] != '\0')
        result = registry_file_load(registry, path, &content, &skipped, err);
    if (path[0] == '\0') {
        flowd_registry_clear(registry);
    } else if (result == 0) {
        flowd_registry_set_origin(registry, path, flowd_timestamp_now_us());
        flowd_info("registry", "%zu experiments have names, from %s",
                   flowd_registry_count(registry), path);
        flowd_registry_log_skipped(&skipped);
        keep_copy(state_dir, &content);
    } else if (flowd_registry_count(registry) > 0) {
        flowd_err("registry", "%s; the old names stay", err->message);
    } else {
        take_copy(registry, state_dir, err->message);
    }
    flowd_messages_fini(&skipped);
    flowd_content_fini(&content);
    return result;
}
