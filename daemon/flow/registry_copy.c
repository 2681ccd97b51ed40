/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy of a registry that was fetched. Its two files are not replaced in one step, and the
 * registry may be edited by hand: a check sum in the second one says whether they belong together.
 * If not, what the server calls its version would keep it from sending that again.
 */
#include "daemon/flow/registry_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/flow/registry_content.h"

#define COPY_NAME "registry.json"
#define SOURCE_NAME "registry.json.source"
#define COPY_MAX ((size_t)16 << 20)
#define SOURCE_MAX ((size_t)64 << 10)
#define CHECK_SIZE 17

static void path_of(const char *state_dir, const char *name, char path[static PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", state_dir, name);
}

/* FNV-1a: against mistakes, not against enemies, who would have to be root. */
static void check_of(const char *data, size_t size, char check[static CHECK_SIZE])
{
    uint64_t sum = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++)
        sum = (sum ^ (unsigned char)data[i]) * 0x100000001b3u;
    snprintf(check, CHECK_SIZE, "%016llx", (unsigned long long)sum);
}

static void take(char *out, size_t size, const json_t *value)
{
    const char *text = json_string_value(value);

    snprintf(out, size, "%s", text != NULL && strlen(text) < size ? text : "");
}

/* Returns 0, -ENOENT, or -EINVAL: they do not belong together. */
static int read_source(const char *state_dir, const char *url, const struct flowd_content *copy,
                       struct flowd_registry_version *version, struct flowd_error *err)
{
    struct flowd_content content;
    char path[PATH_MAX], check[CHECK_SIZE], seen[CHECK_SIZE], seen_url[2048];
    json_t *root;
    int result;

    path_of(state_dir, SOURCE_NAME, path);
    result = flowd_content_read(path, SOURCE_MAX, &content, err);
    root = result == 0 ? json_loadb(content.data, content.size, 0, NULL) : NULL;
    flowd_content_fini(&content);
    if (result < 0)
        return result;
    if (root == NULL)
        return flowd_fail(err, EINVAL, "%s is no JSON", path);
    take(seen_url, sizeof(seen_url), json_object_get(root, "url"));
    take(seen, sizeof(seen), json_object_get(root, "check"));
    check_of(copy->data, copy->size, check);
    if (strcmp(seen_url, url) != 0)
        result = flowd_fail(err, ENOENT, "%s is of another URL", path);
    else if (strcmp(seen, check) != 0)
        result = flowd_fail(err, EINVAL, "%s is of another version of %s", path, COPY_NAME);
    if (result == 0) {
        take(version->etag, sizeof(version->etag), json_object_get(root, "etag"));
        take(version->last_modified, sizeof(version->last_modified),
             json_object_get(root, "lastModified"));
    }
    json_decref(root);
    return result;
}

static int load(struct flowd_registry *registry, const char *state_dir, const char *url,
                const struct flowd_content *copy, struct flowd_registry_version *version,
                struct flowd_error *err)
{
    struct flowd_registry_version read = {.etag = ""};
    struct flowd_messages skipped = {0};
    int result = read_source(state_dir, url, copy, &read, err);

    if (result < 0)
        return result;
    result = flowd_registry_read(registry, copy->data, copy->size, &skipped, err);
    flowd_messages_fini(&skipped);
    if (result < 0)
        return result;
    flowd_registry_set_origin(registry, url, copy->modified_us);
    *version = read;
    return 0;
}

int flowd_registry_copy_load(struct flowd_registry *registry, const char *state_dir,
                             const char *url, struct flowd_registry_version *version,
                             struct flowd_error *err)
{
    struct flowd_content copy;
    char path[PATH_MAX];
    int result;

    if (state_dir[0] == '\0')
        return flowd_fail(err, ENOENT, "no stateDir");
    path_of(state_dir, COPY_NAME, path);
    result = flowd_content_read(path, COPY_MAX, &copy, err);
    if (result == 0)
        result = load(registry, state_dir, url, &copy, version, err);
    flowd_content_fini(&copy);
    return result;
}

static int store_source(const char *state_dir, const char *url,
                        const struct flowd_registry_version *version, const char *data, size_t size)
{
    char path[PATH_MAX], check[CHECK_SIZE];
    json_t *root;
    char *text;
    int result;

    check_of(data, size, check);
    root = json_pack("{s:s, s:s, s:s, s:s}", "url", url, "etag", version->etag, "lastModified",
                     version->last_modified, "check", check);
    text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    path_of(state_dir, SOURCE_NAME, path);
    result = text != NULL ? flowd_content_write(path, text, strlen(text), false) : -EINVAL;
    free(text);
    return result;
}

int flowd_registry_copy_store(const char *state_dir, const char *url,
                              const struct flowd_registry_version *version, const char *data,
                              size_t size, struct flowd_error *err)
{
    char path[PATH_MAX];
    int result;

    if (state_dir[0] == '\0')
        return 0;
    path_of(state_dir, COPY_NAME, path);
    result = flowd_content_write(path, data, size, false);
    if (result == 0)
        result = store_source(state_dir, url, version, data, size);
    return result < 0 ? flowd_fail_errno(err, -result, "the registry can't be copied to %s", path)
                      : 0;
}

void flowd_registry_copy_confirm(const char *state_dir)
{
    char path[PATH_MAX];

    if (state_dir[0] == '\0')
        return;
    path_of(state_dir, COPY_NAME, path);
    (void)utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}
