/*
 * Files that no flowd of this boot and version has left, files with damaged records, and a disk
 * that is full. Each file begins as a good one with three live flows.
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
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/flow_table.h"
#include "daemon/timestamp.h"
#include "sample_flow.h"
#include "scratch.h"

#define HEADER_SIZE 4096
#define FILE_NAME "flows.state"
#define UNUSABLE_NAME "flows.state.unusable"

/* Where the members of the header are; part of the format. */
enum { AT_MAGIC = 0, AT_FORMAT = 8, AT_RECORD_SIZE = 12, AT_RECORDS = 16, AT_BOOT_ID = 24 };

static struct scratch scratch;

static int make_good_file(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow *flow;

    (void)state;
    scratch_make(&scratch);
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    for (uint32_t number = 0; number < 3; number++) {
        struct flowd_flow prototype = sample_flow(number);

        assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
    }
    flowd_flow_table_close(table);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    return 0;
}

static void patch(off_t offset, const void *bytes, size_t length)
{
    int fd = open(scratch_path(&scratch, FILE_NAME), O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, offset), length);
    close(fd);
}

static bool exists(const char *name)
{
    return access(scratch_path(&scratch, name), F_OK) == 0;
}

/* Opens the file, and checks that what came of it is usable. */
static struct flowd_flow_table_report reopen(void)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow prototype = sample_flow(100), *flow;
    struct flowd_error err;
    size_t restored;

    if (flowd_flow_table_open(scratch.path, &table, &report, &err) < 0)
        fail_msg("open: %s", err.message);
    restored = report.restored;
    assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
    flowd_flow_table_close(table);
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, &err), 0);
    assert_int_equal(report.restored, restored + 1);
    assert_string_equal(report.set_aside, "");
    flow = flowd_flow_table_find(table, &prototype.key);
    assert_non_null(flow);
    flowd_flow_table_end(table, flow);
    flowd_flow_table_close(table);
    return (struct flowd_flow_table_report){.restored = restored};
}

static void assert_set_aside(const char *reason)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_int_equal(report.restored, 0);
    if (strstr(report.set_aside, reason) == NULL)
        fail_msg("found \"%s\", wanted \"%s\" in it", report.set_aside, reason);
    assert_true(exists(UNUSABLE_NAME));
    assert_int_equal(reopen().restored, 0);
}

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(reopen().restored, 3);
    assert_false(exists(UNUSABLE_NAME));
}

static void test_shorter_than_header(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch_path(&scratch, FILE_NAME), 100), 0);
    assert_set_aside("shorter than its header");
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch_path(&scratch, FILE_NAME), 0), 0);
    assert_int_equal(reopen().restored, 0);
    assert_false(exists(UNUSABLE_NAME));
}

static void test_truncated(void **state)
{
    (void)state;
    assert_int_equal(truncate(scratch_path(&scratch, FILE_NAME), HEADER_SIZE + 2 * 160 + 80), 0);
    assert_set_aside("truncated");
}

static void test_garbage(void **state)
{
    unsigned char garbage[8192];
    uint32_t random = 99;

    (void)state;
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (unsigned char)sample_random(&random);
    scratch_write(&scratch, FILE_NAME, garbage, sizeof(garbage));
    assert_set_aside("no state file");
}

static void test_text_file(void **state)
{
    char text[5000];

    (void)state;
    memset(text, '\n', sizeof(text));
    scratch_write(&scratch, FILE_NAME, text, sizeof(text));
    assert_set_aside("no state file");
}

static void test_other_format(void **state)
{
    (void)state;
    patch(AT_FORMAT, &(uint32_t){2}, 4);
    assert_set_aside("another version");
}

static void test_other_record_size(void **state)
{
    (void)state;
    patch(AT_RECORD_SIZE, &(uint32_t){168}, 4);
    assert_set_aside("another version");
}

static void test_absurd_count(void **state)
{
    (void)state;
    patch(AT_RECORDS, &(uint64_t){UINT64_MAX}, 8);
    assert_set_aside("makes no sense");
}

static void test_count_past_the_end(void **state)
{
    (void)state;
    patch(AT_RECORDS, &(uint64_t){1025}, 8);
    assert_set_aside("truncated");
}

static void test_other_boot(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    (void)state;
    patch(AT_BOOT_ID, "00000000-0000-0000-0000-000000000000", 37);
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 0);
    assert_int_equal(flowd_flow_table_count(table), 0);
    assert_non_null(strstr(report.set_aside, "rebooted"));
    flowd_flow_table_close(table);
    assert_false(exists(UNUSABLE_NAME));
    assert_int_equal(reopen().restored, 0);
}

/* Each row damages the second of the three records; the others stay. */
static const struct {
    const char *what;
    size_t offset;
    uint64_t value;
    size_t size;
} damages[] = {
    {"source port 0", offsetof(struct flowd_flow, key.src_port), 0, 2},
    {"family", offsetof(struct flowd_flow, key.family), 77, 1},
    {"protocol", offsetof(struct flowd_flow, key.protocol), 132, 1},
    {"the key's hole", offsetof(struct flowd_flow, key.zero), 1, 2},
    {"an IPv4 key with bytes behind the address", offsetof(struct flowd_flow, key.family), AF_INET,
     1},
    {"id of another record", offsetof(struct flowd_flow, id), 1ull << 32 | 1, 8},
    {"id 0", offsetof(struct flowd_flow, id), 0, 8},
    {"generation 0", offsetof(struct flowd_flow, id), 2, 8},
    {"start before the epoch", offsetof(struct flowd_flow, start_us), UINT64_MAX, 8},
    {"event in the future", offsetof(struct flowd_flow, last_event_us), INT64_MAX, 8},
    {"negative time of event", offsetof(struct flowd_flow, last_event_us), UINT64_MAX, 8},
    {"label of 21 bits", offsetof(struct flowd_flow, flow_label), 0x100000, 4},
    {"experiment", offsetof(struct flowd_flow, experiment), 1024, 2},
    {"activity", offsetof(struct flowd_flow, activity), 64, 1},
    {"state", offsetof(struct flowd_flow, state), 3, 1},
    {"no source", offsetof(struct flowd_flow, source), 0, 1},
    {"application that is not UTF-8", offsetof(struct flowd_flow, application), 0xff, 1},
    {"application with a line feed", offsetof(struct flowd_flow, application), '\n', 1},
};

static void test_damaged_records(void **state)
{
    int wrong = 0;

    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct flowd_flow_table_report report;
        struct flowd_flow_table *table;

        patch((off_t)(HEADER_SIZE + sizeof(struct flowd_flow) + damages[i].offset),
              &damages[i].value, damages[i].size);
        assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
        if (report.restored != 2 || report.damaged != 1 || report.set_aside[0] != '\0') {
            print_error("%s: %zu restored, %zu damaged\n", damages[i].what, report.restored,
                        report.damaged);
            wrong++;
        }
        flowd_flow_table_close(table);
        scratch_remove(&scratch);
        make_good_file(state);
    }
    assert_int_equal(wrong, 0);
}

static void test_unterminated_texts(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    char text[FLOWD_SOURCE_SIZE + FLOWD_APPLICATION_SIZE];

    (void)state;
    memset(text, 'a', sizeof(text));
    patch((off_t)(HEADER_SIZE + offsetof(struct flowd_flow, source)), text, FLOWD_SOURCE_SIZE);
    patch((off_t)(HEADER_SIZE + 2 * sizeof(struct flowd_flow) +
                  offsetof(struct flowd_flow, application)),
          text, FLOWD_APPLICATION_SIZE);
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 1);
    assert_int_equal(report.damaged, 2);
    flowd_flow_table_close(table);
}

/* Two live records of one flow: the first one counts. */
static void test_same_key_twice(void **state)
{
    struct flowd_flow_key key = sample_key(0);
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    (void)state;
    patch((off_t)(HEADER_SIZE + sizeof(struct flowd_flow)), &key, sizeof(key));
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 2);
    assert_int_equal(report.damaged, 1);
    assert_int_equal(flowd_flow_index(flowd_flow_table_find(table, &key)), 0);
    flowd_flow_table_close(table);
}

/* A record that has been used 2^32 - 1 times gets another generation that is not 0. */
static void test_last_generation(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow prototype = sample_flow(7), *flow;
    uint64_t id = UINT64_MAX << 32 | 2;

    (void)state;
    patch((off_t)(HEADER_SIZE + sizeof(struct flowd_flow) + offsetof(struct flowd_flow, id)), &id,
          sizeof(id));
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 3);
    flow = flowd_flow_table_find_id(table, id);
    assert_non_null(flow);
    flowd_flow_table_end(table, flow);
    flowd_flow_table_release(table, flow);
    assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
    flowd_flow_table_close(table);
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(report.restored, 3);
    flowd_flow_table_close(table);
}

static void assert_refused(int wanted)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table = NULL;
    struct flowd_error err = {""};

    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, &err), wanted);
    assert_null(table);
    assert_non_null(strstr(err.message, scratch.path));
}

static void test_not_a_file(void **state)
{
    (void)state;
    assert_int_equal(unlink(scratch_path(&scratch, FILE_NAME)), 0);
    assert_int_equal(mkfifo(scratch_path(&scratch, FILE_NAME), 0600), 0);
    assert_refused(-EINVAL);
    assert_int_equal(unlink(scratch_path(&scratch, FILE_NAME)), 0);
    assert_int_equal(mkdir(scratch_path(&scratch, FILE_NAME), 0700), 0);
    assert_refused(-EISDIR);
    assert_int_equal(rmdir(scratch_path(&scratch, FILE_NAME)), 0);
    assert_int_equal(symlink("elsewhere", scratch_path(&scratch, FILE_NAME)), 0);
    assert_refused(-ELOOP);
    assert_false(exists("elsewhere"));
}

static void test_directory_is_made(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_error err;
    char path[SCRATCH_PATH_SIZE];

    (void)state;
    snprintf(path, sizeof(path), "%s/a/b/", scratch.path);
    assert_int_equal(flowd_flow_table_open(path, &table, &report, &err), 0);
    flowd_flow_table_close(table);
    assert_int_equal(unlink(scratch_path(&scratch, "a/b/" FILE_NAME)), 0);
    assert_int_equal(rmdir(scratch_path(&scratch, "a/b")), 0);
    assert_int_equal(rmdir(scratch_path(&scratch, "a")), 0);
    snprintf(path, sizeof(path), "%s/%s/c", scratch.path, FILE_NAME);
    assert_int_equal(flowd_flow_table_open(path, &table, &report, &err), -ENOTDIR);
}

static int mount_small_disk(void **state)
{
    scratch_make(&scratch);
    *state = (void *)(scratch_mount_small(&scratch) ? "" : NULL);
    return 0;
}

static int unmount_small_disk(void **state)
{
    if (*state != NULL)
        scratch_unmount(&scratch);
    scratch_remove(&scratch);
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
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
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
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, added);
    assert_int_equal(report.damaged, 0);
    flowd_flow_table_close(table);
}

#define ON_GOOD_FILE(test) cmocka_unit_test_setup_teardown(test, make_good_file, remove_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_GOOD_FILE(test_good),
        ON_GOOD_FILE(test_shorter_than_header),
        ON_GOOD_FILE(test_empty),
        ON_GOOD_FILE(test_truncated),
        ON_GOOD_FILE(test_garbage),
        ON_GOOD_FILE(test_text_file),
        ON_GOOD_FILE(test_other_format),
        ON_GOOD_FILE(test_other_record_size),
        ON_GOOD_FILE(test_absurd_count),
        ON_GOOD_FILE(test_count_past_the_end),
        ON_GOOD_FILE(test_other_boot),
        ON_GOOD_FILE(test_damaged_records),
        ON_GOOD_FILE(test_unterminated_texts),
        ON_GOOD_FILE(test_same_key_twice),
        ON_GOOD_FILE(test_last_generation),
        ON_GOOD_FILE(test_not_a_file),
        ON_GOOD_FILE(test_directory_is_made),
        cmocka_unit_test_setup_teardown(test_full_disk, mount_small_disk, unmount_small_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
