/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows as the API shows them.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/text.h"
#include "daemon/flow/flow.h"

struct api_item;
struct flowd_context;
struct flowd_hub;

/* Appends the flow as a JSON object; without its closing brace if open, so that members follow. */
void api_flow_write(struct flowd_text *text, const struct flowd_context *context,
                    const struct flowd_flow *flow, bool open);
/* The same for an event that has no flow (the end of an unknown one). */
void api_event_write(struct flowd_text *text, const struct flowd_context *context,
                     const struct flowd_event *event, bool open);
/* Appends the whole flow, with its last sample ("sample") where one is known. */
void api_flow_write_sampled(struct flowd_text *text, const struct flowd_context *context,
                            const struct flowd_flow *flow);
/* Appends an event that was submitted, in flowd-go's form and as the request wrote it. */
void api_item_write_go(struct flowd_text *text, const struct api_item *item);
/* Appends {"marker":"marked",...}. */
void api_backends_write(struct flowd_text *text, const struct flowd_hub *hub,
                        const struct flowd_flow *flow);
/* The first backend that failed with the flow, or NULL. *status is what it says. */
const char *api_failed_backend(const struct flowd_hub *hub, const struct flowd_flow *flow,
                               const char **status);
