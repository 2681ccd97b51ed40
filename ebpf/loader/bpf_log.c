/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects libbpf's messages while something is loaded, and keeps the lines that tell why it
 * failed. libbpf's handler has no context, so what was heard is this file's own.
 */
#include "ebpf/loader/bpf_log.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"

#define LIBBPF_PREFIX "libbpf: "
#define LOG_BEGINS "-- BEGIN PROG LOAD LOG --"
#define LOG_ENDS "-- END PROG LOAD LOG --"
/* The verifier's own statistics, behind what it found. */
#define STATISTICS "processed "
/* As much of a verifier's log as helps; the whole may have a hundred thousand lines. */
#define LINES_LOGGED 40

static struct flowd_bpf_log heard;

static int on_message(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static bool begins(const char *text, size_t length, const char *with)
{
    size_t wanted = strlen(with);

    return length >= wanted && memcmp(text, with, wanted) == 0;
}

/* Whether a warning only repeats that something failed, or tells of no failure. */
static bool says_nothing(const char *line)
{
    static const char *const empty[] = {"failed to load object", "failed to load BPF skeleton",
                                        "': failed to load:", "Retrying without BTF"};

    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        if (strstr(line, empty[i]) != NULL)
            return true;
    return false;
}

/* The last line of the verifier's log that says what is wrong. */
static void note_verifier(struct flowd_bpf_log *bpf_log, const char *log)
{
    const char *found = "";
    size_t found_length = 0;

    log += strcspn(log, "\n");
    while (*log == '\n') {
        size_t length = strcspn(++log, "\n");

        if (begins(log, length, LOG_ENDS))
            break;
        if (length > 0 && !begins(log, length, STATISTICS)) {
            found = log;
            found_length = length;
        }
        log += length;
    }
    snprintf(bpf_log->verifier, sizeof(bpf_log->verifier), "%.*s", (int)found_length, found);
}

void flowd_bpf_log_note(struct flowd_bpf_log *bpf_log, const char *message)
{
    const char *log = strstr(message, LOG_BEGINS);

    if (log != NULL) {
        if (bpf_log->verifier[0] == '\0')
            note_verifier(bpf_log, log);
        return;
    }
    if (bpf_log->warning[0] != '\0' || says_nothing(message))
        return;
    if (begins(message, strlen(message), LIBBPF_PREFIX))
        message += strlen(LIBBPF_PREFIX);
    snprintf(bpf_log->warning, sizeof(bpf_log->warning), "%.*s", (int)strcspn(message, "\n"),
             message);
}

bool flowd_bpf_log_lacks_descriptors(const struct flowd_bpf_log *bpf_log, int error, bool few)
{
    static const char without_map[] = "wasn't created";

    return error == EMFILE || error == ENFILE ||
           strstr(bpf_log->warning, "Too many open files") != NULL ||
           (few && (strstr(bpf_log->warning, without_map) != NULL ||
                    strstr(bpf_log->verifier, without_map) != NULL));
}

/* The last lines, each for itself. */
static void log_lines(const char *message)
{
    const char *from = message + strlen(message);
    unsigned lines = 0;

    while (from > message && lines <= LINES_LOGGED)
        lines += *--from == '\n';
    while (*from != '\0') {
        size_t length = strcspn(from, "\n");

        if (length > 0)
            flowd_debug("bpf", "%.*s", (int)length, from);
        from += length + (from[length] == '\n');
    }
}

static int on_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
    int saved = errno; /* libbpf reads it afterwards */
    char *message;
    int length;

    if (level == LIBBPF_DEBUG)
        return 0;
    length = vasprintf(&message, format, arguments);
    if (length < 0)
        return 0;
    if (level == LIBBPF_WARN)
        flowd_bpf_log_note(&heard, message);
    log_lines(message);
    free(message);
    errno = saved;
    return length;
}

void flowd_bpf_log_listen(void)
{
    libbpf_set_print(on_message);
}

void flowd_bpf_log_reset(void)
{
    heard = (struct flowd_bpf_log){{0}, {0}};
}

const struct flowd_bpf_log *flowd_bpf_log_heard(void)
{
    return &heard;
}
