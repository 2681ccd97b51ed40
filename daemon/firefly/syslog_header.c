/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syslog headers as those who send fireflies write them. Of RFC 5424 the parts up to the hostname
 * are read; what follows it is passed over up to the object.
 */
#include "daemon/firefly/syslog_header.h"

#include <errno.h>
#include <string.h>

/* More than any name, process id and structured data need. */
#define HEADER_MAX 1024
#define BOM "\xef\xbb\xbf"
#define BOM_LENGTH 3
/* "Feb  1 18:54:27" */
#define OLD_TIMESTAMP_LENGTH 15

struct cursor {
    const char *text;
    size_t at;
    size_t end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_printable(char c)
{
    return c > ' ' && c < 0x7f;
}

static bool take(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || cursor->text[cursor->at] != c)
        return false;
    cursor->at++;
    return true;
}

static size_t take_digits(struct cursor *cursor, size_t most)
{
    size_t begin = cursor->at;

    while (cursor->at < cursor->end && cursor->at - begin < most &&
           is_digit(cursor->text[cursor->at]))
        cursor->at++;
    return cursor->at - begin;
}

/* Printable characters up to a blank. */
static struct flowd_firefly_span take_word(struct cursor *cursor)
{
    struct flowd_firefly_span word = {.offset = cursor->at};

    while (cursor->at < cursor->end && is_printable(cursor->text[cursor->at]))
        cursor->at++;
    word.length = cursor->at - word.offset;
    return word;
}

/* "<134>", of which nothing is needed. Returns whether it is there or nothing like it is. */
static bool take_priority(struct cursor *cursor)
{
    if (!take(cursor, '<'))
        return true;
    return take_digits(cursor, 3) > 0 && take(cursor, '>');
}

/* The shape of "Feb  1 18:54:27": letters, blanks, digits and colons where they belong. */
static bool is_old_timestamp(const char *text)
{
    static const char shape[] = "Aaa 9D DD:DD:DD";

    for (size_t i = 0; i < OLD_TIMESTAMP_LENGTH; i++) {
        char c = text[i];
        bool fits = c == shape[i];

        if (shape[i] == 'D')
            fits = is_digit(c);
        else if (shape[i] == '9')
            fits = is_digit(c) || c == ' ';
        else if (shape[i] == 'A')
            fits = c >= 'A' && c <= 'Z';
        else if (shape[i] == 'a')
            fits = c >= 'a' && c <= 'z';
        if (!fits)
            return false;
    }
    return true;
}

/* RFC 3164, 4.1.2: TIMESTAMP SP HOSTNAME SP */
static bool take_old(struct cursor *cursor, struct flowd_firefly_message *message)
{
    if (cursor->end - cursor->at < OLD_TIMESTAMP_LENGTH ||
        !is_old_timestamp(cursor->text + cursor->at))
        return false;
    message->timestamp = (struct flowd_firefly_span){cursor->at, OLD_TIMESTAMP_LENGTH};
    cursor->at += OLD_TIMESTAMP_LENGTH;
    if (!take(cursor, ' '))
        return false;
    message->hostname = take_word(cursor);
    return message->hostname.length > 0 && take(cursor, ' ');
}

/*
 * Lets the header go on so far behind its timestamp: whoever passes the firefly on puts one in
 * where there is none, and it has to be a firefly then, too.
 */
static void limit_behind(struct cursor *cursor, const struct flowd_firefly_message *message)
{
    size_t left = message->length - cursor->at;

    cursor->end = cursor->at + (left < HEADER_MAX ? left : HEADER_MAX);
}

/* RFC 5424, 6.2: VERSION SP TIMESTAMP SP HOSTNAME SP, where the timestamp may be empty. */
static bool take_new(struct cursor *cursor, struct flowd_firefly_message *message)
{
    if (take_digits(cursor, 3) == 0 || !take(cursor, ' '))
        return false;
    message->timestamp = take_word(cursor);
    if (message->timestamp.length > 0 && message->text[message->timestamp.offset] != '-' &&
        !is_digit(message->text[message->timestamp.offset]))
        return false;
    limit_behind(cursor, message);
    if (!take(cursor, ' '))
        return false;
    message->hostname = take_word(cursor);
    return message->hostname.length > 0 && take(cursor, ' ');
}

/* Moves to the first brace that does not stand in a quoted value of the structured data. */
static bool find_object(struct cursor *cursor)
{
    bool quoted = false;

    for (; cursor->at < cursor->end; cursor->at++) {
        char c = cursor->text[cursor->at];

        if (c == '{' && !quoted)
            return true;
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted)
            cursor->at++;
        else if (cursor->end - cursor->at >= BOM_LENGTH &&
                 memcmp(cursor->text + cursor->at, BOM, BOM_LENGTH) == 0)
            cursor->at += BOM_LENGTH - 1;
        else if (c != ' ' && !is_printable(c))
            return false;
    }
    return false;
}

int flowd_firefly_find_header(struct flowd_firefly_message *message)
{
    struct cursor cursor = {
        .text = message->text,
        .end = message->length < HEADER_MAX ? message->length : HEADER_MAX,
    };

    if (message->length > 0 && message->text[0] == '{') {
        message->object.offset = 0;
        return 0;
    }
    if (!take_priority(&cursor))
        return -EBADMSG;
    if (cursor.at < cursor.end && is_digit(cursor.text[cursor.at])) {
        if (!take_new(&cursor, message))
            return -EBADMSG;
    } else if (!take_old(&cursor, message)) {
        return -EBADMSG;
    }
    if (!find_object(&cursor))
        return -EBADMSG;
    message->header.length = cursor.at;
    message->object.offset = cursor.at;
    return 0;
}
