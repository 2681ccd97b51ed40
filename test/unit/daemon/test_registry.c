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

#include "daemon/registry.h"
#include "scratch.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static struct flowd_registry *registry;

static int load(void **state)
{
    struct flowd_error err;

    (void)state;
    registry = flowd_registry_new();
    if (flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", &err) < 0) {
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
        {TEXT("atlas "), -ENOENT, 0},
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
        struct flowd_error err = {""};
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
        {TEXT("data-brokering"), -ENOENT, 0},
        {TEXT("databrokering"), -ENOENT, 0},
        {TEXT("cache"), -ENOENT, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t activity = 99;
        struct flowd_error err = {""};
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
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": 3, \"activities\": [1]}]}",
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": 3, \"activities\": [{\"activityName\": "
        "\"a\", \"activityId\": 64}]}]}",
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": 3}, {\"expName\": \"X\", \"expId\": "
        "4}]}",
        "{\"experiments\": [{\"expName\": \"x\", \"expId\": 3, \"activities\": [{\"activityName\": "
        "\"a b\", \"activityId\": 1}, {\"activityName\": \"A_B\", \"activityId\": 2}]}]}",
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
        if (flowd_registry_load(registry, scratch_path(&scratch, "api.json"), &err) >= 0)
            fail_msg("%s was taken for a registry", texts[i]);
        assert_non_null(strstr(err.message, "api.json"));
        assert_int_equal(flowd_registry_count(registry), count);
        assert_string_equal(flowd_registry_experiment_name(registry, 2), "atlas");
    }
    assert_int_equal(flowd_registry_load(registry, scratch_path(&scratch, "missing"), &err),
                     -ENOENT);
    assert_int_equal(flowd_registry_count(registry), count);
    scratch_write(&scratch, "api.json",
                  TEXT("{\"experiments\": [{\"expName\": \"only\", \"expId\": "
                       "9}]}"));
    assert_int_equal(flowd_registry_load(registry, scratch_path(&scratch, "api.json"), &err), 0);
    assert_int_equal(flowd_registry_count(registry), 1);
    assert_null(flowd_registry_experiment_name(registry, 2));
    assert_int_equal(flowd_registry_load(registry, "", &err), 0);
    assert_int_equal(flowd_registry_count(registry), 0);
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
        cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
