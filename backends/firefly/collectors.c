/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All collectors. The sender knows them by numbers that are never used again, so that what it says
 * of a firefly to one that was taken out of the configuration meanwhile meets nobody.
 */
#include "collectors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct collectors {
    struct collector_environment environment;
    struct flowd_resolver *resolver; /* owned */
    struct collector **items;        /* owned, and what they point to */
    size_t count;
    size_t first_of_more; /* from it on they get only what is relayed */
    unsigned last_id;
};

int collectors_new(struct ev_loop *loop, struct flowd_sender *sender, collector_dropped dropped,
                   void *context, struct collectors **out, struct flowd_error *err)
{
    struct collectors *collectors = calloc(1, sizeof(*collectors));
    int result;

    if (collectors == NULL)
        return flowd_fail_errno(err, ENOMEM, "collectors");
    result = flowd_resolver_new(loop, &collectors->resolver, err);
    if (result < 0) {
        free(collectors);
        return result;
    }
    collectors->environment = (struct collector_environment){.loop = loop,
                                                             .sender = sender,
                                                             .resolver = collectors->resolver,
                                                             .dropped = dropped,
                                                             .context = context};
    *out = collectors;
    return 0;
}

void collectors_free(struct collectors *collectors)
{
    if (collectors == NULL)
        return;
    for (size_t i = 0; i < collectors->count; i++)
        collector_free(collectors->items[i]);
    free(collectors->items);
    flowd_resolver_free(collectors->resolver);
    free(collectors);
}

static struct collector *find(struct collector *const *items, size_t count,
                              const struct flowd_host_port *place)
{
    for (size_t i = 0; i < count; i++)
        if (items[i]->place.port == place->port &&
            strcasecmp(items[i]->place.host, place->host) == 0)
            return items[i];
    return NULL;
}

static bool holds(struct collector *const *items, size_t count, const struct collector *one)
{
    for (size_t i = 0; i < count; i++)
        if (items[i] == one)
            return true;
    return false;
}

/* Frees those of some that are not among others. */
static void free_others(struct collector **some, size_t count, struct collector *const *others,
                        size_t other_count)
{
    for (size_t i = 0; i < count; i++)
        if (!holds(others, other_count, some[i]))
            collector_free(some[i]);
    free(some);
}

/* Adds to items the collector that name says, made where it was not there before. */
static int add(struct collectors *collectors, const char *name, uint16_t default_port,
               struct collector **items, size_t *count, struct flowd_error *err)
{
    struct flowd_host_port place;
    struct collector *found;
    int result = flowd_host_port_parse(name, default_port, &place);

    if (result < 0)
        return flowd_fail(err, -result, "collector \"%s\"", name);
    if (find(items, *count, &place) != NULL)
        return 0; /* It is written twice, and the first list gets more. */
    found = find(collectors->items, collectors->count, &place);
    if (found == NULL)
        result =
            collector_new(&collectors->environment, &place, collectors->last_id + 1, &found, err);
    if (result < 0)
        return result;
    if (found->id > collectors->last_id)
        collectors->last_id = found->id;
    items[(*count)++] = found;
    return 0;
}

int collectors_configure(struct collectors *collectors, const struct flowd_strings *names,
                         const struct flowd_strings *more, uint16_t default_port,
                         struct flowd_error *err)
{
    size_t total = names->count + (more != NULL ? more->count : 0);
    struct collector **items = calloc(total + 1, sizeof(struct collector *));
    size_t count = 0, first_of_more = 0;

    if (items == NULL)
        return flowd_fail_errno(err, ENOMEM, "collectors");
    flowd_resolver_refresh(collectors->resolver);
    for (size_t i = 0; i < total; i++) {
        const char *name = i < names->count ? names->items[i] : more->items[i - names->count];
        int result = add(collectors, name, default_port, items, &count, err);

        if (result < 0) {
            free_others(items, count, collectors->items, collectors->count);
            return result;
        }
        if (i < names->count)
            first_of_more = count;
    }
    free_others(collectors->items, collectors->count, items, count);
    collectors->items = items;
    collectors->count = count;
    collectors->first_of_more = first_of_more;
    return 0;
}

size_t collectors_number(const struct collectors *collectors, bool relayed)
{
    return relayed ? collectors->count : collectors->first_of_more;
}

void collectors_send(struct collectors *collectors, bool relayed,
                     const struct flowd_outgoing *firefly)
{
    for (size_t i = 0; i < collectors_number(collectors, relayed); i++)
        collector_send(collectors->items[i], firefly);
}

void collectors_done(struct collectors *collectors, unsigned receiver, enum flowd_sent result,
                     int error)
{
    for (size_t i = 0; i < collectors->count; i++)
        if (collectors->items[i]->id == receiver)
            collector_done(collectors->items[i], result, error);
}

bool collectors_refused(struct collectors *collectors, const struct sockaddr_storage *address,
                        int error)
{
    for (size_t i = 0; i < collectors->count; i++)
        if (collector_refused(collectors->items[i], address, error))
            return true;
    return false;
}

size_t collectors_waiting(const struct collectors *collectors)
{
    size_t count = 0;

    for (size_t i = 0; i < collectors->count; i++)
        count += collectors->items[i]->waiting_count;
    return count;
}

const struct flowd_metric flowd_fireflies = {"flowd_fireflies_total", FLOWD_METRIC_COUNTER,
                                             "Fireflies, and what became of them."};
const struct flowd_metric flowd_firefly_icmp_errors = {
    "flowd_firefly_icmp_errors_total", FLOWD_METRIC_COUNTER,
    "ICMP errors that came back for fireflies that were sent."};

static const struct flowd_counter counters[] = {
    {.key = "sent",
     .metric = &flowd_fireflies,
     .labels = {"result", "sent"},
     FLOWD_COUNTED(struct collector_counts, sent)},
    {.key = "failed",
     .metric = &flowd_fireflies,
     .labels = {"result", "failed"},
     FLOWD_COUNTED(struct collector_counts, failed)},
    {.key = "dropped",
     .metric = &flowd_fireflies,
     .labels = {"result", "dropped"},
     FLOWD_COUNTED(struct collector_counts, dropped)},
    {.key = "icmpErrors",
     .metric = &flowd_firefly_icmp_errors,
     FLOWD_COUNTED(struct collector_counts, icmp_errors)},
    {.key = NULL},
};

void collectors_count(const struct collectors *collectors, const struct flowd_counter_sink *sink)
{
    json_t *list = sink->status != NULL ? json_array() : NULL;

    for (size_t i = 0; i < collectors->count; i++) {
        const struct collector *collector = collectors->items[i];
        struct flowd_counter_sink own = {.metrics = sink->metrics};

        if (list != NULL) {
            own.status = collector_json(collector);
            json_array_append_new(list, own.status);
        }
        flowd_counters_put(&own, counters, &collector->counts,
                           FLOWD_LABELS("destination", collector->name));
    }
    if (list != NULL)
        json_object_set_new(sink->status, "collectors", list);
}
