/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content negotiation between the two formats (RFC 9110, 12.5.1). A pure function over the bytes of
 * an Accept header: a list of media ranges with parameters, of which "q" is a weight.
 *
 * Of the ranges that a format falls under the most specific one counts. The weightier format wins;
 * between equals the one that is named more exactly, and then the text format.
 */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "daemon/metrics/metrics.h"

struct slice {
    const char *at;
    size_t length;
};

/* What a format is called. */
struct media_type {
    const char *type;
    const char *subtype;
    const char *version;
};

static const struct media_type media_types[] = {
    [FLOWD_METRICS_TEXT] = {"text", "plain", "0.0.4"},
    [FLOWD_METRICS_OPENMETRICS] = {"application", "openmetrics-text", "1.0.0"},
};
#define FORMATS (sizeof(media_types) / sizeof(media_types[0]))

/* One element of the header. */
struct range {
    struct slice type;
    struct slice subtype;
    struct slice version; /* at NULL: any */
    unsigned quality;     /* 0-1000 */
};

/* How a format comes off; specificity 0: no range covers it. */
struct score {
    unsigned quality;
    unsigned specificity;
};

static bool is(struct slice slice, const char *word)
{
    return slice.length == strlen(word) && strncasecmp(slice.at, word, slice.length) == 0;
}

static struct slice trim(struct slice slice)
{
    while (slice.length > 0 && (*slice.at == ' ' || *slice.at == '\t')) {
        slice.at++;
        slice.length--;
    }
    while (slice.length > 0 &&
           (slice.at[slice.length - 1] == ' ' || slice.at[slice.length - 1] == '\t'))
        slice.length--;
    return slice;
}

/* Takes what stands before the next separator that is not in a quoted string off rest. */
static struct slice take_part(struct slice *rest, char separator)
{
    struct slice part = {rest->at, 0};
    bool quoted = false;

    while (part.length < rest->length && (quoted || part.at[part.length] != separator)) {
        if (part.at[part.length] == '"')
            quoted = !quoted;
        else if (quoted && part.at[part.length] == '\\' && part.length + 1 < rest->length)
            part.length++;
        part.length++;
    }
    rest->at += part.length;
    rest->length -= part.length;
    if (rest->length > 0) {
        rest->at++;
        rest->length--;
    }
    return trim(part);
}

/* "0", "0.5", "1.000": RFC 9110, 12.4.2. False: it is none. */
static bool read_quality(struct slice text, unsigned *out)
{
    unsigned weight = 100;
    unsigned quality;

    if (text.length == 0 || text.length > 5 || text.at[0] < '0' || text.at[0] > '1' ||
        (text.length > 1 && text.at[1] != '.'))
        return false;
    quality = (unsigned)(text.at[0] - '0') * 1000;
    for (size_t i = 2; i < text.length; i++, weight /= 10) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        quality += (unsigned)(text.at[i] - '0') * weight;
    }
    *out = quality;
    return quality <= 1000;
}

static struct slice unquote(struct slice text)
{
    if (text.length >= 2 && text.at[0] == '"' && text.at[text.length - 1] == '"')
        return (struct slice){text.at + 1, text.length - 2};
    return text;
}

/* False: the element is not a media range, and is passed over. */
static bool read_range(struct slice element, struct range *out)
{
    struct slice name = take_part(&element, ';');
    struct range range = {.quality = 1000};

    range.type = take_part(&name, '/');
    range.subtype = trim(name);
    if (range.type.length == 0 || range.subtype.length == 0 ||
        (is(range.type, "*") && !is(range.subtype, "*")))
        return false;
    while (element.length > 0) {
        struct slice value = take_part(&element, ';');
        struct slice parameter = take_part(&value, '=');

        value = unquote(trim(value));
        if (is(parameter, "q")) {
            if (!read_quality(value, &range.quality))
                return false;
        } else if (is(parameter, "version")) {
            range.version = value;
        }
        /* Others (charset, escaping) make no difference to what is served. */
    }
    *out = range;
    return true;
}

/* How exactly the range names the format; 0: not at all. */
static unsigned specificity(const struct range *range, const struct media_type *format)
{
    if (is(range->type, "*"))
        return 1;
    if (!is(range->type, format->type))
        return 0;
    if (is(range->subtype, "*"))
        return 2;
    if (!is(range->subtype, format->subtype))
        return 0;
    if (range->version.at == NULL)
        return 3;
    return is(range->version, format->version) ? 4 : 0;
}

enum flowd_metrics_format flowd_metrics_negotiate(const char *accept, size_t length)
{
    struct score scores[FORMATS] = {{0}};
    const struct score *text = &scores[FLOWD_METRICS_TEXT];
    const struct score *open = &scores[FLOWD_METRICS_OPENMETRICS];
    struct slice rest = {accept, length};

    while (rest.length > 0) {
        struct range range;

        if (!read_range(take_part(&rest, ','), &range))
            continue;
        for (size_t i = 0; i < FORMATS; i++) {
            unsigned exactness = specificity(&range, &media_types[i]);

            if (exactness > scores[i].specificity)
                scores[i] = (struct score){range.quality, exactness};
        }
    }
    if (open->quality != text->quality)
        return open->quality > text->quality ? FLOWD_METRICS_OPENMETRICS : FLOWD_METRICS_TEXT;
    return open->quality > 0 && open->specificity > text->specificity ? FLOWD_METRICS_OPENMETRICS
                                                                      : FLOWD_METRICS_TEXT;
}
