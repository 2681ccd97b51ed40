/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assignments of literals: what each becomes, and which lines are named because they are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/convert/python_assignments.h"

static void test_rows(void **state)
{
    static const struct {
        const char *python, *json, *note; /* note: words of the only one; NULL: none */
    } rows[] = {
        {"", "{}", NULL},
        {"A='x'\nB = \"y\" # why\n", "{\"A\":\"x\",\"B\":\"y\"}", NULL},
        {"A=1\r\nB=-2\r\nC=1.5", "{\"A\":1,\"B\":-2,\"C\":1.5}", NULL},
        {"A=True\nB=False\nC=None", "{\"A\":true,\"B\":false,\"C\":null}", NULL},
        {"A=[1, 'a',]\nB=('x', )\nC=('x')\nD=()",
         "{\"A\":[1,\"a\"],\"B\":[\"x\"],\"C\":\"x\",\"D\":[]}", NULL},
        {"A = [\n  (2, 9), # comment\n  (3, 4)\n]\nB=1", "{\"A\":[[2,9],[3,4]],\"B\":1}", NULL},
        {"A='x', 'y'", "{\"A\":[\"x\",\"y\"]}", NULL},
        {"A=u'x'\nA='y'", "{\"A\":\"y\"}", NULL},
        {"A='it\\'s'", "{\"A\":\"it's\"}", NULL},
        {"import os\nA=1", "{\"A\":1}", "line 1: is not NAME = VALUE"},
        {"A=1\nB=os.getpid()\n", "{\"A\":1}", "line 2: is not NAME = VALUE"},
        {"A=", "{}", "line 1"},
        {"A=-", "{}", "line 1"},
        {"A='x", "{}", "line 1"},
        {"A=99999999999999999999", "{}", "line 1"},
        {"A=[[[[[[[[[[1]]]]]]]]]]", "{}", "line 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_messages notes = {0};
        json_t *found = flowd_python_parse(rows[i].python, strlen(rows[i].python), &notes);
        json_t *wanted = json_loads(rows[i].json, 0, NULL);

        if (!json_equal(found, wanted))
            fail_msg("%s", rows[i].python);
        assert_int_equal(notes.count, rows[i].note != NULL);
        if (rows[i].note != NULL)
            assert_non_null(strstr(notes.lines[0], rows[i].note));
        flowd_messages_fini(&notes);
        json_decref(found);
        json_decref(wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
