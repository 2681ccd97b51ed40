/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sources of flow events and their counters, in a list that is walked to find one: there are as
 * many as plugins, and a few more. The status and the metrics are written from it.
 */
#include "daemon/hub/source.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/metrics/counter.h"

const char *const flowd_result_names[FLOWD_RESULTS] = {"started", "known",   "restarted",
                                                       "ended",   "unknown", "refused"};

struct flowd_source *flowd_source_find(struct flowd_source **list, const char *name)
{
    struct flowd_source *source;

    for (source = *list; source != NULL; source = source->next)
        if (strncmp(source->name, name, FLOWD_SOURCE_SIZE - 1) == 0)
            return source;
    source = calloc(1, sizeof(*source));
    if (source == NULL)
        return NULL;
    memcpy(source->name, name, strnlen(name, FLOWD_SOURCE_SIZE - 1));
    source->next = *list;
    *list = source;
    return source;
}

bool flowd_source_announced(const struct flowd_source *source, const struct flowd_flow *flow)
{
    return strncmp(flow->source, source->name, FLOWD_SOURCE_SIZE) == 0;
}

void flowd_source_free_all(struct flowd_source **list)
{
    while (*list != NULL) {
        struct flowd_source *source = *list;

        *list = source->next;
        free(source);
    }
}

/* What can become of an event in each state; a counter that is there from the start shows its first
 * event too. */
static bool is_possible(int state, int result)
{
    bool ends = result == FLOWD_ENDED || result == FLOWD_UNKNOWN;

    return result == FLOWD_REFUSED || ends == (state == FLOWD_EVENT_END);
}

static const struct flowd_metric events = {"flowd_events_total", FLOWD_METRIC_COUNTER,
                                           "Flow events, and what became of them."};
static const struct flowd_metric malformed = {"flowd_malformed_inputs_total", FLOWD_METRIC_COUNTER,
                                              "Input that was no flow event at all."};

static const struct flowd_counter counters[] = {
    {.key = "malformed", .metric = &malformed, FLOWD_COUNTED(struct flowd_source, malformed)},
    {.key = NULL},
};

/* In the status what has not happened is left out. */
static void count_events(const struct flowd_source *source, int state,
                         const struct flowd_counter_sink *sink)
{
    const char *name = flowd_event_state_names[state];

    for (int result = 0; result < FLOWD_RESULTS; result++) {
        uint64_t number = source->events[state][result];

        if (sink->status != NULL && number > 0)
            json_object_set_new(sink->status, flowd_result_names[result],
                                json_integer((json_int_t)number));
        if (sink->metrics != NULL && (is_possible(state, result) || number > 0))
            flowd_metrics_add(sink->metrics, &events, number,
                              FLOWD_LABELS("plugin", source->name, "state", name, "result",
                                           flowd_result_names[result]));
    }
}

static void count_source(const struct flowd_source *source, const struct flowd_counter_sink *sink)
{
    for (int state = 0; state < FLOWD_EVENT_STATES; state++) {
        struct flowd_counter_sink results = *sink;

        if (sink->status != NULL) {
            results.status = json_object();
            json_object_set_new(sink->status, flowd_event_state_names[state], results.status);
        }
        count_events(source, state, &results);
    }
    flowd_counters_put(sink, counters, source, FLOWD_LABELS("plugin", source->name));
}

void flowd_sources_count(const struct flowd_source *list, const struct flowd_counter_sink *sink)
{
    struct flowd_counter_sink own = *sink;
    json_t *all = NULL;

    if (sink->status != NULL) {
        all = json_object();
        json_object_set_new(sink->status, "events", all);
    }
    for (const struct flowd_source *source = list; source != NULL; source = source->next) {
        if (all != NULL) {
            own.status = json_object();
            json_object_set_new(all, source->name, own.status);
        }
        count_source(source, &own);
    }
}
