/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that no flowd of this boot and version has left, files of odd sizes, and a disk that is
 * full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/flow/flow_record.h"
#include "daemon/flow/state_file.h"
#include "daemon/flow/state_file_header.h"
#include "lab/sample_flow.h"
#include "lab/state_fixture.h"

/* Where the members of the header are; part of the format. */
enum { AT_FORMAT = 8, AT_RECORD_SIZE = 12, AT_BOOT_ID = 24 };

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(state_reopen().restored, 3);
    assert_false(state_exists(STATE_UNUSABLE_NAME));
}

static void test_shorter_than_header(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch_path(&state_scratch, STATE_FILE_NAME), 100), 0);
    state_assert_set_aside("shorter than its header");
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch_path(&state_scratch, STATE_FILE_NAME), 0), 0);
    assert_int_equal(state_reopen().restored, 0);
    assert_false(state_exists(STATE_UNUSABLE_NAME));
}

/* The file is cut in its last record: the others stay. */
static void test_cut_in_last_record(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    (void)state;
    assert_int_equal(truncate(scratch_path(&state_scratch, STATE_FILE_NAME),
                              FLOWD_STATE_HEADER_SIZE + 2 * 160 + 80),
                     0);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_int_equal(report.restored, 2);
    assert_int_equal(report.damaged, 1);
    assert_string_equal(report.set_aside, "");
    assert_int_equal(state_reopen().restored, 2);
    assert_false(state_exists(STATE_UNUSABLE_NAME));
}

/* What is kept for a human to look at is what was there. */
static void test_garbage(void **state)
{
    unsigned char garbage[8192], kept[sizeof(garbage) + 1];
    uint32_t random = 99;
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (unsigned char)sample_random(&random);
    scratch_write(&state_scratch, STATE_FILE_NAME, garbage, sizeof(garbage));
    state_assert_set_aside("no state file");
    fd = open(scratch_path(&state_scratch, STATE_UNUSABLE_NAME), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, kept, sizeof(kept)), sizeof(garbage));
    close(fd);
    assert_memory_equal(kept, garbage, sizeof(garbage));
}

static void test_text_file(void **state)
{
    char text[5000];

    (void)state;
    memset(text, '\n', sizeof(text));
    scratch_write(&state_scratch, STATE_FILE_NAME, text, sizeof(text));
    state_assert_set_aside("no state file");
}

/* The file of somebody who has written to its header: the records are what they are. */
static void assert_header_mended(off_t offset, const void *bytes, size_t length)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    state_patch(offset, bytes, length);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_int_equal(report.restored, 3);
    assert_int_equal(report.damaged, 0);
    assert_string_not_equal(report.note, "");
    assert_false(state_exists(STATE_UNUSABLE_NAME));
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_string_equal(report.note, "");
    assert_int_equal(state_reopen().restored, 3);
}

static void test_damaged_header(void **state)
{
    char zeros[FLOWD_STATE_HEADER_SIZE] = {0};

    (void)state;
    assert_header_mended(0, "F", 1);
    assert_header_mended(AT_FORMAT, &(uint32_t){3}, 4);
    assert_header_mended(AT_RECORD_SIZE, &(uint32_t){168}, 4);
    assert_header_mended(AT_BOOT_ID, "00000000-0000-0000-0000-000000000000", 37);
    assert_header_mended(0, zeros, sizeof(zeros));
}

static void write_header(const char *boot_id, int64_t started_us)
{
    struct flowd_boot boot = {.started_us = started_us};
    char header[FLOWD_STATE_HEADER_SIZE] = {0};

    memcpy(boot.id, boot_id, strlen(boot_id));
    flowd_state_header_write(header, &boot);
    state_patch(0, header, sizeof(header));
}

static void test_other_boot(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    (void)state;
    write_header("00000000-0000-0000-0000-000000000000", 1);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 0);
    assert_int_equal(flowd_flow_table_count(table), 0);
    assert_non_null(strstr(report.set_aside, "rebooted"));
    flowd_flow_table_close(table);
    assert_false(state_exists(STATE_UNUSABLE_NAME));
    assert_int_equal(state_reopen().restored, 0);
}

static int64_t host_started_us(void)
{
    struct flowd_boot boot;

    flowd_boot_read(&boot);
    assert_int_equal(boot.error, 0);
    return boot.started_us;
}

/* Written while the boot id could not be read: the clock tells, or else the records. */
static void test_without_boot_id(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow flow = sample_flow(0);

    (void)state;
    write_header("", host_started_us() - 3600000000);
    assert_int_equal(state_reopen().restored, 3);
    write_header("", host_started_us());
    flow.id = 1ull << 32 | 1;
    flow.check = flowd_flow_record_check(&flow, flowd_flow_record_seed(""));
    flow.state = FLOWD_FLOW_LIVE;
    state_patch(FLOWD_STATE_HEADER_SIZE, &flow, sizeof(flow));
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_int_equal(report.restored, 1);
    write_header("", host_started_us() - 3600000000);
    state_assert_set_aside("of which boot");
}

/* Hides /proc in a mount namespace of this program's own. Returns false where it may not. */
static bool hide_proc(void)
{
    static bool own_namespace;

    if (!own_namespace)
        own_namespace =
            unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return own_namespace && mount("flowd-test", "/proc", "tmpfs", 0, "size=4k") == 0;
}

/* An error is no answer: nobody has said that the host has rebooted. */
static void test_boot_id_unreadable(void **state)
{
    struct flowd_flow_table_report same, unknown, again;
    struct flowd_flow_table *table, *second;
    struct flowd_flow prototype = sample_flow(50), *flow;
    int added, busy;

    (void)state;
    if (!hide_proc()) {
        print_message("can't hide /proc: needs CAP_SYS_ADMIN\n");
        skip();
    }
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &same, NULL), 0);
    flowd_flow_table_close(table);
    write_header("00000000-0000-0000-0000-000000000000", 1);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &unknown, NULL), 0);
    added = flowd_flow_table_add(table, &prototype, &flow);
    busy = flowd_flow_table_open(state_scratch.path, &second, &again, NULL);
    flowd_flow_table_close(table);
    assert_int_equal(umount("/proc"), 0);
    /* The clock tells as well whether this is the boot that the file is of. */
    assert_int_equal(same.restored, 3);
    assert_string_equal(same.set_aside, "");
    assert_int_equal(unknown.restored, 0);
    assert_non_null(strstr(unknown.set_aside, "boot_id: No such file"));
    assert_null(strstr(unknown.set_aside, "has rebooted,"));
    assert_int_equal(added, 0);
    assert_int_equal(busy, -EBUSY);
    assert_false(state_exists(STATE_UNUSABLE_NAME));
    /* The file is as it was. */
    assert_header_mended(AT_BOOT_ID, "x", 1);
}

static off_t file_size(void)
{
    struct stat status;

    assert_int_equal(stat(scratch_path(&state_scratch, STATE_FILE_NAME), &status), 0);
    return status.st_size;
}

static off_t file_disk(void)
{
    struct stat status;

    assert_int_equal(stat(scratch_path(&state_scratch, STATE_FILE_NAME), &status), 0);
    return (off_t)status.st_blocks * 512;
}

/* A file that is large by holes, with a flow behind them, takes no room. */
static void test_sparse(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow flow = sample_flow(20);

    (void)state;
    assert_int_equal(truncate(scratch_path(&state_scratch, STATE_FILE_NAME), (off_t)4 << 30), 0);
    assert_int_equal(state_reopen().restored, 3);
    assert_true(file_size() < 1 << 20);
    assert_int_equal(truncate(scratch_path(&state_scratch, STATE_FILE_NAME), (off_t)4 << 30), 0);
    flow.id = 1ull << 32 | 9001;
    state_write_record(9000, flow);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 4);
    assert_non_null(flowd_flow_table_find_id(table, flow.id));
    assert_true(file_disk() < 4 << 20);
    flowd_flow_table_close(table);
}

/* What is neither a flow nor within flows.max is cut off; flows stay, how many they may be. */
static void test_larger_than_flows_max(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    char garbage[STATE_RECORD_SIZE];
    int result;

    (void)state;
    memset(garbage, 0x5a, sizeof(garbage));
    for (uint32_t number = 3; number < 6000; number++)
        state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + number * STATE_RECORD_SIZE), garbage,
                    sizeof(garbage));
    assert_int_equal(flowd_flow_table_open_unread(state_scratch.path, 2, &table, &report, NULL), 0);
    while ((result = flowd_flow_table_read(table, 100, &report, NULL)) > 0)
        assert_int_equal(flowd_flow_table_count(table) <= 3, 1);
    assert_int_equal(result, 0);
    assert_int_equal(report.restored, 3);
    assert_int_equal(report.damaged, 5997);
    assert_int_equal(flowd_flow_table_records(table), 3);
    flowd_flow_table_close(table);
    assert_int_equal(file_size(), FLOWD_STATE_HEADER_SIZE + 1024 * STATE_RECORD_SIZE);
}

/* The file as the version before wrote it. */
static void make_former(uint32_t live)
{
    struct {
        char magic[8];
        uint32_t format, record_size;
        uint64_t records;
        char boot_id[FLOWD_BOOT_ID_SIZE];
    } header = {.magic = "flowdST", .format = 1, .record_size = 160, .records = live + 2};
    char zeros[FLOWD_STATE_HEADER_SIZE] = {0};
    struct flowd_boot boot;

    flowd_boot_read(&boot);
    memcpy(header.boot_id, boot.id, sizeof(header.boot_id));
    scratch_write(&state_scratch, STATE_FILE_NAME, zeros, sizeof(zeros));
    state_patch(0, &header, sizeof(header));
    for (uint32_t number = 0; number < live + 2; number++) {
        struct flowd_flow flow = sample_flow(number);

        flow.id = 7ull << 32 | (number + 1u);
        flow.state = number == 1 ? 0 : number == 2 ? 2 : 1;
        memset(flow.backend, 0x3, sizeof(flow.backend));
        state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + number * STATE_RECORD_SIZE), &flow,
                    sizeof(flow));
    }
}

static void test_former_version(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow *flow;

    (void)state;
    make_former(90);
    /* Its records had nothing to prove them: what contradicts itself is left out. */
    state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + 5 * STATE_RECORD_SIZE +
                        offsetof(struct flowd_flow, activity)),
                "\x12", 1);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 89);
    assert_non_null(strstr(report.note, "earlier version"));
    flow = flowd_flow_table_find_id(table, 7ull << 32 | 80);
    assert_non_null(flow);
    assert_int_equal(flow->start_us, sample_flow(79).start_us);
    assert_int_equal(flow->backend[0], 0);
    assert_string_equal(flow->application, "sample");
    flowd_flow_table_close(table);
    assert_false(state_exists("flows.state.new"));
    assert_int_equal(state_reopen().restored, 89);
}

/* A flowd without flows was stopped for the new version. */
static void test_former_version_without_flows(void **state)
{
    (void)state;
    make_former(0);
    state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + offsetof(struct flowd_flow, state)), "", 1);
    assert_int_equal(state_reopen().restored, 0);
    assert_false(state_exists("flows.state.new"));
    assert_int_equal(state_reopen().restored, 0);
}

/* A kill while the file was rewritten leaves the old one and a part of the new one. */
static void test_former_version_and_half_a_file(void **state)
{
    (void)state;
    make_former(5);
    scratch_write(&state_scratch, "flows.state.new", "half", 4);
    assert_int_equal(state_reopen().restored, 5);
    assert_false(state_exists("flows.state.new"));
}

static void test_former_version_cut(void **state)
{
    (void)state;
    make_former(10);
    assert_int_equal(truncate(scratch_path(&state_scratch, STATE_FILE_NAME),
                              FLOWD_STATE_HEADER_SIZE + 11 * 160 + 80),
                     0);
    assert_int_equal(state_reopen().restored, 9);
    make_former(10);
    state_patch(16, &(uint64_t){UINT64_MAX}, 8);
    assert_int_equal(state_reopen().restored, 10);
}

/* Others who may write to the file are named. */
static void test_open_to_others(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    const char *path = scratch_path(&state_scratch, STATE_FILE_NAME);

    (void)state;
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_string_equal(report.unsafe, "");
    assert_int_equal(chmod(path, 0602), 0);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_non_null(strstr(report.unsafe, "every user may write to the file"));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(state_scratch.path, 0777), 0);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_non_null(strstr(report.unsafe, "every user may write to the directory"));
    assert_int_equal(chmod(state_scratch.path, 0700), 0);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_non_null(strstr(report.unsafe, "belongs to another user"));
    assert_int_equal(report.restored, 3);
}

/* What can't be looked at is not said to be unused. */
static void test_in_use(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_error err;
    const char *path = scratch_path(&state_scratch, STATE_FILE_NAME);

    (void)state;
    assert_int_equal(flowd_state_file_in_use(state_scratch.path, &err), 0);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(flowd_state_file_in_use(state_scratch.path, &err), 1);
    flowd_flow_table_close(table);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(flowd_state_file_in_use(state_scratch.path, &err), 0);
    assert_int_equal(flowd_state_file_in_use("/nonexistent/directory", &err), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(flowd_state_file_in_use(state_scratch.path, &err), -ELOOP);
}

static void assert_refused(int wanted)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table = NULL;
    struct flowd_error err = {.message = ""};

    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, &err), wanted);
    assert_null(table);
    assert_non_null(strstr(err.message, state_scratch.path));
}

static void test_not_a_file(void **state)
{
    (void)state;
    assert_int_equal(unlink(scratch_path(&state_scratch, STATE_FILE_NAME)), 0);
    assert_int_equal(mkfifo(scratch_path(&state_scratch, STATE_FILE_NAME), 0600), 0);
    assert_refused(-EINVAL);
    assert_int_equal(unlink(scratch_path(&state_scratch, STATE_FILE_NAME)), 0);
    assert_int_equal(mkdir(scratch_path(&state_scratch, STATE_FILE_NAME), 0700), 0);
    assert_refused(-EISDIR);
    assert_int_equal(rmdir(scratch_path(&state_scratch, STATE_FILE_NAME)), 0);
    assert_int_equal(symlink("elsewhere", scratch_path(&state_scratch, STATE_FILE_NAME)), 0);
    assert_refused(-ELOOP);
    assert_false(state_exists("elsewhere"));
}

static void test_directory_is_made(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_error err;
    char path[SCRATCH_PATH_SIZE];

    (void)state;
    snprintf(path, sizeof(path), "%s/a/b/", state_scratch.path);
    assert_int_equal(flowd_flow_table_open(path, &table, &report, &err), 0);
    flowd_flow_table_close(table);
    assert_int_equal(unlink(scratch_path(&state_scratch, "a/b/" STATE_FILE_NAME)), 0);
    assert_int_equal(rmdir(scratch_path(&state_scratch, "a/b")), 0);
    assert_int_equal(rmdir(scratch_path(&state_scratch, "a")), 0);
    snprintf(path, sizeof(path), "%s/%s/c", state_scratch.path, STATE_FILE_NAME);
    assert_int_equal(flowd_flow_table_open(path, &table, &report, &err), -ENOTDIR);
}

static int mount_small_disk(void **state)
{
    scratch_make(&state_scratch);
    *state = (void *)(scratch_mount_small(&state_scratch) ? "" : NULL);
    return 0;
}

static int unmount_small_disk(void **state)
{
    if (*state != NULL)
        scratch_unmount(&state_scratch);
    scratch_remove(&state_scratch);
    return 0;
}

static void test_full_disk(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow *flow;
    uint32_t added = 0;
    int result = 0;

    if (*state == NULL) {
        print_message("a tmpfs of 512 KiB can't be mounted for this process alone\n");
        skip();
    }
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    for (; result == 0 && added < 10000; added++) {
        struct flowd_flow prototype = sample_flow(added);

        result = flowd_flow_table_add(table, &prototype, &flow);
    }
    assert_int_equal(result, -ENOSPC);
    added--;
    assert_true(added >= 1024);
    assert_int_equal(flowd_flow_table_count(table), added);
    /* What an ended flow leaves can be used. */
    flow = flowd_flow_table_oldest(table);
    flowd_flow_table_end(table, flow);
    flowd_flow_table_release(table, flow);
    assert_int_equal(
        flowd_flow_table_add(table, &(struct flowd_flow[]){sample_flow(99999)}[0], &flow), 0);
    flowd_flow_table_close(table);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, added);
    assert_int_equal(report.damaged, 0);
    flowd_flow_table_close(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_GOOD_FILE(test_good),
        ON_GOOD_FILE(test_shorter_than_header),
        ON_GOOD_FILE(test_empty),
        ON_GOOD_FILE(test_cut_in_last_record),
        ON_GOOD_FILE(test_garbage),
        ON_GOOD_FILE(test_text_file),
        ON_GOOD_FILE(test_damaged_header),
        ON_GOOD_FILE(test_other_boot),
        ON_GOOD_FILE(test_without_boot_id),
        ON_GOOD_FILE(test_boot_id_unreadable),
        ON_GOOD_FILE(test_sparse),
        ON_GOOD_FILE(test_larger_than_flows_max),
        ON_GOOD_FILE(test_former_version),
        ON_GOOD_FILE(test_former_version_without_flows),
        ON_GOOD_FILE(test_former_version_and_half_a_file),
        ON_GOOD_FILE(test_former_version_cut),
        ON_GOOD_FILE(test_open_to_others),
        ON_GOOD_FILE(test_in_use),
        ON_GOOD_FILE(test_not_a_file),
        ON_GOOD_FILE(test_directory_is_made),
        cmocka_unit_test_setup_teardown(test_full_disk, mount_small_disk, unmount_small_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
