/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy of a registry that was fetched: it is what it was when it was written, or it is not
 * used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/flow/registry_copy.h"
#include "lab/scratch.h"

#define URL "https://registry.example.org/api.json"

static const char body[] = "{\"experiments\": [{\"expName\": \"only\", \"expId\": 9}]}";
static struct flowd_registry *registry;
static struct scratch scratch;

static int set_up(void **state)
{
    const struct flowd_registry_version version = {.etag = "W/\"1\"", .last_modified = "then"};

    (void)state;
    registry = flowd_registry_new();
    assert_non_null(registry);
    scratch_make(&scratch);
    assert_int_equal(
        flowd_registry_copy_store(scratch.path, URL, &version, body, sizeof(body) - 1, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    flowd_registry_free(registry);
    scratch_remove(&scratch);
    return 0;
}

/* What loading says, and that a copy which is not used leaves everything as it was. */
static void expect(const char *url, int result)
{
    struct flowd_registry_version version = {.etag = "old"};

    assert_int_equal(flowd_registry_copy_load(registry, scratch.path, url, &version, NULL), result);
    assert_int_equal(flowd_registry_count(registry), result == 0 ? 1 : 0);
    assert_string_equal(version.etag, result == 0 ? "W/\"1\"" : "old");
    if (result == 0) {
        assert_string_equal(version.last_modified, "then");
        assert_string_equal(flowd_registry_origin(registry), url);
    }
}

static void test_it_comes_back(void **state)
{
    (void)state;
    expect(URL, 0);
}

static void test_another_url(void **state)
{
    (void)state;
    expect(URL "?", -ENOENT);
}

static void test_changed(void **state)
{
    char changed[sizeof(body)];

    (void)state;
    memcpy(changed, body, sizeof(body));
    *strchr(changed, '9') = '8';
    scratch_write(&scratch, "registry.json", changed, sizeof(body) - 1);
    expect(URL, -EINVAL);
    scratch_write(&scratch, "registry.json", body, sizeof(body) - 2);
    expect(URL, -EINVAL);
    scratch_write(&scratch, "registry.json", "", 0);
    expect(URL, -EINVAL);
    scratch_write(&scratch, "registry.json", body, sizeof(body) - 1);
    expect(URL, 0);
}

/* Which can be no JSON, of other types, or not be there. */
static void test_source(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"url\": 1}"};
    char path[SCRATCH_PATH_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        scratch_write(&scratch, "registry.json.source", texts[i], strlen(texts[i]));
        expect(URL, texts[i][0] == '\0' || texts[i][1] == '\0' ? -EINVAL : -ENOENT);
    }
    memcpy(path, scratch_path(&scratch, "registry.json.source"), sizeof(path));
    assert_int_equal(unlink(path), 0);
    expect(URL, -ENOENT);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect(URL, -EINVAL);
}

/* With a check sum that is right, too, it has to be a registry. */
static void test_no_registry(void **state)
{
    const struct flowd_registry_version version = {.etag = ""};

    (void)state;
    assert_int_equal(flowd_registry_copy_store(scratch.path, URL, &version, "{}", 2, NULL), 0);
    expect(URL, -EINVAL);
}

static void test_no_directory(void **state)
{
    struct flowd_registry_version version = {.etag = ""};
    struct flowd_error err;

    (void)state;
    assert_int_equal(flowd_registry_copy_load(registry, "", URL, &version, NULL), -ENOENT);
    assert_int_equal(flowd_registry_copy_store("", URL, &version, body, 1, NULL), 0);
    assert_int_equal(flowd_registry_copy_store("/nowhere", URL, &version, body, 1, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/nowhere/registry.json"));
}

static void test_confirmed(void **state)
{
    const struct timespec long_ago[] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct stat status;
    char path[SCRATCH_PATH_SIZE];

    (void)state;
    memcpy(path, scratch_path(&scratch, "registry.json"), sizeof(path));
    assert_int_equal(utimensat(-1, path, long_ago, 0), 0);
    flowd_registry_copy_confirm(scratch.path);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_mtim.tv_sec > 1);
    expect(URL, 0);
    flowd_registry_copy_confirm("");
    flowd_registry_copy_confirm("/nowhere");
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(test_it_comes_back), PLACED(test_another_url), PLACED(test_changed),
        PLACED(test_source),        PLACED(test_no_registry), PLACED(test_no_directory),
        PLACED(test_confirmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
