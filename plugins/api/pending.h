/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that have submitted events and are answered after the hub's commit.
 */
#pragma once

#include "api.h"

/* Writes the answer, after the commit. */
typedef void api_pending_answer(struct api_pending *pending);

struct api_pending {
    struct flowd_waiter waiter;
    struct api *api;
    struct flowd_http_exchange *exchange;
    struct api_pending *next; /* of those that wait, or of the spare ones */
    struct api_pending *previous;
    api_pending_answer *answer;
    struct api_item *items; /* owned */
    size_t count;
    size_t capacity;
    struct flowd_text reasons; /* of refused items */
};

/* A pending request without items, not waiting yet. NULL: no memory (the answer was given). */
struct api_pending *api_pending_new(struct api *api, struct flowd_http_exchange *exchange);
/* Adds an item. NULL: no memory. */
struct api_item *api_pending_add(struct api_pending *pending);
/* Submits every item that is not refused yet; refusals of the hub go into the item. */
void api_pending_submit(struct api_pending *pending);
/* Answers after the commit; at once if no item concerns the hub. Takes pending. */
void api_pending_finish(struct api_pending *pending, api_pending_answer *answer);
/* For a request that was answered in another way. Takes pending. */
void api_pending_drop(struct api_pending *pending);

/* The HTTP status of an item, also of one that a backend failed with. */
int api_item_status(const struct api *api, const struct api_item *item);
/*
 * Appends an item as the answer shows it; with_status: also a successful one says its status.
 * Returns that status, as api_item_status().
 */
int api_item_write(struct flowd_text *text, const struct api_pending *pending,
                   const struct api_item *item, bool with_status);
