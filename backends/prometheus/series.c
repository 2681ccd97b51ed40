/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flows' series: from the table of TCP quantities (tcp_field.h) to metrics, written straight
 * into a text. Names, types and units are flowd 1.1's.
 */
#include "series.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "daemon/flow/flow.h"
#include "daemon/flow/registry.h"

#define PREFIX "flow_tcp_"
#define TOTAL "_total"
#define NAME_SIZE 64

/* The last family, which is none of the table. */
static const struct flowd_metric options_metric = {
    PREFIX "ca_info", FLOWD_METRIC_GAUGE,
    "Options, congestion control and window scales of the flow, as ss(8) shows them; always 1."};

struct family {
    char name[NAME_SIZE];
    size_t length;
    const struct flowd_tcp_field *field;
};

struct families {
    struct family list[FLOWD_TCP_FIELDS_MAX];
    size_t count;
};

static const struct families *families(void)
{
    static struct families all;

    for (size_t i = all.count > 0 ? flowd_tcp_field_count : 0; i < flowd_tcp_field_count; i++) {
        const struct flowd_tcp_field *field = &flowd_tcp_fields[i];
        struct family *family = &all.list[all.count];

        if (!(field->sets & FLOWD_TCP_METRIC))
            continue;
        snprintf(family->name, sizeof(family->name), PREFIX "%s%s", field->name,
                 field->counter ? TOTAL : "");
        family->length = strlen(family->name);
        family->field = field;
        all.count++;
    }
    return &all;
}

size_t series_families(void)
{
    return families()->count + 1;
}

uint32_t series_count(const struct flowd_tcp_sample *sample)
{
    const struct families *all = families();
    struct flowd_tcp_number number;
    uint32_t count = sample->info_length > 0;

    for (size_t i = 0; i < all->count; i++)
        count += flowd_tcp_field_read(all->list[i].field, sample, &number);
    return count;
}

/* Names where the registry has one: flowd's dashboards select by them. */
static void write_tag(struct flowd_text *labels, const char *label, const char *name,
                      unsigned number)
{
    char digits[16];

    if (name == NULL) {
        snprintf(digits, sizeof(digits), "%u", number);
        name = digits;
    }
    flowd_metrics_label_write(labels, label, name);
}

void series_labels_write(struct flowd_text *labels, const struct flowd_registry *registry,
                         const struct flowd_flow *flow)
{
    char address[FLOWD_ADDRESS_SIZE];

    write_tag(labels, "exp", flowd_registry_experiment_name(registry, flow->experiment),
              flow->experiment);
    flowd_text_char(labels, ',');
    write_tag(labels, "act",
              flowd_registry_activity_name(registry, flow->experiment, flow->activity),
              flow->activity);
    flowd_address_format(flow->key.family, &flow->key.src, address);
    flowd_text_puts(labels, ",src=\"");
    flowd_text_puts(labels, address);
    flowd_address_format(flow->key.family, &flow->key.dst, address);
    flowd_text_puts(labels, "\",dst=\"");
    flowd_text_puts(labels, address);
    flowd_text_puts(labels, "\",flow=\"");
    flowd_text_u64(labels, flow->key.src_port);
    flowd_text_char(labels, ':');
    flowd_text_u64(labels, flow->key.dst_port);
    flowd_text_char(labels, '"');
}

void series_head_write(struct flowd_text *text, enum flowd_metrics_format format, size_t family)
{
    const struct families *all = families();
    struct flowd_metric metric = options_metric;
    char help[128];

    if (family < all->count) {
        const struct flowd_tcp_field *field = all->list[family].field;

        snprintf(help, sizeof(help), "%s.", field->doc);
        metric =
            (struct flowd_metric){all->list[family].name,
                                  field->counter ? FLOWD_METRIC_COUNTER : FLOWD_METRIC_GAUGE, help};
    }
    flowd_metrics_head_write(text, format, &metric);
}

static void write_options(struct flowd_text *text, const struct series_flow *flow,
                          const char *labels)
{
    char options[FLOWD_TCP_OPTIONS_SIZE];

    if (flow->sample.info_length == 0)
        return;
    flowd_tcp_options_format(&flow->sample, options);
    flowd_text_puts(text, options_metric.name);
    flowd_text_char(text, '{');
    flowd_text_append(text, labels + flow->labels, flow->labels_length);
    flowd_text_char(text, ',');
    flowd_metrics_label_write(text, "opts", options);
    flowd_text_puts(text, "} 1\n");
}

void series_sample_write(struct flowd_text *text, size_t family, const struct series_flow *flow,
                         const char *labels)
{
    const struct families *all = families();
    struct flowd_tcp_number number;

    if (family >= all->count) {
        write_options(text, flow, labels);
        return;
    }
    if (!flowd_tcp_field_read(all->list[family].field, &flow->sample, &number))
        return;
    flowd_text_append(text, all->list[family].name, all->list[family].length);
    flowd_text_char(text, '{');
    flowd_text_append(text, labels + flow->labels, flow->labels_length);
    flowd_text_puts(text, "} ");
    flowd_tcp_number_write(text, &number);
    flowd_text_char(text, '\n');
}
