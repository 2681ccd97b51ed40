/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scratch directories of tests, with all that lies in them, under /tmp.
 */
#include "lab/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define SCRATCHES_MAX 64

static struct scratch made[SCRATCHES_MAX];
static size_t made_count;

static void remove_all(void)
{
    for (size_t i = 0; i < made_count; i++)
        scratch_remove(&made[i]);
}

void scratch_make(struct scratch *scratch)
{
    snprintf(scratch->path, sizeof(scratch->path), "/tmp/flowd-test-XXXXXX");
    assert_non_null(mkdtemp(scratch->path));
    if (made_count == 0)
        assert_int_equal(atexit(remove_all), 0);
    assert_in_range(made_count, 0, SCRATCHES_MAX - 1);
    made[made_count++] = *scratch;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

void scratch_remove(struct scratch *scratch)
{
    (void)nftw(scratch->path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

const char *scratch_path(const struct scratch *scratch, const char *name)
{
    static char path[SCRATCH_PATH_SIZE];

    snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
    return path;
}

void scratch_write(const struct scratch *scratch, const char *name, const void *bytes,
                   size_t length)
{
    FILE *file = fopen(scratch_path(scratch, name), "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

bool scratch_mount_small(const struct scratch *scratch)
{
    static bool own_namespace;

    if (!own_namespace)
        own_namespace =
            unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return own_namespace && mount("flowd-test", scratch->path, "tmpfs", 0, "size=512k") == 0;
}

void scratch_unmount(const struct scratch *scratch)
{
    (void)umount2(scratch->path, MNT_DETACH);
}
