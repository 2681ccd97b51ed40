/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where cgroup2 is mounted, by texts of /proc/self/mountinfo.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ebpf/sockops/cgroup.h"

#define ROOT "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
#define VERSION_1 "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"

static const struct {
    const char *mountinfo;
    const char *path; /* NULL: it is not found */
} cases[] = {
    {"", NULL},
    {ROOT, NULL},
    {ROOT VERSION_1, NULL},
    {ROOT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
     "/sys/fs/cgroup"},
    {VERSION_1 "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
     "/sys/fs/cgroup/unified"},
    /* No optional field, some of them, and one that looks like the end of them. */
    {"41 31 0:38 / /a rw - cgroup2 none rw\n", "/a"},
    {"41 31 0:38 / /a rw shared:1 master:2 unbindable - cgroup2 none rw\n", "/a"},
    {"41 31 0:38 / - - - cgroup2 none rw\n", "-"},
    /* The one that shows most; the first of equals. */
    {"41 31 0:38 /system.slice /a rw - cgroup2 none rw\n"
     "42 31 0:38 / /b rw - cgroup2 none rw\n"
     "43 31 0:38 / /c rw - cgroup2 none rw\n",
     "/b"},
    {"41 31 0:38 / /with\\040blank\\134 rw - cgroup2 none rw\n", "/with blank\\"},
    {"41 31 0:38 / /a\\04 rw - cgroup2 none rw\n", "/a\\04"},
    /* Of another kind, though a field has the name. */
    {"41 31 0:38 / /cgroup2 rw - tmpfs cgroup2 rw\n", NULL},
    /* Cut off, or no line at all. */
    {"41 31 0:38 / /a rw shared:1\n", NULL},
    {"41 31 0:38 / /a rw -\n", NULL},
    {"41 31\n\n   \n-\n", NULL},
};

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[64] = "as it was";
        int result = flowd_cgroup_find(cases[i].mountinfo, path, sizeof(path));

        assert_int_equal(result, cases[i].path != NULL ? 0 : -ENOENT);
        assert_string_equal(path, cases[i].path != NULL ? cases[i].path : "as it was");
    }
}

static void test_no_room(void **state)
{
    const char *mountinfo = "41 31 0:38 / /four rw - cgroup2 none rw\n";
    char path[6];

    (void)state;
    assert_int_equal(flowd_cgroup_find(mountinfo, path, 5), -ENAMETOOLONG);
    assert_int_equal(flowd_cgroup_find(mountinfo, path, 6), 0);
    assert_string_equal(path, "/four");
}

static void test_open(void **state)
{
    struct flowd_error err = {.message = ""};
    char path[64];

    (void)state;
    assert_int_equal(flowd_cgroup_open("/", path, sizeof(path), &err), -EINVAL);
    assert_non_null(strstr(err.message, "/ is no directory of a cgroup2"));
    assert_int_equal(flowd_cgroup_open("/no/such", path, sizeof(path), &err), -ENOENT);
    assert_non_null(strstr(err.message, "/no/such"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
