/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: a name, a number, and what is neither.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "daemon/base/group.h"

#define UNTOUCHED 77u

static void test_group_find(void **state)
{
    static const struct {
        const char *name;
        int result;
        gid_t gid;
    } rows[] = {
        {"root", 0, 0},
        {"0", 0, 0},
        {"12345", 0, 12345},
        {"4294967294", 0, 4294967294u},
        {"4294967295", -ENOENT, UNTOUCHED}, /* "unchanged" to chown */
        {"no-such-group", -ENOENT, UNTOUCHED},
        {"-1", -ENOENT, UNTOUCHED},
        {"12x", -ENOENT, UNTOUCHED},
        {"", -ENOENT, UNTOUCHED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        gid_t gid = UNTOUCHED;

        assert_int_equal(flowd_group_find(rows[i].name, &gid), rows[i].result);
        assert_int_equal(gid, rows[i].gid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_group_find)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
