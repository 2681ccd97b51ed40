/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of the fifo's lines: eight fields between blanks, each read where it stands, in one
 * pass. A field that is not in its usual form is cut out as a word and goes to the parser of its
 * kind, which knows all forms. Pure; what is wrong with a line is told by an error that names the
 * field.
 */
#include "line.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/base/integer.h"
#include "daemon/base/text.h"

#define FIELDS 8

struct word {
    const char *text;
    size_t length;
};

/* A line while it is read. */
struct line {
    const char *begin;
    const char *end;
    const char *at;
    bool unchecked; /* a field was taken that may hold any bytes */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* How much of a word an error message repeats. */
static int shown(const struct word *word)
{
    return word->length > 48 ? 48 : (int)word->length;
}

static void skip_blanks(struct line *line)
{
    while (line->at < line->end && is_blank(*line->at))
        line->at++;
}

/* The next word, which is empty where none is left. */
static struct word take_word(struct line *line)
{
    const char *begin;

    skip_blanks(line);
    begin = line->at;
    while (line->at < line->end && !is_blank(*line->at))
        line->at++;
    return (struct word){.text = begin, .length = (size_t)(line->at - begin)};
}

/* Goes on behind what was read up to at (NULL: nothing), if that is a whole word. */
static bool take_read(struct line *line, const char *at)
{
    if (at == NULL || (at < line->end && !is_blank(*at)))
        return false;
    line->at = at;
    return true;
}

/* A word that is a number in this range; else nothing is taken. */
static bool take_number(struct line *line, uint64_t min, uint64_t max, uint64_t *number)
{
    const char *at;

    skip_blanks(line);
    at = flowd_integer_read(line->at, line->end, number);
    return at != NULL && *number >= min && *number <= max && take_read(line, at);
}

static int read_state(struct line *line, enum flowd_event_state *state, struct flowd_error *err)
{
    struct word word = take_word(line);

    if (flowd_event_state_parse(word.text, word.length, state) < 0)
        return flowd_fail(err, EINVAL, "state: \"%.*s\" is none of start, end, ongoing",
                          shown(&word), word.text);
    return 0;
}

static int read_protocol(struct line *line, uint8_t *protocol, struct flowd_error *err)
{
    struct word word = take_word(line);

    if (flowd_protocol_parse(word.text, word.length, protocol) < 0)
        return flowd_fail(err, EINVAL, "protocol: \"%.*s\" is neither tcp nor udp", shown(&word),
                          word.text);
    return 0;
}

static int read_port(struct line *line, const char *name, uint16_t *port, struct flowd_error *err)
{
    struct word word;
    uint64_t number;
    int result = 0;

    if (!take_number(line, 1, UINT16_MAX, &number)) {
        word = take_word(line);
        result = flowd_integer_parse(word.text, word.length, 1, UINT16_MAX, &number);
    }
    if (result == -ERANGE)
        return flowd_fail(err, -result, "%s: %.*s is not in 1-65535", name, shown(&word),
                          word.text);
    if (result < 0)
        return flowd_fail(err, -result, "%s: \"%.*s\" is no number", name, shown(&word), word.text);
    *port = (uint16_t)number;
    return 0;
}

static int read_address(struct line *line, const char *name, struct flowd_address *address,
                        struct flowd_error *err)
{
    struct word word;

    skip_blanks(line);
    if (take_read(line, flowd_address_read(line->at, line->end, address)))
        return 0;
    word = take_word(line);
    if (flowd_address_parse(word.text, word.length, address) < 0)
        return flowd_fail(err, EINVAL, "%s: \"%.*s\" is no numeric IPv4 or IPv6 address", name,
                          shown(&word), word.text);
    line->unchecked = true; /* in its zone */
    return 0;
}

static int read_key(struct line *line, struct flowd_flow_key *key, struct flowd_error *err)
{
    struct flowd_address src = {0}, dst = {0};
    int result = read_protocol(line, &key->protocol, err);

    if (result == 0)
        result = read_address(line, "src", &src, err);
    if (result == 0)
        result = read_port(line, "srcPort", &key->src_port, err);
    if (result == 0)
        result = read_address(line, "dst", &dst, err);
    if (result == 0)
        result = read_port(line, "dstPort", &key->dst_port, err);
    if (result == 0 && flowd_flow_key_set_addresses(key, &src, &dst) < 0)
        return flowd_fail(err, EINVAL, "dst: not of the address family of src");
    return result;
}

static int read_experiment(struct line *line, const struct flowd_registry *registry,
                           uint16_t *experiment, struct flowd_error *err)
{
    struct word word;
    uint64_t number;

    if (take_number(line, 0, FLOWD_EXPERIMENT_MAX, &number)) {
        *experiment = (uint16_t)number;
        return 0;
    }
    word = take_word(line);
    line->unchecked = true; /* in its name */
    return flowd_registry_read_experiment(registry, word.text, word.length, experiment, err);
}

static int read_activity(struct line *line, const struct flowd_registry *registry,
                         struct flowd_event *event, struct flowd_error *err)
{
    struct word word;
    uint64_t number;

    if (take_number(line, 0, FLOWD_ACTIVITY_MAX, &number)) {
        event->activity = (uint8_t)number;
        return 0;
    }
    word = take_word(line);
    line->unchecked = true;
    return flowd_registry_read_activity(registry, event->experiment, word.text, word.length,
                                        &event->activity, err);
}

static int read_fields(struct line *line, const struct flowd_registry *registry,
                       struct flowd_event *event, struct flowd_error *err)
{
    int result = read_state(line, &event->state, err);

    if (result == 0)
        result = read_key(line, &event->key, err);
    if (result == 0)
        result = read_experiment(line, registry, &event->experiment, err);
    if (result == 0)
        result = read_activity(line, registry, event, err);
    return result;
}

/* What is reported before any field is: bytes that are no text, and another number of words. */
static int check_line(struct line *line, struct flowd_error *err)
{
    size_t length = (size_t)(line->end - line->begin);
    int count = 0;

    if (memchr(line->begin, '\0', length) != NULL)
        return flowd_fail(err, EINVAL, "a NUL byte");
    if (!flowd_text_is_utf8(line->begin, length))
        return flowd_fail(err, EILSEQ, "not UTF-8");
    line->at = line->begin;
    while (count <= FIELDS && take_word(line).length > 0)
        count++;
    if (count != FIELDS)
        return flowd_fail(err, EINVAL, "%s than %d fields", count < FIELDS ? "fewer" : "more",
                          FIELDS);
    return 0;
}

int flowd_fifo_line_parse(const char *text, size_t len, const struct flowd_registry *registry,
                          struct flowd_event *event, struct flowd_error *err)
{
    struct line line = {.begin = text, .end = text + len, .at = text};
    struct flowd_event parsed = {0};
    int result;

    if (len > 0 && line.end[-1] == '\r')
        line.end--;
    if (line.end - text > FLOWD_FIFO_LINE_MAX)
        return flowd_fail(err, E2BIG, "longer than %d bytes", FLOWD_FIFO_LINE_MAX);
    skip_blanks(&line);
    if (line.at == line.end)
        return 0;
    result = read_fields(&line, registry, &parsed, err);
    skip_blanks(&line);
    if (result < 0 || line.at < line.end || line.unchecked) {
        int wrong = check_line(&line, err);

        if (wrong < 0)
            return wrong;
    }
    if (result < 0)
        return result;
    *event = parsed;
    return 1;
}
