/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error messages: system texts, wrapping, and messages that do not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/base/error.h"

static void test_fail(void **state)
{
    struct flowd_error err;

    (void)state;
    assert_int_equal(flowd_fail_errno(&err, EADDRINUSE, "bind %s", "[::1]:7777"), -EADDRINUSE);
    assert_string_equal(err.message, "bind [::1]:7777: Address already in use");
    assert_int_equal(flowd_fail(&err, EINVAL, "field: %d", 7), -EINVAL);
    assert_string_equal(err.message, "field: 7");
    assert_int_equal(flowd_fail_errno(NULL, EPERM, "nobody listens"), -EPERM);
    assert_int_equal(flowd_fail(NULL, EPERM, "nobody listens"), -EPERM);
}

static void test_remedy(void **state)
{
    struct flowd_error err;

    (void)state;
    assert_string_equal(flowd_error_remedy(), "");
    flowd_error_set_remedy(" (ask the keeper)");
    assert_string_equal(flowd_error_remedy(), " (ask the keeper)");
    flowd_fail_errno(&err, EROFS, "open x");
    assert_string_equal(err.message, "open x: Read-only file system (ask the keeper)");
    flowd_fail_errno(&err, ENOENT, "open x");
    assert_string_equal(err.message, "open x: No such file or directory");
    assert_int_equal(flowd_fail_errno(&err, EACCES, "%0*d", FLOWD_ERROR_SIZE, 7), -EACCES);
    assert_int_equal(strlen(err.message), FLOWD_ERROR_SIZE - 1);
    flowd_error_set_remedy(NULL);
    flowd_fail_errno(&err, EPERM, "open x");
    assert_string_equal(err.message, "open x: Operation not permitted");
}

static void test_field(void **state)
{
    struct flowd_error err;
    char words[2 * FLOWD_ERROR_SIZE];

    (void)state;
    assert_int_equal(flowd_fail_field(&err, ERANGE, "srcPort", "%d is too small", 0), -ERANGE);
    assert_string_equal(err.message, "srcPort: 0 is too small");
    assert_string_equal(err.field, "srcPort");
    flowd_error_wrap(&err, -ERANGE, "event 3");
    assert_string_equal(err.message, "event 3: srcPort: 0 is too small");
    assert_string_equal(err.field, "srcPort");
    flowd_fail(&err, EINVAL, "srcPort: of no single field");
    assert_null(err.field);
    flowd_fail_field(&err, EINVAL, "dst", "x");
    flowd_fail_errno(&err, ENOENT, "y");
    assert_null(err.field);
    memset(words, 'w', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    assert_int_equal(flowd_fail_field(&err, EINVAL, "dst", "%s", words), -EINVAL);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(flowd_fail_field(NULL, EPERM, "dst", "nobody listens"), -EPERM);
}

static void test_wrap(void **state)
{
    struct flowd_error err;

    (void)state;
    flowd_fail(&err, EINVAL, "inner");
    assert_int_equal(flowd_error_wrap(&err, -EINVAL, "outer %d", 1), -EINVAL);
    assert_string_equal(err.message, "outer 1: inner");
    assert_int_equal(flowd_error_wrap(NULL, -EPERM, "nobody listens"), -EPERM);
}

static void test_too_long(void **state)
{
    char words[2 * FLOWD_ERROR_SIZE];
    struct flowd_error err;

    (void)state;
    memset(words, 'w', sizeof(words));
    words[sizeof(words) - 1] = '\0';
    assert_int_equal(flowd_fail_errno(&err, ENOENT, "%s", words), -ENOENT);
    assert_int_equal(strlen(err.message), FLOWD_ERROR_SIZE - 1);
    flowd_fail(&err, EINVAL, "inner");
    assert_int_equal(flowd_error_wrap(&err, -EINVAL, "%s", words), -EINVAL);
    assert_int_equal(strlen(err.message), FLOWD_ERROR_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail), cmocka_unit_test(test_remedy),   cmocka_unit_test(test_field),
        cmocka_unit_test(test_wrap), cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
