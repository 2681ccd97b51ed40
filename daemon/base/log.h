/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log: one line per message to standard error, or entries to the systemd journal.
 *
 * A full pipe on the other side never blocks the daemon: the line is dropped and counted.
 * flowd_log_limited() is for what peers can cause: at most 10 lines a second for each limit, then
 * one line that says how many were left out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum flowd_log_level {
    FLOWD_LOG_ERROR,
    FLOWD_LOG_WARNING,
    FLOWD_LOG_INFO,
    FLOWD_LOG_DEBUG,
};

enum flowd_log_format {
    FLOWD_LOG_TEXT,
    FLOWD_LOG_JSON,
    FLOWD_LOG_JOURNAL,
};

/* A window of one second; zero-initialised is ready for use. */
struct flowd_log_limit {
    int64_t window_s;
    unsigned printed;
    unsigned left_out;
};

/* What is met again and again as long as it lasts; zero-initialised is ready for use. */
struct flowd_log_lasting {
    int64_t met_s; /* when last, CLOCK_MONOTONIC_COARSE, plus 1; 0: never */
};

/*
 * Notes that it is met. Returns the level at which to say so: level, or FLOWD_LOG_DEBUG where it
 * was met in the last half a minute.
 */
enum flowd_log_level flowd_log_lasting(struct flowd_log_lasting *lasting,
                                       enum flowd_log_level level);

/* Names as users write them: "error" ... "debug"; "text", "json", "journal". NULL-terminated. */
extern const char *const flowd_log_level_names[];
extern const char *const flowd_log_format_names[];

void flowd_log_configure(enum flowd_log_level level, enum flowd_log_format format);
enum flowd_log_level flowd_log_level(void);

/*
 * The part of the program that speaks: a module by its path in the configuration
 * ("backends.marker"), of which its sources write the last part only, as a literal.
 */
#ifdef FLOWD_LOG_SECTION
#define FLOWD_LOG_PATH(module) FLOWD_LOG_SECTION module
#else
#define FLOWD_LOG_PATH(module) module
#endif

/* Writes one message. */
#define flowd_log(level, module, ...) flowd_log_as(level, FLOWD_LOG_PATH(module), __VA_ARGS__)
void flowd_log_as(enum flowd_log_level level, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define flowd_log_limited(limit, level, module, ...)                                               \
    flowd_log_limited_as(limit, level, FLOWD_LOG_PATH(module), __VA_ARGS__)
void flowd_log_limited_as(struct flowd_log_limit *limit, enum flowd_log_level level,
                          const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* How many lines could not be written because the reader of the log was too slow. */
uint64_t flowd_log_dropped(void);

#define flowd_debug(module, ...)                                                                   \
    do {                                                                                           \
        if (flowd_log_level() >= FLOWD_LOG_DEBUG)                                                  \
            flowd_log(FLOWD_LOG_DEBUG, module, __VA_ARGS__);                                       \
    } while (0)
#define flowd_info(module, ...) flowd_log(FLOWD_LOG_INFO, module, __VA_ARGS__)
#define flowd_warning(module, ...) flowd_log(FLOWD_LOG_WARNING, module, __VA_ARGS__)
#define flowd_err(module, ...) flowd_log(FLOWD_LOG_ERROR, module, __VA_ARGS__)
