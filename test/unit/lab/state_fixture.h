/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state file in a scratch directory that begins as a good one with three live flows: numbers 0, 1
 * and 2 of sample_flow.h, in these records.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/flow/flow_table.h"
#include "lab/scratch.h"

#define STATE_FILE_NAME "flows.state"
#define STATE_UNUSABLE_NAME "flows.state.unusable"
#define STATE_RECORD_SIZE sizeof(struct flowd_flow)

extern struct scratch state_scratch;

/* For cmocka's set-up and tear-down. */
int state_make_good(void **state);
int state_remove(void **state);
#define ON_GOOD_FILE(test) cmocka_unit_test_setup_teardown(test, state_make_good, state_remove)

void state_patch(off_t offset, const void *bytes, size_t length);
/* Writes a record as flowd would have. */
void state_write_record(uint32_t number, struct flowd_flow flow);
/* Whether there is a file of this name beside it. */
bool state_exists(const char *name);

/* Opens the file, and checks that what came of it is usable. */
struct flowd_flow_table_report state_reopen(void);
/* Opens the file, and expects that it was moved aside for this reason. */
void state_assert_set_aside(const char *reason);
