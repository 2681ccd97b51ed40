/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the fifo's lines, written down as they are told: the bytes are looked at first, then
 * the number of words, then one field after the other. The parser must agree about every line.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/base/integer.h"
#include "daemon/base/text.h"
#include "line.h"

enum field { STATE, PROTOCOL, SRC, SRC_PORT, DST, DST_PORT, EXPERIMENT, ACTIVITY, FIELDS };

struct word {
    const char *text;
    size_t length;
};

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* How much of a word an error message repeats. */
static inline int shown(const struct word *word)
{
    return word->length > 48 ? 48 : (int)word->length;
}

/* Splits the line. Returns how many words it has, FIELDS + 1 for any more. */
static inline int split(const char *line, size_t len, struct word words[static FIELDS])
{
    const char *end = line + len;
    int count = 0;

    for (;;) {
        const char *begin;

        while (line < end && is_blank(*line))
            line++;
        if (line == end)
            return count;
        if (count == FIELDS)
            return FIELDS + 1;
        begin = line;
        while (line < end && !is_blank(*line))
            line++;
        words[count++] = (struct word){.text = begin, .length = (size_t)(line - begin)};
    }
}

static inline int parse_port(const struct word *word, const char *name, uint16_t *port,
                             struct flowd_error *err)
{
    uint64_t number;
    int result = flowd_integer_parse(word->text, word->length, 1, UINT16_MAX, &number);

    if (result == -ERANGE)
        return flowd_fail(err, -result, "%s: %.*s is not in 1-65535", name, shown(word),
                          word->text);
    if (result < 0)
        return flowd_fail(err, -result, "%s: \"%.*s\" is no number", name, shown(word), word->text);
    *port = (uint16_t)number;
    return 0;
}

static inline int parse_address(const struct word *word, const char *name,
                                struct flowd_address *address, struct flowd_error *err)
{
    if (flowd_address_parse(word->text, word->length, address) < 0)
        return flowd_fail(err, EINVAL, "%s: \"%.*s\" is no numeric IPv4 or IPv6 address", name,
                          shown(word), word->text);
    return 0;
}

static inline int parse_key(const struct word words[static FIELDS], struct flowd_flow_key *key,
                            struct flowd_error *err)
{
    struct flowd_address src, dst;
    int result;

    if (flowd_protocol_parse(words[PROTOCOL].text, words[PROTOCOL].length, &key->protocol) < 0)
        return flowd_fail(err, EINVAL, "protocol: \"%.*s\" is neither tcp nor udp",
                          shown(&words[PROTOCOL]), words[PROTOCOL].text);
    result = parse_address(&words[SRC], "src", &src, err);
    if (result == 0)
        result = parse_port(&words[SRC_PORT], "srcPort", &key->src_port, err);
    if (result == 0)
        result = parse_address(&words[DST], "dst", &dst, err);
    if (result == 0)
        result = parse_port(&words[DST_PORT], "dstPort", &key->dst_port, err);
    if (result == 0 && flowd_flow_key_set_addresses(key, &src, &dst) < 0)
        return flowd_fail(err, EINVAL, "dst: not of the address family of src");
    return result;
}

/* What makes a line no text: reported before any field is looked at. */
static inline int check_bytes(const char *line, size_t len, struct flowd_error *err)
{
    unsigned char all = 0;
    bool nul = false;

    for (size_t i = 0; i < len; i++) {
        all |= (unsigned char)line[i];
        nul |= line[i] == '\0';
    }
    if (nul)
        return flowd_fail(err, EINVAL, "a NUL byte");
    if (all >= 0x80 && !flowd_text_is_utf8(line, len))
        return flowd_fail(err, EILSEQ, "not UTF-8");
    return 0;
}

static inline int parse_by_words(const char *line, size_t len,
                                 const struct flowd_registry *registry, struct flowd_event *event,
                                 struct flowd_error *err)
{
    struct word words[FIELDS];
    struct flowd_event parsed = {0};
    int count, result;

    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len > FLOWD_FIFO_LINE_MAX)
        return flowd_fail(err, E2BIG, "longer than %d bytes", FLOWD_FIFO_LINE_MAX);
    result = check_bytes(line, len, err);
    if (result < 0)
        return result;
    count = split(line, len, words);
    if (count == 0)
        return 0;
    if (count != FIELDS)
        return flowd_fail(err, EINVAL, "%s than %d fields", count < FIELDS ? "fewer" : "more",
                          FIELDS);
    if (flowd_event_state_parse(words[STATE].text, words[STATE].length, &parsed.state) < 0)
        return flowd_fail(err, EINVAL, "state: \"%.*s\" is none of start, end, ongoing",
                          shown(&words[STATE]), words[STATE].text);
    result = parse_key(words, &parsed.key, err);
    if (result == 0)
        result = flowd_registry_read_experiment(registry, words[EXPERIMENT].text,
                                                words[EXPERIMENT].length, &parsed.experiment, err);
    if (result == 0)
        result = flowd_registry_read_activity(registry, parsed.experiment, words[ACTIVITY].text,
                                              words[ACTIVITY].length, &parsed.activity, err);
    if (result < 0)
        return result;
    *event = parsed;
    return 1;
}
