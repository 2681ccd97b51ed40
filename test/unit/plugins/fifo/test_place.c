/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the fifo stands: directories and links on the way, who may write, and who may lock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "lab/scratch.h"
#include "place.h"

#define NOBODY 65534

static struct scratch scratch;
static struct fifo_place place;
static struct flowd_error error;

static int open_scratch(void **state)
{
    (void)state;
    flowd_log_configure(FLOWD_LOG_ERROR, FLOWD_LOG_TEXT);
    scratch_make(&scratch);
    place = (struct fifo_place){.fd = -1, .lock = -1};
    return 0;
}

static int close_scratch(void **state)
{
    (void)state;
    fifo_place_close(&place);
    scratch_remove(&scratch);
    return 0;
}

static int open_at(const char *name, int64_t mode)
{
    const struct fifo_access access = {.mode = mode, .group = ""};

    error.message[0] = '\0';
    return fifo_place_open(scratch_path(&scratch, name), &access, &place, &error);
}

static unsigned mode_of(const char *name)
{
    struct stat status;

    assert_int_equal(stat(scratch_path(&scratch, name), &status), 0);
    return (unsigned)status.st_mode & 07777u;
}

static void make_fifo(const char *name)
{
    assert_int_equal(mkfifo(scratch_path(&scratch, name), 0600), 0);
}

static void make_link(const char *target, const char *name)
{
    assert_int_equal(symlink(target, scratch_path(&scratch, name)), 0);
}

/* The umask has no say in any of it. */
static void test_the_last_directory_is_made(void **state)
{
    mode_t mask = umask(077);
    int deep, last;

    (void)state;
    deep = open_at("none/deeper/fifo", 0666);
    last = open_at("new/fifo", 0666);
    umask(mask);
    assert_int_equal(deep, -ENOENT);
    assert_int_equal(access(scratch_path(&scratch, "none"), F_OK), -1);
    assert_int_equal(last, 0);
    assert_int_equal(mode_of("new"), 0755);
    assert_int_equal(mode_of("new/fifo"), 0666);
    assert_int_equal(mode_of("new/fifo.lock"), 0600);
}

static void test_links_are_followed(void **state)
{
    struct stat status, target;

    (void)state;
    assert_int_equal(mkdir(scratch_path(&scratch, "there"), 0755), 0);
    make_fifo("there/fifo");
    make_link("there/second", "first");
    make_link("fifo", "there/second");
    assert_int_equal(open_at("first", 0666), 0);
    assert_int_equal(fstat(place.fd, &status), 0);
    assert_int_equal(stat(scratch_path(&scratch, "there/fifo"), &target), 0);
    assert_int_equal(status.st_ino, target.st_ino);
    assert_true(fifo_place_is_there(&place, scratch_path(&scratch, "first")));
    /* One fifo has one lock, whatever its name. */
    assert_int_equal(access(scratch_path(&scratch, "there/fifo.lock"), F_OK), 0);
    assert_int_equal(access(scratch_path(&scratch, "first.lock"), F_OK), -1);
    assert_int_equal(unlink(scratch_path(&scratch, "there/fifo")), 0);
    assert_false(fifo_place_is_there(&place, scratch_path(&scratch, "first")));
}

static void test_links_that_lead_astray(void **state)
{
    (void)state;
    make_link("nothing", "dangling");
    make_link("round", "round");
    scratch_write(&scratch, "file", "mine", 4);
    make_link("file", "to-file");
    assert_int_equal(open_at("dangling", 0666), -EEXIST);
    assert_int_equal(access(scratch_path(&scratch, "nothing"), F_OK), -1);
    assert_int_equal(open_at("round", 0666), -ELOOP);
    assert_int_equal(open_at("to-file", 0666), -EEXIST);
    if (geteuid() != 0)
        return;
    make_fifo("fifo");
    make_link("fifo", "foreign");
    assert_int_equal(lchown(scratch_path(&scratch, "foreign"), NOBODY, NOBODY), 0);
    assert_int_equal(open_at("foreign", 0666), -EEXIST);
    make_fifo("others");
    assert_int_equal(chown(scratch_path(&scratch, "others"), NOBODY, NOBODY), 0);
    make_link("others", "to-others");
    assert_int_equal(open_at("to-others", 0666), -EEXIST);
    /* By its own name it is what the configuration says. */
    assert_int_equal(open_at("others", 0666), 0);
}

/* A changed mode is applied to what flowd made, also in an earlier life, and to nothing else. */
static void test_changed_mode(void **state)
{
    const struct fifo_access changed = {.mode = 0622, .group = ""};

    (void)state;
    assert_int_equal(open_at("fifo", 0640), 0);
    assert_true(place.made);
    assert_int_equal(mode_of("fifo"), 0640);
    assert_int_equal(fifo_place_change(&place, scratch_path(&scratch, "fifo"), &changed, &error),
                     0);
    assert_int_equal(mode_of("fifo"), 0622);
    fifo_place_close(&place);
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_true(place.made);
    assert_int_equal(mode_of("fifo"), 0666);
    fifo_place_close(&place);

    assert_int_equal(unlink(scratch_path(&scratch, "fifo")), 0);
    make_fifo("fifo");
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_false(place.made);
    assert_int_equal(mode_of("fifo"), 0600);
    assert_int_equal(fifo_place_change(&place, scratch_path(&scratch, "fifo"), &changed, &error),
                     0);
    assert_int_equal(mode_of("fifo"), 0600);
}

static void test_one_reader(void **state)
{
    struct fifo_place first;

    (void)state;
    assert_int_equal(open_at("fifo", 0666), 0);
    first = place;
    make_link("fifo", "other-name");
    assert_int_equal(open_at("fifo", 0666), -EBUSY);
    assert_int_equal(open_at("other-name", 0666), -EBUSY);
    assert_non_null(strstr(error.message, "another flowd is reading"));
    fifo_place_close(&first);
    assert_int_equal(open_at("fifo", 0666), 0);
}

/* Whoever may write the fifo, or its directory, keeps flowd from nothing. */
static void test_locks_of_others(void **state)
{
    int other, foreign;

    (void)state;
    make_fifo("fifo");
    other = open(scratch_path(&scratch, "fifo"), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_true(place.lock >= 0);
    fifo_place_close(&place);
    close(other);

    assert_int_equal(unlink(scratch_path(&scratch, "fifo.lock")), 0);
    make_link("fifo", "fifo.lock");
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_int_equal(place.lock, -1);
    fifo_place_close(&place);
    assert_int_equal(unlink(scratch_path(&scratch, "fifo.lock")), 0);
    if (geteuid() != 0)
        return;
    scratch_write(&scratch, "fifo.lock", "", 0);
    foreign = open(scratch_path(&scratch, "fifo.lock"), O_RDWR | O_CLOEXEC);
    assert_int_equal(fchown(foreign, NOBODY, NOBODY), 0);
    assert_int_equal(flock(foreign, LOCK_EX), 0);
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_int_equal(place.lock, -1);
    close(foreign);
}

/* What stands in the lock file's place and is none stays as it is. */
static void test_a_file_that_is_no_lock_is_left_alone(void **state)
{
    static char text[4096];
    char lock[4096];
    struct stat status;

    (void)state;
    memset(text, 'x', sizeof(text));
    scratch_write(&scratch, "fifo.lock", text, sizeof(text));
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_int_equal(place.lock, -1);
    fifo_place_close(&place);
    snprintf(lock, sizeof(lock), "%s", scratch_path(&scratch, "fifo.lock"));
    assert_int_equal(stat(lock, &status), 0);
    assert_int_equal(status.st_size, sizeof(text));

    /* A second name of a file that is kept elsewhere. */
    assert_int_equal(unlink(lock), 0);
    scratch_write(&scratch, "precious", "mine", 4);
    assert_int_equal(link(scratch_path(&scratch, "precious"), lock), 0);
    assert_int_equal(unlink(scratch_path(&scratch, "fifo")), 0);
    assert_int_equal(open_at("fifo", 0666), 0);
    assert_int_equal(place.lock, -1);
    assert_int_equal(stat(lock, &status), 0);
    assert_int_equal(status.st_size, 4);
}

/* Of a fifo whose path is not known nothing is made in whatever directory flowd runs in. */
static void test_a_fifo_without_a_path(void **state)
{
    const struct fifo_access access_wanted = {.mode = 0666, .group = ""};
    int fds[2];
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(chdir(scratch.path), 0);
    assert_int_equal(fifo_place_adopt(fds[0], "", &access_wanted, &place, &error), 0);
    assert_int_equal(access(".lock", F_OK), -1);
    assert_int_equal(fchdir(before), 0);
    close(before);
    close(fds[1]);
}

#define SCRATCH(test) cmocka_unit_test_setup_teardown(test, open_scratch, close_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH(test_the_last_directory_is_made),
        SCRATCH(test_links_are_followed),
        SCRATCH(test_links_that_lead_astray),
        SCRATCH(test_changed_mode),
        SCRATCH(test_one_reader),
        SCRATCH(test_locks_of_others),
        SCRATCH(test_a_file_that_is_no_lock_is_left_alone),
        SCRATCH(test_a_fifo_without_a_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
