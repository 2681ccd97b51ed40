/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log writes to standard error: levels, escapes, the limit, and a reader that is too slow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/text.h"

#define TIMESTAMP_LENGTH 32
#define PIPE_SIZE 65536

static int saved_stderr;
static int reader;

/* Standard error becomes a pipe. cmocka writes its own messages there, so it is given back. */
static void begin(void)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(saved_stderr >= 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    reader = ends[0];
    assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
}

static void end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(reader);
}

/* What was written; NUL-terminated. */
static const char *take(void)
{
    static char bytes[2 * PIPE_SIZE];
    ssize_t count = read(reader, bytes, sizeof(bytes) - 1);

    bytes[count > 0 ? count : 0] = '\0';
    return bytes;
}

static void test_levels(void **state)
{
    (void)state;
    begin();
    flowd_log_configure(FLOWD_LOG_WARNING, FLOWD_LOG_TEXT);
    flowd_info("unit", "not this");
    flowd_debug("unit", "nor this");
    assert_string_equal(take(), "");
    flowd_warning("unit", "this %d", 1);
    assert_string_equal(take() + TIMESTAMP_LENGTH, " warning unit: this 1\n");
    flowd_err("unit", "that");
    assert_string_equal(take() + TIMESTAMP_LENGTH, " error   unit: that\n");
    flowd_log_configure(FLOWD_LOG_DEBUG, FLOWD_LOG_TEXT);
    flowd_debug("unit", "this too");
    assert_string_equal(take() + TIMESTAMP_LENGTH, " debug   unit: this too\n");
    end();
}

static void test_text_escapes(void **state)
{
    static const struct {
        const char *message;
        const char *line;
    } rows[] = {
        {"two\nlines", "two\\x0alines"},
        {"\x1b[2J\r\t\x7f", "\\x1b[2J\\x0d\\x09\\x7f"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
    };

    (void)state;
    begin();
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_TEXT);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char wanted[128];

        flowd_info("unit", "%s", rows[i].message);
        snprintf(wanted, sizeof(wanted), " info    unit: %s\n", rows[i].line);
        assert_string_equal(take() + TIMESTAMP_LENGTH, wanted);
    }
    end();
}

/* What terminals take for a control sequence, and bytes that are not UTF-8, reach no reader. */
static void test_text_is_clean_utf8(void **state)
{
    static const char *const messages[] = {"\xc2\x9b"
                                           "2J",
                                           "\x9b"
                                           "2J",
                                           "not \xff UTF-8", "cut \xc3"};
    int wrong = 0;

    (void)state;
    begin();
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_TEXT);
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        const char *line;

        flowd_info("unit", "%s", messages[i]);
        line = take();
        wrong += !flowd_text_is_utf8(line, strlen(line)) || strstr(line, "\xc2\x9b") != NULL;
    }
    end();
    assert_int_equal(wrong, 0);
}

static void test_json(void **state)
{
    json_t *line;

    (void)state;
    begin();
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_JSON);
    flowd_warning("unit", "%s", "a \"b\"\n\x01\x1b\xff \xc3\xa9");
    line = json_loads(take(), 0, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(line, "module")), "unit");
    assert_string_equal(json_string_value(json_object_get(line, "message")),
                        "a \"b\"\n\x01\x1b\xef\xbf\xbd \xc3\xa9");
    assert_int_equal(strlen(json_string_value(json_object_get(line, "time"))), TIMESTAMP_LENGTH);
    json_decref(line);
    end();
}

static unsigned count_lines(const char *text)
{
    unsigned count = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        count++;
    return count;
}

/* Tries again if a second ends in the middle. */
static void test_limit(void **state)
{
    struct flowd_log_limit limit = {0};
    const char *text;
    unsigned lines = 0;
    bool one_window = false;

    (void)state;
    begin();
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_TEXT);
    while (!one_window) {
        limit = (struct flowd_log_limit){0};
        flowd_log_limited(&limit, FLOWD_LOG_INFO, "unit", "line");
        for (int64_t window = limit.window_s, i = 1; i < 100; i++) {
            flowd_log_limited(&limit, FLOWD_LOG_INFO, "unit", "line");
            one_window = limit.window_s == window;
        }
        lines = count_lines(take());
    }
    assert_int_equal(lines, 10);
    assert_int_equal(limit.left_out, 90);
    /* The next second says how many there were. */
    limit.window_s--;
    flowd_log_limited(&limit, FLOWD_LOG_INFO, "unit", "after");
    text = take();
    assert_non_null(strstr(text, "90 more lines of this kind were left out\n"));
    assert_non_null(strstr(text, "unit: after\n"));
    flowd_log_limited(&limit, FLOWD_LOG_DEBUG, "unit", "not at this level");
    assert_string_equal(take(), "");
    end();
}

static void test_long_message(void **state)
{
    char message[5000];
    const char *line;

    (void)state;
    memset(message, 'm', sizeof(message));
    message[sizeof(message) - 1] = '\0';
    begin();
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_TEXT);
    flowd_info("unit", "%s", message);
    line = take();
    assert_in_range(strlen(line), 2000, 4096);
    assert_int_equal(line[strlen(line) - 1], '\n');
    end();
}

static void test_full_pipe_drops(void **state)
{
    uint64_t dropped = flowd_log_dropped();
    int attempts;

    (void)state;
    begin();
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_TEXT);
    for (attempts = 0; attempts < 100000 && flowd_log_dropped() == dropped; attempts++)
        flowd_info("unit", "a line that nobody reads");
    flowd_info("unit", "one more");
    end();
    assert_in_range(attempts, 100, 99999);
    assert_int_equal(flowd_log_dropped(), dropped + 2);
}

/*
 * A pipe with room for one page takes a line of a page at the most; a longer one would wait for the
 * reader. A child writes it, which its parent ends if it hangs.
 */
static void test_long_line_does_not_block(void **state)
{
    char message[1024], filler[PIPE_SIZE - 4096] = {0};
    int status = 0;
    pid_t child;

    (void)state;
    memset(message, 0x01, sizeof(message));
    message[sizeof(message) - 1] = '\0';
    begin();
    assert_int_equal(fcntl(reader, F_SETPIPE_SZ, PIPE_SIZE), PIPE_SIZE);
    assert_int_equal(write(STDERR_FILENO, filler, sizeof(filler)), sizeof(filler));
    flowd_log_configure(FLOWD_LOG_INFO, FLOWD_LOG_JSON);
    child = fork();
    if (child == 0) {
        (void)alarm(5);
        flowd_info("unit", "%s", message);
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    end();
    assert_true(WIFEXITED(status));
}

/* What lasts is said when it begins, and when it was not met for half a minute. */
static void test_lasting(void **state)
{
    struct flowd_log_lasting lasting = {0};

    (void)state;
    assert_int_equal(flowd_log_lasting(&lasting, FLOWD_LOG_WARNING), FLOWD_LOG_WARNING);
    assert_int_equal(flowd_log_lasting(&lasting, FLOWD_LOG_WARNING), FLOWD_LOG_DEBUG);
    lasting.met_s -= 28;
    assert_int_equal(flowd_log_lasting(&lasting, FLOWD_LOG_WARNING), FLOWD_LOG_DEBUG);
    lasting.met_s -= 31;
    assert_int_equal(flowd_log_lasting(&lasting, FLOWD_LOG_WARNING), FLOWD_LOG_WARNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_text_escapes),
        cmocka_unit_test(test_text_is_clean_utf8),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_full_pipe_drops),
        cmocka_unit_test(test_long_line_does_not_block),
        cmocka_unit_test(test_lasting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
