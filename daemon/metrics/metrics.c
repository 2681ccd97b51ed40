/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collection and its lines. What a client wants is found out in metrics_accept.c.
 *
 * Each family has a text of its own until all are written one after the other. Finding one is a
 * walk over some dozens of names.
 */
#include "daemon/metrics/metrics.h"

#include <string.h>

#define TOTAL "_total"

const char *flowd_metrics_content_type(enum flowd_metrics_format format)
{
    static const char *const types[] = {
        [FLOWD_METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
        [FLOWD_METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };

    return types[format];
}

void flowd_metrics_fini(struct flowd_metrics *metrics)
{
    for (size_t i = 0; i < metrics->count; i++)
        flowd_text_fini(&metrics->families[i].samples);
    metrics->count = 0;
}

/* The text that the metric's samples go to; NULL: there is no room. */
static struct flowd_text *samples_of(struct flowd_metrics *metrics,
                                     const struct flowd_metric *metric)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (strcmp(metrics->families[i].metric->name, metric->name) == 0)
            return &metrics->families[i].samples;
    if (metrics->count == FLOWD_METRICS_FAMILIES_MAX) {
        metrics->failed = true;
        return NULL;
    }
    metrics->families[metrics->count] = (struct flowd_metrics_family){.metric = metric};
    return &metrics->families[metrics->count++].samples;
}

/* Appends a label's value with its escapes. */
static void write_value(struct flowd_text *text, const char *value)
{
    static const char special[] = "\\\"\n";
    size_t length = strlen(value);

    while (length > 0) {
        size_t sequence = flowd_text_utf8_sequence(value, length);

        if (sequence == 0) {
            flowd_text_puts(text, "\xef\xbf\xbd");
            sequence = 1;
        } else if (sequence == 1 && strchr(special, *value) != NULL) {
            flowd_text_char(text, '\\');
            flowd_text_char(text, *value == '\n' ? 'n' : *value);
        } else {
            flowd_text_append(text, value, sequence);
        }
        value += sequence;
        length -= sequence;
    }
}

void flowd_metrics_label_write(struct flowd_text *text, const char *name, const char *value)
{
    flowd_text_puts(text, name);
    flowd_text_puts(text, "=\"");
    write_value(text, value);
    flowd_text_char(text, '"');
}

void flowd_metrics_add_number(struct flowd_metrics *metrics, const struct flowd_metric *metric,
                              struct flowd_tcp_number value, const char *const *labels)
{
    struct flowd_text *text = samples_of(metrics, metric);

    if (text == NULL)
        return;
    flowd_text_puts(text, metric->name);
    for (size_t i = 0; labels != NULL && labels[i] != NULL; i += 2) {
        flowd_text_char(text, i == 0 ? '{' : ',');
        flowd_metrics_label_write(text, labels[i], labels[i + 1]);
    }
    flowd_text_puts(text, labels != NULL ? "} " : " ");
    flowd_tcp_number_write(text, &value);
    flowd_text_char(text, '\n');
}

void flowd_metrics_add(struct flowd_metrics *metrics, const struct flowd_metric *metric,
                       uint64_t value, const char *const *labels)
{
    flowd_metrics_add_number(metrics, metric, (struct flowd_tcp_number){.number = value}, labels);
}

void flowd_metrics_head_write(struct flowd_text *text, enum flowd_metrics_format format,
                              const struct flowd_metric *metric)
{
    size_t length = strlen(metric->name);
    size_t suffix = sizeof(TOTAL) - 1;

    /* OpenMetrics calls a counter's family by its name without the suffix. */
    if (format == FLOWD_METRICS_OPENMETRICS && metric->type == FLOWD_METRIC_COUNTER &&
        length > suffix && strcmp(metric->name + length - suffix, TOTAL) == 0)
        length -= suffix;
    flowd_text_puts(text, "# HELP ");
    flowd_text_append(text, metric->name, length);
    flowd_text_char(text, ' ');
    flowd_text_puts(text, metric->help);
    flowd_text_puts(text, "\n# TYPE ");
    flowd_text_append(text, metric->name, length);
    flowd_text_puts(text, metric->type == FLOWD_METRIC_COUNTER ? " counter\n" : " gauge\n");
}

void flowd_metrics_end_write(struct flowd_text *text, enum flowd_metrics_format format)
{
    if (format == FLOWD_METRICS_OPENMETRICS)
        flowd_text_puts(text, "# EOF\n");
}

void flowd_metrics_write(const struct flowd_metrics *metrics, struct flowd_text *text)
{
    if (metrics->failed)
        text->failed = true;
    for (size_t i = 0; i < metrics->count; i++) {
        const struct flowd_metrics_family *family = &metrics->families[i];

        if (flowd_text_failed(&family->samples))
            text->failed = true;
        flowd_metrics_head_write(text, metrics->format, family->metric);
        flowd_text_append(text, family->samples.data, family->samples.length);
    }
}
