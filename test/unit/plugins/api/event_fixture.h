/*
 * Reads event texts as the API does: with a registry, at a fixed time.
 */
#pragma once

#include "daemon/flow/registry.h"
#include "event_json.h"

/* 2026-01-01T00:00:00Z */
#define EVENT_NOW_US (INT64_C(1767225600) * 1000000)

typedef int event_reader(struct api_json *json, const struct api_event_context *context,
                         struct api_item *item);

struct event_fixture {
    event_reader *read;
    struct flowd_registry *registry;
    struct flowd_text reasons;
    char *text; /* the last one read; what item.event points into */
    struct api_json json;
    struct api_item item;
};

/* with_registry: the one of the test data; else an empty one. */
void event_fixture_begin(struct event_fixture *fixture, event_reader *read, bool with_registry);
void event_fixture_end(struct event_fixture *fixture);
/* Reads one event and, if that is JSON, that nothing follows it. Returns 0 or -EBADMSG. */
int event_fixture_read(struct event_fixture *fixture, const char *text);
/* Reads an event that has to be taken. */
const struct flowd_event *event_fixture_take(struct event_fixture *fixture, const char *text);
/* Reads an event that has to be refused with this field and a detail that holds these words. */
void event_fixture_refuse(struct event_fixture *fixture, const char *text, const char *field,
                          const char *words);
/* Reads a text that has to be no JSON, for a reason that holds these words. */
void event_fixture_reject(struct event_fixture *fixture, const char *text, const char *field,
                          const char *words);
