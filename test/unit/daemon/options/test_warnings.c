/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets in by a file's mode and group.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/messages.h"
#include "daemon/options/warnings.h"

static void test_access(void **state)
{
    static const struct {
        int64_t mode;
        const char *group;
        const char *line; /* NULL: no warning */
    } rows[] = {
        {0666, "", NULL},
        {0622, "storm", NULL},
        {0660, "storm", NULL},
        {0620, "storm", NULL},
        {0660, "", "p: \"0660\" without a group lets only flowd's own user and group in"},
        {0600, "",
         "p: \"0600\" lets nobody in but flowd's own user; \"0660\" with a group lets its members "
         "in, \"0666\" everybody"},
        {0644, "storm",
         "p: \"0644\" lets nobody in but flowd's own user, not even group \"storm\"; \"0660\" with "
         "a group lets its members in, \"0666\" everybody"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_messages warnings = {0};

        flowd_warnings_access(rows[i].mode, rows[i].group, "p", &warnings);
        assert_int_equal(warnings.count, rows[i].line != NULL);
        if (rows[i].line != NULL)
            assert_string_equal(warnings.lines[0], rows[i].line);
        flowd_messages_fini(&warnings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
