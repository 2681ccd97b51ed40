/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub with a table in memory (or in a directory) and two recording backends.
 */
#pragma once

#include "daemon/hub/hub.h"
#include "lab/fake_backend.h"

struct hub_fixture {
    struct ev_loop *loop;
    struct flowd_hub *hub;
    struct flowd_source *source;
    struct fake_backend first, second;
};

/* directory: "" for memory only. */
void hub_fixture_open(struct hub_fixture *fixture, const char *directory, size_t flows_max);
void hub_fixture_close(struct hub_fixture *fixture);

/* One turn of the loop that does not block. */
void hub_fixture_turn(struct hub_fixture *fixture);

/* Submits the event of that number with this state and experiment. */
int hub_fixture_submit(struct hub_fixture *fixture, enum flowd_event_state state, uint32_t number,
                       uint16_t experiment, struct flowd_flow **flow);
