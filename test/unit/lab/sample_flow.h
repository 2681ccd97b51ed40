/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows for tests: numbered, so that different numbers are different flows.
 */
#pragma once

#include <stdint.h>

#include "daemon/flow/flow.h"

/* [2001:db8::N]:1024+N%60000 > [2001:db8::ffff]:443, TCP; IPv4 for each third number. */
struct flowd_flow_key sample_key(uint32_t number);

/* A start of that flow, experiment 2, activity 17. */
struct flowd_event sample_event(uint32_t number);

/* A record as the hub would add it. */
struct flowd_flow sample_flow(uint32_t number);

/* A generator of reproducible numbers; *state must not be 0. */
uint32_t sample_random(uint32_t *state);
