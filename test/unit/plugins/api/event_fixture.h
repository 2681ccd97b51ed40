/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads event texts as the API does: with a registry, at a fixed time.
 */
#pragma once

#include "daemon/flow/registry.h"
#include "event_json.h"

/* 2026-01-01T00:00:00Z */
#define EVENT_NOW_US (INT64_C(1767225600) * 1000000)

typedef int event_reader(struct flowd_json *json, const struct api_event_context *context,
                         struct api_item *item);

struct event_fixture {
    event_reader *read;
    struct flowd_registry *registry;
    struct flowd_text reasons;
    char *text; /* the last one read; what item.event points into */
    struct flowd_json json;
    struct api_item item;
};

/* with_registry: the one of the test data; else an empty one. */
struct event_fixture *event_fixture_new(event_reader *read, bool with_registry);
/* For cmocka: frees the fixture that is the state. */
int event_fixture_tear_down(void **state);

/* Reads one event and, if that is JSON, that nothing follows it. Returns 0 or -EBADMSG. */
int event_fixture_read(struct event_fixture *fixture, const char *text);
/* Reads an event that has to be taken. */
const struct flowd_event *event_fixture_take(struct event_fixture *fixture, const char *text);
/* A start of TCP from 2001:db8::1, port 1094, to 2001:db8::2, port 40000. */
void event_fixture_check_start(const struct flowd_event *event);
/* Reads an event that has to be refused with this field and a detail that holds these words. */
void event_fixture_refuse(struct event_fixture *fixture, const char *text, const char *field,
                          const char *words);
/* Reads a text that has to be no JSON, for a reason that holds these words. */
void event_fixture_reject(struct event_fixture *fixture, const char *text, const char *field,
                          const char *words);
