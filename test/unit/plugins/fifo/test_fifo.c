/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin on a real fifo with a real loop: lines cut anywhere, lines that are too long, and what
 * stands at the path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/flow/registry.h"
#include "lab/hub_fixture.h"
#include "lab/sample_flow.h"
#include "lab/scratch.h"

extern const struct flowd_module flowd_plugin_fifo;

#define CONFIG_SIZE_MAX 256

struct running {
    struct scratch scratch;
    struct hub_fixture hub;
    struct flowd_context context;
    _Alignas(max_align_t) char config[CONFIG_SIZE_MAX];
    void *instance;
    int writer;
};

static struct running running;

static void read_config(const char *path, const char *mode)
{
    json_t *object = json_pack("{s:s, s:s}", "pipePath", path, "mode", mode);
    struct flowd_options_report report = {0};

    assert_true(flowd_plugin_fifo.config_size <= CONFIG_SIZE_MAX);
    memset(running.config, 0, sizeof(running.config));
    flowd_options_read(flowd_plugin_fifo.options, "", object, NULL, running.config, &report);
    assert_int_equal(report.errors.count, 0);
    json_decref(object);
}

static int start_plugin(struct flowd_error *err)
{
    return flowd_plugin_fifo.start(&running.context, running.config, &running.instance, err);
}

static int open_running(void **state)
{
    (void)state;
    running = (struct running){.writer = -1};
    flowd_log_configure(FLOWD_LOG_ERROR, FLOWD_LOG_TEXT);
    scratch_make(&running.scratch);
    hub_fixture_open(&running.hub, "", 100000);
    running.hub.first.quiet = running.hub.second.quiet = true;
    running.context = (struct flowd_context){
        .loop = running.hub.loop, .hub = running.hub.hub, .registry = flowd_registry_new()};
    read_config(scratch_path(&running.scratch, "fifo"), "0640");
    return 0;
}

static void start_and_write(void)
{
    struct flowd_error err;

    if (start_plugin(&err) < 0)
        fail_msg("%s", err.message);
    running.writer =
        open(scratch_path(&running.scratch, "fifo"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(running.writer >= 0);
}

static int close_running(void **state)
{
    (void)state;
    if (running.writer >= 0)
        close(running.writer);
    if (running.instance != NULL)
        flowd_plugin_fifo.stop(running.instance);
    flowd_registry_free((struct flowd_registry *)running.context.registry);
    flowd_options_fini(flowd_plugin_fifo.options, running.config);
    hub_fixture_close(&running.hub);
    scratch_remove(&running.scratch);
    return 0;
}

/* Writes everything, with turns of the loop where the pipe is full. */
static void write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t count = write(running.writer, bytes, length);

        if (count < 0) {
            assert_int_equal(errno, EAGAIN);
            count = 0;
        }
        bytes += count;
        length -= (size_t)count;
        if (length > 0)
            hub_fixture_turn(&running.hub);
    }
}

static const struct flowd_source *source(void)
{
    return flowd_hub_source(running.hub.hub, "namedPipe");
}

static size_t line_of(uint32_t number, const char *state, char *buffer, size_t size)
{
    struct flowd_flow_key key = sample_key(number);
    char src[FLOWD_ADDRESS_SIZE], dst[FLOWD_ADDRESS_SIZE];

    flowd_address_format(key.family, &key.src, src);
    flowd_address_format(key.family, &key.dst, dst);
    return (size_t)snprintf(buffer, size, "%s tcp %s %u %s %u 2 17\n", state, src, key.src_port,
                            dst, key.dst_port);
}

/* The same 3,000 lines in pieces of a fixed or random size give the same flows. */
static void test_cuts(void **state)
{
    static char text[300000];
    static const size_t pieces[] = {1, 7, 64, 4096, 0};
    size_t length = 0;
    uint32_t random = 3;
    enum { FLOWS = 3000 };

    (void)state;
    start_and_write();
    for (uint32_t number = 0; number < FLOWS; number++)
        length += line_of(number, "start", text + length, sizeof(text) - length);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        uint64_t started = source()->events[FLOWD_EVENT_START][FLOWD_STARTED];
        uint32_t cursor = 0;
        struct flowd_flow *flow;

        for (size_t at = 0, piece; at < length; at += piece) {
            piece = pieces[i] > 0 ? pieces[i] : 1 + sample_random(&random) % 3000;
            piece = piece < length - at ? piece : length - at;
            write_all(text + at, piece);
            /* For single bytes a turn each would be slow: some lines then come whole. */
            if (piece > 1 || at % 5 == 0)
                hub_fixture_turn(&running.hub);
        }
        hub_fixture_turn(&running.hub);
        assert_int_equal(source()->malformed, 0);
        assert_int_equal(source()->events[FLOWD_EVENT_START][FLOWD_STARTED] - started, FLOWS);
        for (uint32_t number = 0; number < FLOWS; number++) {
            struct flowd_flow_key key = sample_key(number);

            assert_non_null(flowd_hub_find_key(running.hub.hub, &key));
        }
        while ((flow = flowd_hub_next(running.hub.hub, &cursor)) != NULL)
            flowd_hub_end(running.hub.hub, running.hub.source, flow);
        hub_fixture_turn(&running.hub);
    }
}

static void test_unfinished_line_waits(void **state)
{
    char line[256];
    size_t length = line_of(1, "start", line, sizeof(line));

    (void)state;
    start_and_write();
    write_all(line, length - 1);
    for (int turn = 0; turn < 5; turn++)
        hub_fixture_turn(&running.hub);
    assert_int_equal(flowd_hub_live(running.hub.hub), 0);
    assert_int_equal(source()->malformed, 0);
    write_all("\n", 1);
    hub_fixture_turn(&running.hub);
    assert_int_equal(flowd_hub_live(running.hub.hub), 1);
}

/* Lines around the limit, in one write and in many, each followed by a good one. */
static void test_long_lines(void **state)
{
    static const struct {
        size_t length;
        bool good;
    } rows[] = {{4095, true},  {4096, true},   {4097, false},  {4098, false},
                {5000, false}, {65536, false}, {70000, false}, {200000, false}};
    static char text[200001];
    uint64_t malformed = 0;
    uint32_t number = 0;
    size_t live = 0;

    (void)state;
    start_and_write();
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        size_t length = rows[i / 2].length, piece = i % 2 ? 1000 : length + 1;
        char line[256];

        memset(text, ' ', length);
        /* What is skipped holds a whole event at its end, which counts for nothing. */
        memcpy(text + length - 100, text, 100);
        (void)line_of(number, "start", line, sizeof(line));
        memcpy(text + (rows[i / 2].good ? 0 : length - strlen(line) + 1), line, strlen(line) - 1);
        text[length] = '\n';
        number++;
        for (size_t at = 0; at < length + 1; at += piece) {
            write_all(text + at, piece < length + 1 - at ? piece : length + 1 - at);
            hub_fixture_turn(&running.hub);
        }
        write_all(line, line_of(number++, "start", line, sizeof(line)));
        for (int turn = 0; turn < 3; turn++)
            hub_fixture_turn(&running.hub);
        malformed += !rows[i / 2].good;
        live += rows[i / 2].good ? 2 : 1;
        if (source()->malformed != malformed || flowd_hub_live(running.hub.hub) != live)
            fail_msg("a line of %zu bytes by %zu: %zu malformed, %zu live", length, piece,
                     (size_t)source()->malformed, flowd_hub_live(running.hub.hub));
    }
}

static void test_bad_lines_harm_nothing(void **state)
{
    static const char *const bad[] = {"start tcp\n", "\xff\xfe\n", "end end end\n",
                                      "1 2 3 4 5 6 7 8\n"};
    char line[256];

    (void)state;
    start_and_write();
    for (uint32_t number = 0; number < 400; number++) {
        write_all(line, line_of(number, "start", line, sizeof(line)));
        write_all(bad[number % 4], strlen(bad[number % 4]));
        write_all("\n", 1);
        hub_fixture_turn(&running.hub);
    }
    assert_int_equal(flowd_hub_live(running.hub.hub), 400);
    assert_int_equal(source()->malformed, 400);
}

/* Events take effect in the order of their lines, up to the last whole line of each write. */
static void test_order(void **state)
{
    static const char text[] = "start tcp fd00::1 7 fd00::2 1 2 17\n"
                               "end tcp fd00::1 7 fd00::2 1 2 17\n"
                               "no event\n"
                               "start tcp fd00::1 7 fd00::2 1 2 17\n"
                               "\n"
                               "start tcp fd00::1 7 fd00::2 1 3 17\n"
                               "start tcp fd00::1 9 fd00::2 1 5 17\n"
                               "start tcp fd00::1 8 fd00::2 1 2 17\n"
                               "end tcp fd00::1 8 fd00::2 ";

    (void)state;
    running.hub.first.quiet = false;
    running.hub.first.refuse_experiment = 5;
    start_and_write();
    write_all(text, sizeof(text) - 1);
    hub_fixture_turn(&running.hub);
    hub_fixture_turn(&running.hub); /* for the commit */
    fake_backend_expect(&running.hub.first,
                        "start 7; end 7; start 7; end 7; start 7; start 8; commit; ");
    assert_int_equal(source()->malformed, 1);
    assert_int_equal(source()->events[FLOWD_EVENT_START][FLOWD_REFUSED], 1);
    write_all("1 2 17\n", 7);
    hub_fixture_turn(&running.hub);
    hub_fixture_turn(&running.hub);
    fake_backend_expect(&running.hub.first, "end 8; commit; ");
}

/* What was written before the stop is read by the stop. */
static void test_stop_reads_the_rest(void **state)
{
    char line[256];

    (void)state;
    start_and_write();
    for (uint32_t number = 0; number < 100; number++)
        write_all(line, line_of(number, "start", line, sizeof(line)));
    flowd_plugin_fifo.stop(running.instance);
    running.instance = NULL;
    assert_int_equal(flowd_hub_live(running.hub.hub), 100);
    assert_int_equal(access(scratch_path(&running.scratch, "fifo"), F_OK), 0);
}

/* A line of which the stop has read a part goes on behind the next start, and is no other one. */
static void test_stop_leaves_an_unfinished_line(void **state)
{
    char line[256];
    size_t length = line_of(1, "start", line, sizeof(line));
    struct flowd_flow_key key = sample_key(1);
    struct flowd_error err;

    (void)state;
    start_and_write();
    for (size_t at = 0; at < length; at += 9) {
        write_all(line + at, at + 9 < length ? 9 : length - at);
        hub_fixture_turn(&running.hub);
        flowd_plugin_fifo.stop(running.instance);
        running.instance = NULL;
        assert_int_equal(start_plugin(&err), 0);
        hub_fixture_turn(&running.hub);
    }
    assert_int_equal(source()->malformed, 0);
    assert_int_equal(flowd_hub_live(running.hub.hub), 1);
    assert_non_null(flowd_hub_find_key(running.hub.hub, &key));
}

/* The end of a line that is too long is no line behind a stop either. */
static void test_stop_within_a_long_line(void **state)
{
    static char blanks[6000];
    char line[256];
    size_t length = line_of(1, "start", line, sizeof(line));
    struct flowd_error err;

    (void)state;
    start_and_write();
    memset(blanks, ' ', sizeof(blanks));
    write_all(blanks, sizeof(blanks));
    hub_fixture_turn(&running.hub);
    flowd_plugin_fifo.stop(running.instance);
    running.instance = NULL;
    assert_int_equal(start_plugin(&err), 0);
    write_all(line, length);
    hub_fixture_turn(&running.hub);
    assert_int_equal(flowd_hub_live(running.hub.hub), 0);
    write_all(line, length);
    hub_fixture_turn(&running.hub);
    assert_int_equal(flowd_hub_live(running.hub.hub), 1);
}

enum { TORN_LINES = 4000 };

/* Writes lines in two parts each, of which the first tells the line from any other. */
static void *write_torn_lines(void *argument)
{
    int fd = *(int *)argument;

    for (uint32_t number = 0; number < TORN_LINES; number++) {
        char line[256];
        size_t length = line_of(number, "start", line, sizeof(line));
        size_t part = length - 2 - number % 12;

        /* As fast as the stops come, and no faster. */
        usleep(number % 4 == 0);
        if (write(fd, line, part) != (ssize_t)part ||
            write(fd, line + part, length - part) != (ssize_t)(length - part))
            return argument;
    }
    return NULL;
}

/* The same with a program that writes at every moment of many stops. */
static void test_stops_between_the_parts_of_lines(void **state)
{
    struct flowd_error err;
    pthread_t thread;
    void *failed = NULL;
    int stops = 0, keeper;

    (void)state;
    start_and_write();
    /* As a service manager does: the writer never writes to nobody. */
    keeper = open(scratch_path(&running.scratch, "fifo"), O_RDWR | O_CLOEXEC);
    assert_true(keeper >= 0);
    assert_int_equal(fcntl(running.writer, F_SETFL, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, write_torn_lines, &running.writer), 0);
    while (pthread_tryjoin_np(thread, &failed) != 0) {
        hub_fixture_turn(&running.hub);
        flowd_plugin_fifo.stop(running.instance);
        running.instance = NULL;
        assert_int_equal(start_plugin(&err), 0);
        stops++;
    }
    close(keeper);
    assert_null(failed);
    for (int turn = 0; turn < 100; turn++)
        hub_fixture_turn(&running.hub);
    if (source()->malformed != 0 || flowd_hub_live(running.hub.hub) != TORN_LINES)
        fail_msg("%d stops: %zu malformed, %zu of %d flows", stops, (size_t)source()->malformed,
                 flowd_hub_live(running.hub.hub), TORN_LINES);
}

static void test_mode(void **state)
{
    struct stat status;
    mode_t mask = umask(077);

    (void)state;
    start_and_write();
    umask(mask);
    assert_int_equal(stat(scratch_path(&running.scratch, "fifo"), &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    assert_int_equal(status.st_mode & 07777, 0640);
}

static void test_existing_fifo_is_used(void **state)
{
    struct stat before, after;

    (void)state;
    assert_int_equal(mkfifo(scratch_path(&running.scratch, "fifo"), 0600), 0);
    assert_int_equal(stat(scratch_path(&running.scratch, "fifo"), &before), 0);
    start_and_write();
    assert_int_equal(stat(scratch_path(&running.scratch, "fifo"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mode, after.st_mode);
}

static void test_anything_else_is_left_alone(void **state)
{
    struct flowd_error err = {.message = ""};
    const char *path = scratch_path(&running.scratch, "fifo");
    struct stat status;

    (void)state;
    scratch_write(&running.scratch, "fifo", "mine", 4);
    assert_int_equal(start_plugin(&err), -EEXIST);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 4);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(start_plugin(&err), -EEXIST);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(start_plugin(&err), -EEXIST);
    assert_int_equal(unlink(path), 0);
    running.instance = NULL;
}

static bool is_open(void)
{
    json_t *status = json_object();
    bool open;

    flowd_plugin_fifo.status(running.instance, status);
    open = json_is_true(json_object_get(status, "open"));
    json_decref(status);
    return open;
}

static void wait_until_open(bool open)
{
    for (int i = 0; i < 3000 && is_open() != open; i++) {
        hub_fixture_turn(&running.hub);
        usleep(10000);
    }
    assert_int_equal(is_open(), open);
}

/* A fifo that comes back to its path is read by nobody else, as before. */
static void test_a_fifo_that_comes_back_is_locked(void **state)
{
    char path[4096], aside[4096];
    struct flowd_error err;
    void *other = NULL;

    (void)state;
    start_and_write();
    snprintf(path, sizeof(path), "%s", scratch_path(&running.scratch, "fifo"));
    snprintf(aside, sizeof(aside), "%s", scratch_path(&running.scratch, "aside"));
    assert_int_equal(rename(path, aside), 0);
    scratch_write(&running.scratch, "fifo", "mine", 4);
    wait_until_open(false);
    assert_int_equal(rename(aside, path), 0);
    wait_until_open(true);
    assert_int_equal(flowd_plugin_fifo.start(&running.context, running.config, &other, &err),
                     -EBUSY);
}

#define RUNNING(test) cmocka_unit_test_setup_teardown(test, open_running, close_running)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUNNING(test_cuts),
        RUNNING(test_unfinished_line_waits),
        RUNNING(test_long_lines),
        RUNNING(test_bad_lines_harm_nothing),
        RUNNING(test_order),
        RUNNING(test_stop_reads_the_rest),
        RUNNING(test_stop_leaves_an_unfinished_line),
        RUNNING(test_stop_within_a_long_line),
        RUNNING(test_stops_between_the_parts_of_lines),
        RUNNING(test_mode),
        RUNNING(test_existing_fifo_is_used),
        RUNNING(test_anything_else_is_left_alone),
        RUNNING(test_a_fifo_that_comes_back_is_locked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
