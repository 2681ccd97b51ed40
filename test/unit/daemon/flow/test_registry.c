/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registry names in every spelling, and files that are no registry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/flow/registry_file.h"
#include "lab/scratch.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static struct flowd_registry *registry;

static int load(void **state)
{
    struct flowd_error err;

    (void)state;
    registry = flowd_registry_new();
    if (flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", NULL, &err) < 0) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int unload(void **state)
{
    (void)state;
    flowd_registry_free(registry);
    return 0;
}

struct row {
    const char *text;
    size_t length;
    int result;
    unsigned number;
};

static void test_experiments(void **state)
{
    static const struct row rows[] = {
        {TEXT("atlas"), 0, 2},
        {TEXT("ATLAS"), 0, 2},
        {TEXT("default"), 0, 1},
        {TEXT("2"), 0, 2},
        {TEXT("0"), 0, 0},
        {TEXT("1023"), 0, 1023},
        {TEXT("1024"), -ERANGE, 0},
        {TEXT("99999999999999999999999"), -ERANGE, 0},
        {TEXT("-2"), -ENOENT, 0},
        {TEXT("atlas "), 0, 2},
        {TEXT("At-Las_"), 0, 2},
        {TEXT(" _-"), -ENOENT, 0},
        {TEXT("atla"), -ENOENT, 0},
        {TEXT("atlass"), -ENOENT, 0},
        {TEXT(""), -ENOENT, 0},
        {TEXT("/atlas"), -ENOENT, 0},
        {TEXT("atlas\0x"), -ENOENT, 0},
        {TEXT("Data_Brokering"), -ENOENT, 0},
        {TEXT("2/default"), -ENOENT, 0},
    };
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint16_t experiment = 999;
        struct flowd_error err = {.message = ""};
        int result = flowd_registry_read_experiment(registry, rows[i].text, rows[i].length,
                                                    &experiment, &err);

        if (result != rows[i].result || experiment != (result == 0 ? rows[i].number : 999u)) {
            print_error("\"%s\" (%zu bytes) gave %d, %u\n", rows[i].text, rows[i].length, result,
                        experiment);
            wrong++;
        } else if (result < 0) {
            assert_memory_equal(err.message, "experiment: ", 12);
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_activities(void **state)
{
    static const struct row rows[] = {
        {TEXT("Data Brokering"), 0, 3},
        {TEXT("data_brokering"), 0, 3},
        {TEXT("DATA_bROKERING"), 0, 3},
        {TEXT("Upload/Download_(Job)"), 0, 22},
        {TEXT("default"), 0, 1},
        {TEXT("63"), 0, 63},
        {TEXT("64"), -ERANGE, 0},
        {TEXT("data-brokering"), 0, 3},
        {TEXT("DataBrokering"), 0, 3},
        {TEXT("DataChallenge"), 0, 26},
        {TEXT("Data Brokerin"), -ENOENT, 0},
        {TEXT("cache"), -ENOENT, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t activity = 99;
        struct flowd_error err = {.message = ""};
        int result = flowd_registry_read_activity(registry, 2, rows[i].text, rows[i].length,
                                                  &activity, &err);

        if (result != rows[i].result || activity != (result == 0 ? rows[i].number : 99u))
            fail_msg("\"%s\" gave %d, %u", rows[i].text, result, activity);
        if (result < 0)
            assert_memory_equal(err.message, "activity: ", 10);
    }
}

/* The same name means another number in another experiment. */
static void test_activities_belong_to_their_experiment(void **state)
{
    uint8_t activity = 99;

    (void)state;
    assert_int_equal(flowd_registry_activity(registry, 1, TEXT("cache"), &activity), 0);
    assert_int_equal(activity, 3);
    assert_int_equal(flowd_registry_activity(registry, 12, TEXT("data_brokering"), &activity),
                     -ENOENT);
    assert_int_equal(flowd_registry_activity(registry, 1000, TEXT("default"), &activity), -ENOENT);
}

static void test_names_of_numbers(void **state)
{
    (void)state;
    assert_string_equal(flowd_registry_experiment_name(registry, 2), "atlas");
    assert_string_equal(flowd_registry_activity_name(registry, 2, 3), "Data Brokering");
    assert_null(flowd_registry_experiment_name(registry, 1000));
    assert_null(flowd_registry_activity_name(registry, 2, 63));
    assert_null(flowd_registry_activity_name(registry, 1000, 1));
}

static void test_long_names(void **state)
{
    char name[300];
    uint16_t experiment = 7;
    struct flowd_error err;

    (void)state;
    memset(name, 'n', sizeof(name));
    for (size_t length = 100; length <= sizeof(name); length++)
        assert_int_equal(flowd_registry_read_experiment(registry, name, length, &experiment, &err),
                         -ENOENT);
    assert_int_equal(experiment, 7);
}

static void test_bad_files_change_nothing(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "null",
        "{\"experiments\": {}}",
        "{\"experiments\": [",
        "{\"experiments\": [7]}",
        "{\"experiments\": [{\"expName\": \"x\"}]}",
        "{\"experiments\": [{\"expId\": 3}]}",
        "{\"experiments\": [{\"expName\": 7, \"expId\": 3}]}",
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": 1024}]}",
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": -1}]}",
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": \"3\"}]}",
        "{\"experiments\": [], \"experiments\": []}",
    };
    struct scratch scratch;
    size_t count = flowd_registry_count(registry);
    struct flowd_error err;

    (void)state;
    assert_true(count > 5);
    scratch_make(&scratch);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        scratch_write(&scratch, "api.json", texts[i], strlen(texts[i]));
        if (flowd_registry_load(registry, scratch_path(&scratch, "api.json"), NULL, &err) >= 0)
            fail_msg("%s was taken for a registry", texts[i]);
        assert_non_null(strstr(err.message, "api.json"));
        assert_int_equal(flowd_registry_count(registry), count);
        assert_string_equal(flowd_registry_experiment_name(registry, 2), "atlas");
    }
    assert_int_equal(flowd_registry_load(registry, scratch_path(&scratch, "missing"), NULL, &err),
                     -ENOENT);
    assert_int_equal(flowd_registry_count(registry), count);
    scratch_write(&scratch, "api.json",
                  TEXT("{\"experiments\": [{\"expName\": \"only\", \"expId\": "
                       "9}]}"));
    assert_int_equal(flowd_registry_load(registry, scratch_path(&scratch, "api.json"), NULL, &err),
                     0);
    assert_int_equal(flowd_registry_count(registry), 1);
    assert_null(flowd_registry_experiment_name(registry, 2));
    assert_int_equal(flowd_registry_load(registry, "", NULL, &err), 0);
    assert_int_equal(flowd_registry_count(registry), 0);
    scratch_remove(&scratch);
}

/* Reads a registry in which ' stands for ". Returns owned. */
static struct flowd_registry *read_text(const char *text, struct flowd_messages *skipped)
{
    struct flowd_registry *read = flowd_registry_new();
    struct flowd_error err = {.message = ""};
    char json[1024];
    size_t length = 0;

    for (; text[length] != '\0' && length < sizeof(json); length++)
        json[length] = text[length] == '\'' ? '"' : text[length];
    *skipped = (struct flowd_messages){0};
    if (flowd_registry_read(read, json, length, skipped, &err) < 0)
        fail_msg("%s", err.message);
    return read;
}

static void assert_experiment(const struct flowd_registry *read, const char *name, int result,
                              unsigned number)
{
    uint16_t experiment = 999;

    if (flowd_registry_experiment(read, name, strlen(name), &experiment) != result ||
        experiment != (result == 0 ? number : 999u))
        fail_msg("%s is %u", name, experiment);
}

/* One bad entry takes no name from the others, and two of one name are told apart by number. */
static void test_bad_entries_are_left_out(void **state)
{
    static const char *const lines[] = {
        "experiment 0 has no expName or no expId in 0-1023",
        "activity 0 of \"good\" has no activityName or no activityId in 0-63",
        "activity \"- _\" has no name that can be looked up",
        "the name \"twice\" is that of experiment 7 and of 8: use their numbers",
        "the name \"a\" is that of activity 2 and of 3: use their numbers",
    };
    struct flowd_messages skipped;
    struct flowd_registry *read = read_text(
        "{'experiments': [{'expName': 'none'},"
        " {'expName': 'good', 'expId': 5, 'activities': [1, {'activityName': '- _', 'activityId': "
        "1},"
        "  {'activityName': 'b', 'activityId': 4}]},"
        " {'expName': 'twice', 'expId': 7, 'activities': [{'activityName': 'c', 'activityId': 6}]},"
        " {'expName': 'twice', 'expId': 8, 'activities': [{'activityName': 'a', 'activityId': 2},"
        "  {'activityName': 'a', 'activityId': 3}]},"
        " {'expName': 'good', 'expId': 5}]}",
        &skipped);
    struct flowd_error err;
    uint16_t experiment;
    uint8_t activity;

    (void)state;
    assert_int_equal(skipped.count, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < skipped.count; i++)
        assert_string_equal(skipped.lines[i], lines[i]);
    assert_experiment(read, "good", 0, 5);
    assert_experiment(read, "twice", -ENOTUNIQ, 0);
    assert_experiment(read, "none", -ENOENT, 0);
    assert_int_equal(flowd_registry_activity(read, 5, TEXT("b"), &activity), 0);
    assert_int_equal(flowd_registry_activity(read, 7, TEXT("c"), &activity), 0);
    assert_int_equal(flowd_registry_activity(read, 8, TEXT("a"), &activity), -ENOTUNIQ);
    assert_string_equal(flowd_registry_experiment_name(read, 7), "twice");
    assert_null(flowd_registry_experiment_name(read, 8));
    assert_int_equal(flowd_registry_read_experiment(read, TEXT("Twice"), &experiment, &err),
                     -ENOTUNIQ);
    assert_non_null(strstr(err.message, "\"Twice\" is the name of several"));
    flowd_messages_fini(&skipped);
    flowd_registry_free(read);
}

/* The nearest spelling counts; where none is nearer, none is guessed. */
static void test_spellings(void **state)
{
    struct flowd_messages skipped;
    struct flowd_registry *read =
        read_text("{'experiments': [{'expName': 'Data Challenge', 'expId': 1},"
                  " {'expName': 'DataChallenge', 'expId': 2}, {'expName': 'atlas', 'expId': 3},"
                  " {'expName': 'ATLAS', 'expId': 4}, {'expName': 'Belle II', 'expId': 6}]}",
                  &skipped);

    (void)state;
    assert_experiment(read, "data_challenge", 0, 1);
    assert_experiment(read, "datachallenge", 0, 2);
    assert_experiment(read, "Data-Challenge", -ENOTUNIQ, 0);
    assert_experiment(read, "atlas", 0, 3);
    assert_experiment(read, "ATLAS", 0, 4);
    assert_experiment(read, "Atlas", -ENOTUNIQ, 0);
    assert_experiment(read, "belleii", 0, 6);
    assert_string_equal(flowd_registry_experiment_name(read, 4), "ATLAS");
    assert_int_equal(skipped.count, 1);
    flowd_messages_fini(&skipped);
    flowd_registry_free(read);
}

/* More names of one fold than anybody needs take no time from each other. */
static void test_many_of_one_fold(void **state)
{
    enum { MANY = 4000 };
    struct flowd_text text = {0};
    struct flowd_messages skipped = {0};
    struct flowd_registry *read = flowd_registry_new();

    (void)state;
    flowd_text_puts(&text, "{\"experiments\":[{\"expName\":\"good\",\"expId\":9}");
    for (unsigned i = 0; i < MANY; i++)
        flowd_text_printf(&text, ",{\"expName\":\"same\",\"expId\":%u}", i % 512);
    flowd_text_puts(&text, "]}");
    assert_int_equal(flowd_registry_read(read, text.data, text.length, &skipped, NULL), 0);
    assert_string_equal(flowd_registry_experiment_name(read, 9), "good");
    assert_experiment(read, "same", -ENOTUNIQ, 0);
    assert_true(skipped.count >= MANY - 32);
    assert_string_equal(skipped.lines[skipped.count - 1],
                        "experiment \"same\": more than 32 have names like it");
    flowd_messages_fini(&skipped);
    flowd_text_fini(&text);
    flowd_registry_free(read);
}

/* What has more entries than numbers is refused, or left out of its experiment, as a whole. */
static void test_too_many_entries(void **state)
{
    struct flowd_text text = {0};
    struct flowd_messages skipped = {0};
    struct flowd_registry *read = flowd_registry_new();
    struct flowd_error err;

    (void)state;
    flowd_text_puts(&text, "{\"experiments\":[{\"expName\":\"one\",\"expId\":1,\"activities\":[{}");
    for (unsigned i = 0; i < 4096; i++)
        flowd_text_puts(&text, ",{}");
    flowd_text_puts(&text, "]}]}");
    assert_int_equal(flowd_registry_read(read, text.data, text.length, &skipped, NULL), 0);
    assert_int_equal(skipped.count, 1);
    assert_string_equal(skipped.lines[0], "\"one\" has more than 4096 activities");
    assert_experiment(read, "one", 0, 1);
    flowd_text_clear(&text);
    flowd_text_puts(&text, "{\"experiments\":[{}");
    for (unsigned i = 0; i < 4096; i++)
        flowd_text_puts(&text, ",{}");
    flowd_text_puts(&text, "]}");
    assert_int_equal(flowd_registry_read(read, text.data, text.length, &skipped, &err), -EINVAL);
    assert_string_equal(err.message, "more than 4096 experiments");
    assert_experiment(read, "one", 0, 1);
    flowd_messages_fini(&skipped);
    flowd_text_fini(&text);
    flowd_registry_free(read);
}

/* Of several names of a number the first is shown; where the names are from goes with them. */
static void test_first_name_and_origin(void **state)
{
    struct flowd_messages skipped;
    struct flowd_registry *read =
        read_text("{'experiments': [{'expName': 'one', 'expId': 4, 'activities':"
                  " [{'activityName': 'a', 'activityId': 0}]}, {'expName': 'two', 'expId': 4}]}",
                  &skipped);
    struct flowd_registry *other = flowd_registry_new();

    (void)state;
    assert_string_equal(flowd_registry_experiment_name(read, 4), "one");
    assert_string_equal(flowd_registry_activity_name(read, 4, 0), "a");
    assert_null(flowd_registry_activity_name(read, 5, 0));
    assert_string_equal(flowd_registry_origin(read), "");
    assert_int_equal(flowd_registry_age_us(read), 0);
    flowd_registry_set_origin(read, "here", 1);
    assert_true(flowd_registry_age_us(read) > 0);
    flowd_registry_move(other, read);
    assert_string_equal(flowd_registry_origin(other), "here");
    assert_string_equal(flowd_registry_experiment_name(other, 4), "one");
    assert_int_equal(flowd_registry_count(read), 0);
    flowd_registry_set_origin(other, "ahead", INT64_MAX);
    assert_int_equal(flowd_registry_age_us(other), 0);
    flowd_registry_clear(other);
    assert_string_equal(flowd_registry_origin(other), "");
    flowd_messages_fini(&skipped);
    flowd_registry_free(read);
    flowd_registry_free(other);
}

/* A good file leaves a copy, which stands in for one that is no good as long as there are no names.
 */
static void test_last_good_copy(void **state)
{
    static const char good[] = "{\"experiments\": [{\"expName\": \"only\", \"expId\": 9}]}";
    struct flowd_registry *fresh;
    struct flowd_error err = {.message = ""};
    struct scratch scratch;
    char file[SCRATCH_PATH_SIZE];

    (void)state;
    flowd_log_configure(FLOWD_LOG_ERROR, FLOWD_LOG_TEXT);
    scratch_make(&scratch);
    memcpy(file, scratch_path(&scratch, "api.json"), sizeof(file));
    scratch_write(&scratch, "api.json", good, sizeof(good) - 1);
    scratch_write(&scratch, "registry.json.new", "half", 4);
    assert_int_equal(flowd_registry_follow(registry, file, scratch.path, &err), 0);
    assert_int_equal(flowd_registry_count(registry), 1);
    assert_int_equal(access(scratch_path(&scratch, "registry.json.new"), F_OK), -1);

    scratch_write(&scratch, "api.json", good, 10);
    assert_int_equal(flowd_registry_follow(registry, file, scratch.path, &err), -EINVAL);
    assert_non_null(strstr(err.message, file));
    assert_int_equal(flowd_registry_count(registry), 1);
    for (int with_copy = 1; with_copy >= 0; with_copy--) {
        fresh = flowd_registry_new();
        flowd_registry_follow(fresh, file, with_copy ? scratch.path : "", &err);
        assert_int_equal(flowd_registry_count(fresh), with_copy);
        flowd_registry_free(fresh);
    }
    assert_int_equal(unlink(file), 0);
    fresh = flowd_registry_new();
    assert_int_equal(flowd_registry_follow(fresh, file, scratch.path, &err), -ENOENT);
    assert_int_equal(flowd_registry_count(fresh), 1);
    assert_int_equal(flowd_registry_follow(fresh, "", scratch.path, &err), 0);
    assert_int_equal(flowd_registry_count(fresh), 0);
    flowd_registry_free(fresh);
    scratch_remove(&scratch);
}

/* What is no regular file is not waited for. */
static void test_fifo_is_no_registry(void **state)
{
    struct flowd_error err = {.message = ""};
    struct scratch scratch;

    (void)state;
    scratch_make(&scratch);
    assert_int_equal(mkfifo(scratch_path(&scratch, "api.json"), 0600), 0);
    assert_int_equal(flowd_registry_load(registry, scratch_path(&scratch, "api.json"), NULL, &err),
                     -EINVAL);
    scratch_remove(&scratch);
}

static void test_empty(void **state)
{
    struct flowd_registry *empty = flowd_registry_new();
    uint16_t experiment;
    struct flowd_error err;

    (void)state;
    assert_int_equal(flowd_registry_read_experiment(empty, TEXT("atlas"), &experiment, &err),
                     -ENOENT);
    assert_string_equal(err.message,
                        "experiment: \"atlas\" is no number, and no registry is loaded");
    assert_int_equal(flowd_registry_read_experiment(empty, TEXT("5"), &experiment, &err), 0);
    assert_int_equal(experiment, 5);
    flowd_registry_free(empty);
    flowd_registry_free(NULL);
}

#define LOADED(test) cmocka_unit_test_setup_teardown(test, load, unload)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOADED(test_experiments),
        LOADED(test_activities),
        LOADED(test_activities_belong_to_their_experiment),
        LOADED(test_names_of_numbers),
        LOADED(test_long_names),
        LOADED(test_bad_files_change_nothing),
        LOADED(test_last_good_copy),
        LOADED(test_fifo_is_no_registry),
        cmocka_unit_test(test_bad_entries_are_left_out),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_many_of_one_fold),
        cmocka_unit_test(test_too_many_entries),
        cmocka_unit_test(test_first_name_and_origin),
        cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
