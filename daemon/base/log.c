/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines to standard error (text or JSON) or entries to journald's native socket.
 *
 * The daemon has one thread and must not wait for whoever reads its log: before each write the
 * descriptor is asked whether it takes a line, and if not the line is dropped and counted.
 */
#include "daemon/base/log.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "daemon/base/timestamp.h"

#define MESSAGE_SIZE 2048
/* What stands on a line beside the message. */
#define HEADER_ROOM 160
#define LASTING_S 30
#define LIMIT_PER_SECOND 10
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

const char *const flowd_log_level_names[] = {"error", "warning", "info", "debug", NULL};
const char *const flowd_log_format_names[] = {"text", "json", "journal", NULL};

static struct {
    enum flowd_log_level level;
    enum flowd_log_format format;
    int journal;
    uint64_t dropped;
    struct flowd_text line;
} logger = {.level = FLOWD_LOG_INFO, .format = FLOWD_LOG_TEXT, .journal = -1};

static int open_journal(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void flowd_log_configure(enum flowd_log_level level, enum flowd_log_format format)
{
    logger.level = level;
    if (format == FLOWD_LOG_JOURNAL && logger.journal < 0) {
        logger.journal = open_journal();
        if (logger.journal < 0) {
            format = FLOWD_LOG_TEXT;
            logger.format = format;
            flowd_warning("log", "no journal at %s: writing text to standard error",
                          JOURNAL_SOCKET);
        }
    }
    logger.format = format;
}

enum flowd_log_level flowd_log_level(void)
{
    return logger.level;
}

uint64_t flowd_log_dropped(void)
{
    return logger.dropped;
}

/* Bytes of the character at text, which ends with a NUL; 0: none that may be shown as it is. */
static size_t printable(const char *text)
{
    size_t size = flowd_text_utf8_sequence(text, strnlen(text, 4));

    if ((unsigned char)text[0] < 0x20 || text[0] == 0x7f)
        return 0;
    /* U+0080 to U+009F move the cursor of some terminals. */
    return size == 2 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0 ? 0 : size;
}

/*
 * How many bytes of the message fit on a line that is written in one piece (PIPE_BUF), if a byte
 * that can't be shown takes escaped bytes.
 */
static size_t fitting(const char *message, size_t escaped)
{
    size_t room = PIPE_BUF - HEADER_ROOM;
    size_t at = 0;

    while (message[at] != '\0') {
        size_t size = printable(message + at);
        size_t cost = size > 0 ? size + (message[at] == '"' || message[at] == '\\') : escaped;

        if (cost > room)
            break;
        room -= cost;
        at += size > 0 ? size : 1;
    }
    return at;
}

/* A peer's bytes must not forge lines or move the reader's cursor. */
static void put_printable(const char *message, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t size = printable(message + at);

        if (size == 0)
            flowd_text_printf(&logger.line, "\\x%02x", (unsigned)(unsigned char)message[at++]);
        else
            flowd_text_append(&logger.line, message + at, size);
        at += size;
    }
}

static void compose_text(enum flowd_log_level level, const char *module, const char *message)
{
    char timestamp[FLOWD_TIMESTAMP_SIZE];

    flowd_timestamp_format(flowd_timestamp_now_us(), timestamp);
    flowd_text_printf(&logger.line, "%s %-7s %s: ", timestamp, flowd_log_level_names[level],
                      module);
    put_printable(message, fitting(message, sizeof("\\xff") - 1));
    flowd_text_char(&logger.line, '\n');
}

static void compose_json(enum flowd_log_level level, const char *module, const char *message)
{
    char timestamp[FLOWD_TIMESTAMP_SIZE];

    flowd_timestamp_format(flowd_timestamp_now_us(), timestamp);
    flowd_text_printf(&logger.line, "{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",",
                      timestamp, flowd_log_level_names[level], module);
    flowd_text_puts(&logger.line, "\"message\":");
    flowd_text_json(&logger.line, message, fitting(message, sizeof("\\u001f") - 1));
    flowd_text_puts(&logger.line, "}\n");
}

/* journald's native protocol: FIELD=value lines; a message with a line feed would need a length. */
static void compose_journal(enum flowd_log_level level, const char *module, const char *message)
{
    static const int priorities[] = {3, 4, 6, 7};

    flowd_text_printf(&logger.line, "PRIORITY=%d\nSYSLOG_IDENTIFIER=flowd\nFLOWD_MODULE=%s\n",
                      priorities[level], module);
    flowd_text_puts(&logger.line, "MESSAGE=");
    for (const char *c = message; *c != '\0'; c++)
        flowd_text_char(&logger.line, *c == '\n' ? ' ' : *c);
    flowd_text_char(&logger.line, '\n');
}

static void write_line(void)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written;

    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        logger.dropped++;
        return;
    }
    written = write(STDERR_FILENO, logger.line.data, logger.line.length);
    if (written != (ssize_t)logger.line.length)
        logger.dropped++;
}

/* A journald that was restarted has another socket behind the same name. */
static void send_to_journal(void)
{
    const struct flowd_text *line = &logger.line;

    if (logger.journal >= 0 && send(logger.journal, line->data, line->length, MSG_NOSIGNAL) >= 0)
        return;
    if (logger.journal >= 0)
        close(logger.journal);
    logger.journal = open_journal();
    if (logger.journal < 0 || send(logger.journal, line->data, line->length, MSG_NOSIGNAL) < 0)
        logger.dropped++;
}

static void write_message(enum flowd_log_level level, const char *module, const char *message)
{
    flowd_text_clear(&logger.line);
    if (logger.format == FLOWD_LOG_JOURNAL)
        compose_journal(level, module, message);
    else if (logger.format == FLOWD_LOG_JSON)
        compose_json(level, module, message);
    else
        compose_text(level, module, message);
    if (flowd_text_failed(&logger.line))
        logger.dropped++;
    else if (logger.format != FLOWD_LOG_JOURNAL)
        write_line();
    else
        send_to_journal();
}

void flowd_log_as(enum flowd_log_level level, const char *path, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list arguments;

    if (level > logger.level)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    write_message(level, path, message);
}

enum flowd_log_level flowd_log_lasting(struct flowd_log_lasting *lasting,
                                       enum flowd_log_level level)
{
    int64_t before_s = lasting->met_s;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    lasting->met_s = now.tv_sec + 1;
    return before_s > 0 && lasting->met_s - before_s < LASTING_S ? FLOWD_LOG_DEBUG : level;
}

void flowd_log_limited_as(struct flowd_log_limit *limit, enum flowd_log_level level,
                          const char *path, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    struct timespec now;
    va_list arguments;

    if (level > logger.level)
        return;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != limit->window_s) {
        if (limit->left_out > 0)
            flowd_log(level, path, "%u more lines of this kind were left out", limit->left_out);
        *limit = (struct flowd_log_limit){.window_s = now.tv_sec};
    }
    if (limit->printed == LIMIT_PER_SECOND) {
        limit->left_out++;
        return;
    }
    limit->printed++;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    write_message(level, path, message);
}
