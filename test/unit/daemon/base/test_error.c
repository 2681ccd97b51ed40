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
    assert_int_equal(flowd_fail(&err, EADDRINUSE, "bind %s", "[::1]:7777"), -EADDRINUSE);
    assert_string_equal(err.message, "bind [::1]:7777: Address already in use");
    assert_int_equal(flowd_fail(&err, -EINVAL, "field: %d", 7), -EINVAL);
    assert_string_equal(err.message, "field: 7");
    assert_int_equal(flowd_fail(NULL, EPERM, "nobody listens"), -EPERM);
}

static void test_wrap(void **state)
{
    struct flowd_error err;

    (void)state;
    flowd_fail(&err, -EINVAL, "inner");
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
    assert_int_equal(flowd_fail(&err, ENOENT, "%s", words), -ENOENT);
    assert_int_equal(strlen(err.message), FLOWD_ERROR_SIZE - 1);
    flowd_fail(&err, -EINVAL, "inner");
    assert_int_equal(flowd_error_wrap(&err, -EINVAL, "%s", words), -EINVAL);
    assert_int_equal(strlen(err.message), FLOWD_ERROR_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
