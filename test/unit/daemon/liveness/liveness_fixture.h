/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub with a judge of connections, whose kernel is the fake one, and flows to be judged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/hub/module.h"
#include "lab/hub_fixture.h"

#define COOKIE 7u   /* of the socket that is gone */
#define BYTES 1000u /* that it had sent, as far as its own end knows */

struct flowd_liveness;
struct flowd_source;

extern struct hub_fixture fixture;
extern struct flowd_context context;
extern struct flowd_liveness *liveness;
extern struct flowd_source *close_source;
extern struct flowd_source *follower; /* its flows follow the sockets of their source */

/* Set-up and tear-down of a test. */
int liveness_fixture_open(void **state);
int liveness_fixture_close(void **state);

/* Starts the flow number as announced by source. */
void announce(struct flowd_source *source, uint32_t number);
bool is_live(uint32_t number);
/* The socket of the flow's source is gone, or that of its destination. */
void tell(struct flowd_source *source, uint32_t number, bool of_destination);
