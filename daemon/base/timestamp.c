/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 3339 timestamps. The calendar parts of a few seconds are kept, because a batch of fireflies
 * formats the same seconds thousands of times.
 */
#include "daemon/base/timestamp.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "daemon/base/integer.h"

#define US_PER_S 1000000
#define CALENDAR_LENGTH 19 /* 2026-01-01T00:00:00 */
#define CACHED 16
/* 9999-12-31T23:59:59Z: later years have five digits. */
#define SECOND_MAX INT64_C(253402300799)

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

int64_t flowd_timestamp_now_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t flowd_timestamp_boot_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

/* "2026-01-01T00:00:00" of the second; good until the next call. */
static const char *calendar_text(time_t second)
{
    static struct {
        time_t second;
        char text[CALENDAR_LENGTH + 1];
    } cache[CACHED];
    size_t slot = (size_t)second % CACHED;

    if (cache[slot].second != second || cache[slot].text[0] == '\0') {
        struct tm calendar;

        gmtime_r(&second, &calendar);
        strftime(cache[slot].text, sizeof(cache[slot].text), "%Y-%m-%dT%H:%M:%S", &calendar);
        cache[slot].second = second;
    }
    return cache[slot].text;
}

size_t flowd_timestamp_format(int64_t realtime_us, char buffer[static FLOWD_TIMESTAMP_SIZE])
{
    unsigned micro = (unsigned)(realtime_us % US_PER_S);

    memcpy(buffer, calendar_text((time_t)(realtime_us / US_PER_S)), CALENDAR_LENGTH);
    buffer[CALENDAR_LENGTH] = '.';
    for (int i = 6; i > 0; i--) {
        buffer[CALENDAR_LENGTH + i] = (char)('0' + micro % 10);
        micro /= 10;
    }
    memcpy(buffer + CALENDAR_LENGTH + 7, "+00:00", 7);
    return FLOWD_TIMESTAMP_SIZE - 1;
}

/* Reads exactly two (or four) digits at *text and moves past them. */
static int take_number(const char **text, const char *end, size_t digits, uint64_t max, int *out)
{
    uint64_t number;
    int result;

    if ((size_t)(end - *text) < digits)
        return -EINVAL;
    result = flowd_integer_parse(*text, digits, 0, max, &number);
    if (result < 0)
        return -EINVAL;
    *out = (int)number;
    *text += digits;
    return 0;
}

static int take_char(const char **text, const char *end, const char *allowed)
{
    if (*text == end || **text == '\0' || strchr(allowed, **text) == NULL)
        return -EINVAL;
    (*text)++;
    return 0;
}

/* The fraction, if there is one, in microseconds. */
static int take_fraction(const char **text, const char *end, int64_t *micro)
{
    int64_t unit = US_PER_S / 10;

    *micro = 0;
    if (*text == end || **text != '.')
        return 0;
    (*text)++;
    if (*text == end || **text < '0' || **text > '9')
        return -EINVAL;
    for (; *text < end && **text >= '0' && **text <= '9'; (*text)++) {
        *micro += (**text - '0') * unit;
        unit /= 10;
    }
    return 0;
}

/* "Z" or "+hh:mm", in seconds east of UTC. */
static int take_offset(const char **text, const char *end, int *offset_s)
{
    int hours, minutes;
    bool west;

    *offset_s = 0;
    if (take_char(text, end, "Zz") == 0)
        return 0;
    west = *text < end && **text == '-';
    if (take_char(text, end, "+-") < 0 || take_number(text, end, 2, 23, &hours) < 0 ||
        take_char(text, end, ":") < 0 || take_number(text, end, 2, 59, &minutes) < 0)
        return -EINVAL;
    *offset_s = (hours * 60 + minutes) * (west ? -60 : 60);
    return 0;
}

int flowd_timestamp_parse(const char *text, size_t len, int64_t *realtime_us)
{
    const char *end = text + len;
    struct tm calendar = {0}, normal;
    int64_t micro;
    time_t second;
    int year, offset_s;

    if (take_number(&text, end, 4, 9999, &year) < 0 || take_char(&text, end, "-") < 0 ||
        take_number(&text, end, 2, 12, &calendar.tm_mon) < 0 || take_char(&text, end, "-") < 0 ||
        take_number(&text, end, 2, 31, &calendar.tm_mday) < 0 || take_char(&text, end, "Tt ") < 0 ||
        take_number(&text, end, 2, 23, &calendar.tm_hour) < 0 || take_char(&text, end, ":") < 0 ||
        take_number(&text, end, 2, 59, &calendar.tm_min) < 0 || take_char(&text, end, ":") < 0 ||
        take_number(&text, end, 2, 60, &calendar.tm_sec) < 0 ||
        take_fraction(&text, end, &micro) < 0 || take_offset(&text, end, &offset_s) < 0 ||
        text != end || calendar.tm_mon == 0 || calendar.tm_mday == 0 || year < 1970)
        return -EINVAL;
    calendar.tm_year = year - 1900;
    calendar.tm_mon--;
    /* The date alone: timegm() turns 30 February into 1 March, and such a date is no date. */
    normal = calendar;
    normal.tm_sec = 0;
    second = timegm(&normal);
    if (normal.tm_mday != calendar.tm_mday)
        return -EINVAL;
    second += calendar.tm_sec - offset_s;
    if (second < 0 || second > SECOND_MAX)
        return -EINVAL;
    *realtime_us = (int64_t)second * US_PER_S + micro;
    return 0;
}
