/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow events as JSON: flowd's own form (POST /v1/flows) and flowd-go's (POST /flow). Pure: text
 * in, events or reasons out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/json_reader.h"
#include "daemon/base/text.h"
#include "daemon/flow/flow.h"

struct flowd_registry;

/* A stretch of the text that holds all reasons of a request. */
struct api_reason {
    uint32_t at;
    uint32_t length;
};

/* How flowd-go's form of an event was written, for an answer of the same form. */
struct api_go_form {
    uint32_t experiment; /* as given, also where it is no tag of a flow */
    uint32_t activity;
    bool src_text; /* "ip:port", not an object */
    bool dst_text;
};

/* One event of a request and what becomes of it. */
struct api_item {
    struct flowd_event event; /* application points into the request's text */
    struct flowd_flow *flow;  /* NULL: none; good until the commit has been told of */
    int16_t status;           /* HTTP status of the refusal; 0: not refused */
    uint8_t result;           /* enum flowd_result */
    struct api_go_form go;    /* of flowd-go's form only */
    struct api_reason field;  /* of a refusal */
    struct api_reason detail;
};

struct api_event_context {
    const struct flowd_registry *registry;
    int64_t now_us;             /* CLOCK_REALTIME */
    struct flowd_text *reasons; /* refusals are appended here */
};

/*
 * Reads the value that comes next as an event. Returns -EBADMSG if the text is not JSON (the reason
 * is json's), else 0: item->status is 422 with field and detail if the event is wrong.
 */
int api_event_read(struct flowd_json *json, const struct api_event_context *context,
                   struct api_item *item);
/* The same for flowd-go's form. Members that flowd-go does not know are passed over, as there. */
int api_event_read_go(struct flowd_json *json, const struct api_event_context *context,
                      struct api_item *item);

/*
 * What both forms begin with: the item as it is without any member, and the opening of the event.
 * Returns 1 if its members come next, 0 if it is no object (refused and passed over), or -EBADMSG.
 */
int api_event_open(struct flowd_json *json, const struct api_event_context *context,
                   struct api_item *item);

/* Refuses an item. Only the first refusal of an item is kept. field may be empty. */
void api_item_refuse(struct api_item *item, struct flowd_text *reasons, int status,
                     const char *field, size_t field_length, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* The same with an error, whose field is the refusal's. */
void api_item_refuse_error(struct api_item *item, struct flowd_text *reasons, int status,
                           const struct flowd_error *err);

/* How much of a string of any length to put into a message. */
static inline int api_shown(size_t length)
{
    return length < 64 ? (int)length : 64;
}
