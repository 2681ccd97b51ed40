/*
 * The sources of flow events and their counters, in a list that is walked to find one: there are as
 * many as plugins, and a few more. The status and the metrics are written from it.
 */
#include "daemon/hub/source.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/metrics/metrics.h"

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

static json_t *source_json(const struct flowd_source *source)
{
    json_t *object = json_object();

    for (int state = 0; state < FLOWD_EVENT_STATES; state++) {
        json_t *results = json_object();

        for (int result = 0; result < FLOWD_RESULTS; result++)
            if (source->events[state][result] > 0)
                json_object_set_new(results, flowd_result_names[result],
                                    json_integer((json_int_t)source->events[state][result]));
        json_object_set_new(object, flowd_event_state_names[state], results);
    }
    json_object_set_new(object, "malformed", json_integer((json_int_t)source->malformed));
    return object;
}

json_t *flowd_source_json(const struct flowd_source *list)
{
    json_t *events = json_object();

    for (const struct flowd_source *source = list; source != NULL; source = source->next)
        json_object_set_new(events, source->name, source_json(source));
    return events;
}

/* What can become of an event in each state; a counter that is there from the start shows its first
 * event too. */
static bool is_possible(int state, int result)
{
    bool ends = result == FLOWD_ENDED || result == FLOWD_UNKNOWN;

    return result == FLOWD_REFUSED || ends == (state == FLOWD_EVENT_END);
}

void flowd_source_metrics(const struct flowd_source *list, struct flowd_metrics *metrics)
{
    static const struct flowd_metric events = {"flowd_events_total", FLOWD_METRIC_COUNTER,
                                               "Flow events, and what became of them."};
    static const struct flowd_metric malformed = {"flowd_malformed_inputs_total",
                                                  FLOWD_METRIC_COUNTER,
                                                  "Input that was no flow event at all."};

    for (const struct flowd_source *source = list; source != NULL; source = source->next) {
        for (int state = 0; state < FLOWD_EVENT_STATES; state++)
            for (int result = 0; result < FLOWD_RESULTS; result++)
                if (is_possible(state, result) || source->events[state][result] > 0)
                    flowd_metrics_add(metrics, &events, source->events[state][result],
                                      FLOWD_LABELS("plugin", source->name, "state",
                                                   flowd_event_state_names[state], "result",
                                                   flowd_result_names[result]));
        flowd_metrics_add(metrics, &malformed, source->malformed,
                          FLOWD_LABELS("plugin", source->name));
    }
}
