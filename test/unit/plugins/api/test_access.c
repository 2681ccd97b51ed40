/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use the API: token files, bearer tokens and media types.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "access.h"
#include "lab/scratch.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* A slice in memory of just its size. */
static struct flowd_http_slice slice_of(const char *text)
{
    size_t length = strlen(text);
    char *data = malloc(length > 0 ? length : 1);

    assert_non_null(data);
    memcpy(data, text, length);
    return (struct flowd_http_slice){data, length};
}

static void slice_free(struct flowd_http_slice slice)
{
    free((void *)(uintptr_t)slice.data);
}

static bool matches(const struct api_tokens *tokens, const char *authorization)
{
    struct flowd_http_slice slice = slice_of(authorization);
    bool match = api_tokens_match(tokens, slice);

    slice_free(slice);
    return match;
}

static void test_tokens(void **state)
{
    static const char file[] = "  first-token \r\n\n\t\nsecond\tone\nthird";
    static const char *const good[] = {
        "Bearer first-token", "bearer first-token", "BEARER third",
        "Bearer   third",     "Bearer second\tone",
    };
    static const char *const bad[] = {
        "",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Bearer firsttoken",
        "Bearer first-toke",
        "Bearer first-tokenn",
        "Bearer first-tokenfirst-token",
        "Bearer First-token",
        "Bearer thirdthird",
        "Bearer thirdx",
        "Bearer second",
        "Bearer\tthird",
        "Bearerthird",
        "Basic third",
        "third",
        " Bearer third",
        "Bearer first-token \r\n",
        "Bearer first-token,third",
    };
    struct api_tokens tokens;
    struct scratch scratch;
    struct flowd_error err;

    (void)state;
    scratch_make(&scratch);
    scratch_write(&scratch, "tokens", file, sizeof(file) - 1);
    assert_int_equal(chmod(scratch_path(&scratch, "tokens"), 0600), 0);
    assert_int_equal(api_tokens_read(scratch_path(&scratch, "tokens"), &tokens, &err), 0);
    assert_int_equal(tokens.count, 3);
    for (size_t i = 0; i < ROWS(good); i++)
        if (!matches(&tokens, good[i]))
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ROWS(bad); i++)
        if (matches(&tokens, bad[i]))
            fail_msg("\"%s\" is let in", bad[i]);
    api_tokens_fini(&tokens);
    assert_int_equal(tokens.count, 0);
    assert_false(matches(&tokens, "Bearer first-token"));
    scratch_remove(&scratch);
}

static void test_token_files(void **state)
{
    struct api_tokens tokens = {.count = 77};
    struct scratch scratch;
    struct flowd_error err;
    char *large;

    (void)state;
    scratch_make(&scratch);
    assert_int_equal(api_tokens_read(scratch_path(&scratch, "none"), &tokens, &err), -ENOENT);
    assert_non_null(strstr(err.message, scratch_path(&scratch, "none")));
    scratch_write(&scratch, "empty", "", 0);
    assert_int_equal(api_tokens_read(scratch_path(&scratch, "empty"), &tokens, &err), -EINVAL);
    scratch_write(&scratch, "blank", " \n\r\n\t\n", 6);
    assert_int_equal(api_tokens_read(scratch_path(&scratch, "blank"), &tokens, &err), -EINVAL);
    assert_int_equal(api_tokens_read(scratch.path, &tokens, &err), -EINVAL);
    assert_int_equal(mkfifo(scratch_path(&scratch, "fifo"), 0600), 0);
    assert_int_equal(api_tokens_read(scratch_path(&scratch, "fifo"), &tokens, &err), -EINVAL);
    large = calloc(1, 1024 * 1024 + 1);
    assert_non_null(large);
    scratch_write(&scratch, "large", large, 1024 * 1024 + 1);
    free(large);
    assert_int_equal(api_tokens_read(scratch_path(&scratch, "large"), &tokens, &err), -EFBIG);
    assert_int_equal(tokens.count, 77);

    assert_int_equal(api_tokens_read("", &tokens, &err), 0);
    assert_int_equal(tokens.count, 0);
    api_tokens_fini(&tokens);
    scratch_remove(&scratch);
}

static void test_media_types(void **state)
{
    static const char *const json[] = {
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=utf-8",
        "application/json \t; x",
        "application/json;",
    };
    static const char *const others[] = {
        "",
        ";",
        "text/json",
        "application/jsonx",
        "application/json-seq",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
        "text/plain, application/json",
        "application/json, text/plain",
        "application",
        "json",
    };

    (void)state;
    for (size_t i = 0; i < ROWS(json); i++) {
        struct flowd_http_slice slice = slice_of(json[i]);

        if (!api_is_json(slice))
            fail_msg("\"%s\" is refused", json[i]);
        slice_free(slice);
    }
    for (size_t i = 0; i < ROWS(others); i++) {
        struct flowd_http_slice slice = slice_of(others[i]);

        if (api_is_json(slice))
            fail_msg("\"%s\" is taken", others[i]);
        slice_free(slice);
    }
    assert_false(api_is_json((struct flowd_http_slice){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_token_files),

        cmocka_unit_test(test_media_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
