/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scrape: everything that /metrics answers, made in parts while it is sent, a part in each turn
 * of the loop.
 *
 * First it is found out which flows are shown (selection.h), then these are copied, so that all
 * series of a flow are of one moment, then the daemon's own metrics are written, then family after
 * family of the flows'. A slow reader costs the copy, which is a tenth of the text.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/base/timestamp.h"
#include "daemon/base/vector.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/hub.h"
#include "prometheus.h"
#include "selection.h"
#include "series.h"

/* What is done in one turn. */
#define LOOKS_PER_TURN 2048u /* at records, of live flows or not */
#define COPIES_PER_TURN 512
#define LINES_PER_TURN 2048
#define PART_SIZE 65536

enum stage { SELECT, COPY, DAEMON, FLOWS };

struct prometheus_scrape {
    struct flowd_http_stream stream; /* first: it is handed back */
    struct prometheus *prometheus;
    struct flowd_http_exchange *exchange;
    struct prometheus_scrape *next;
    struct prometheus_scrape *previous;
    int64_t began_us; /* CLOCK_BOOTTIME */
    enum flowd_metrics_format format;
    enum stage stage;
    bool complete;
    uint32_t cursor; /* of the walk over all flows */
    struct selection selection;
    size_t copied;             /* of the selection */
    struct series_flow *flows; /* owned */
    size_t flow_count;
    size_t flow_capacity;
    struct flowd_text labels; /* of all of them */
    size_t family;            /* what is written next */
    size_t flow;
};

/* Looks at some of the flows. */
static int select_flows(struct prometheus_scrape *scrape)
{
    struct flowd_hub *hub = scrape->prometheus->context->hub;
    uint32_t budget = LOOKS_PER_TURN;
    const struct flowd_flow *flow;

    while ((flow = flowd_hub_next_within(hub, &scrape->cursor, &budget)) != NULL) {
        const struct flowd_tcp_sample *sample;
        struct selected selected;

        sample = flowd_hub_sample_of(hub, flow);
        if (sample == NULL)
            continue;
        selected = (struct selected){
            .start_us = flow->start_us, .id = flow->id, .series = series_count(sample)};
        if (selection_add(&scrape->selection, &selected) < 0)
            return -ENOMEM;
    }
    if (budget > 0)
        scrape->stage = COPY;
    return 1;
}

static int copy_flow(struct prometheus_scrape *scrape, const struct flowd_flow *flow,
                     const struct flowd_tcp_sample *sample)
{
    size_t begin = scrape->labels.length;

    if (flowd_vector_reserve(&scrape->flows, &scrape->flow_capacity, scrape->flow_count + 1) < 0)
        return -ENOMEM;
    series_labels_write(&scrape->labels, scrape->prometheus->context->registry, flow);
    if (flowd_text_failed(&scrape->labels))
        return -ENOMEM;
    scrape->flows[scrape->flow_count++] = (struct series_flow){
        .labels = begin, .labels_length = scrape->labels.length - begin, .sample = *sample};
    return 0;
}

/* What is shown is known: the numbers are for the metrics of this very scrape too. */
static void note_selection(struct prometheus *prometheus, const struct selection *selection)
{
    prometheus->series = selection->series;
    prometheus->left_out = selection->left_out;
    prometheus->left_out_total += selection->left_out;
}

/*
 * Copies some of the flows. A flow that has ended since it was looked at is passed over: another
 * one with the same labels may have been selected after it.
 */
static int copy_flows(struct prometheus_scrape *scrape)
{
    struct flowd_hub *hub = scrape->prometheus->context->hub;
    size_t end = scrape->copied + COPIES_PER_TURN;

    for (; scrape->copied < end && scrape->copied < scrape->selection.count; scrape->copied++) {
        const struct flowd_flow *flow =
            flowd_hub_find(hub, scrape->selection.flows[scrape->copied].id);
        const struct flowd_tcp_sample *sample = NULL;

        if (flow != NULL && flow->state == FLOWD_FLOW_LIVE)
            sample = flowd_hub_sample_of(hub, flow);
        if (sample != NULL && copy_flow(scrape, flow, sample) < 0)
            return -ENOMEM;
    }
    if (scrape->copied == scrape->selection.count) {
        note_selection(scrape->prometheus, &scrape->selection);
        selection_fini(&scrape->selection);
        scrape->stage = DAEMON;
    }
    return 1;
}

static int write_daemon(struct prometheus_scrape *scrape, struct flowd_text *out)
{
    const struct flowd_context *context = scrape->prometheus->context;
    struct flowd_metrics *metrics = calloc(1, sizeof(*metrics));

    if (metrics == NULL)
        return -ENOMEM;
    metrics->format = scrape->format;
    context->metrics(context, metrics);
    flowd_metrics_write(metrics, out);
    flowd_metrics_fini(metrics);
    free(metrics);
    scrape->stage = FLOWS;
    return 1;
}

static int write_flows(struct prometheus_scrape *scrape, struct flowd_text *out)
{
    size_t families = scrape->flow_count > 0 ? series_families() : 0;
    size_t end = out->length + PART_SIZE;
    unsigned lines = 0;

    for (; scrape->family < families; scrape->family++, scrape->flow = 0) {
        for (; scrape->flow < scrape->flow_count; scrape->flow++) {
            if (out->length >= end || lines++ == LINES_PER_TURN)
                return 1;
            if (scrape->flow == 0)
                series_head_write(out, scrape->format, scrape->family);
            series_sample_write(out, scrape->family, &scrape->flows[scrape->flow],
                                scrape->labels.data);
        }
    }
    flowd_metrics_end_write(out, scrape->format);
    scrape->complete = true;
    return 0;
}

static int produce(struct flowd_http_stream *stream, struct flowd_text *out)
{
    struct prometheus_scrape *scrape = (struct prometheus_scrape *)stream;

    switch (scrape->stage) {
    case SELECT:
        return select_flows(scrape);
    case COPY:
        return copy_flows(scrape);
    case DAEMON:
        return write_daemon(scrape, out);
    case FLOWS:
        return write_flows(scrape, out);
    }
    return -EINVAL;
}

static void release(struct flowd_http_stream *stream)
{
    struct prometheus_scrape *scrape = (struct prometheus_scrape *)stream;
    struct prometheus *prometheus = scrape->prometheus;

    DL_DELETE2(prometheus->scrapes, scrape, previous, next);
    prometheus->scrape_count--;
    if (scrape->complete)
        prometheus->served++;
    else
        prometheus->broken++;
    selection_fini(&scrape->selection);
    free(scrape->flows);
    flowd_text_fini(&scrape->labels);
    free(scrape);
}

/* Makes room for one more scrape, if need be at the cost of one that drags on. */
static bool make_room(struct prometheus *prometheus)
{
    struct prometheus_scrape *oldest = prometheus->scrapes;

    if (prometheus->scrape_count < PROMETHEUS_SCRAPES_MAX)
        return true;
    if (flowd_timestamp_boot_us() - oldest->began_us < prometheus->patience_us)
        return false;
    flowd_http_stop(oldest->exchange);
    return true;
}

void prometheus_scrape(struct prometheus *prometheus, struct flowd_http_exchange *exchange,
                       const struct flowd_http_request *request)
{
    enum flowd_metrics_format format =
        flowd_metrics_negotiate(request->accept.data, request->accept.length);
    uint64_t max_series = (uint64_t)prometheus->config->max_series;
    struct prometheus_scrape *scrape = NULL;

    if (make_room(prometheus))
        scrape = calloc(1, sizeof(*scrape));
    if (scrape == NULL) {
        prometheus->refused++;
        flowd_http_answer_problem(exchange, 503, "Retry-After: 1\r\n", NULL,
                                  "too many scrapes at once");
        return;
    }
    *scrape = (struct prometheus_scrape){
        .stream = {.produce = produce, .release = release},
        .prometheus = prometheus,
        .exchange = exchange,
        .began_us = flowd_timestamp_boot_us(),
        .format = format,
        .stage = max_series > 0 ? SELECT : COPY,
        .selection = {.series_max = max_series},
    };
    DL_APPEND2(prometheus->scrapes, scrape, previous, next);
    prometheus->scrape_count++;
    scrape->complete = request->method == FLOWD_HTTP_HEAD;
    flowd_http_answer_stream(exchange, 200, flowd_metrics_content_type(format), "Vary: Accept\r\n",
                             &scrape->stream);
}
