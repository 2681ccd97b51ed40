/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow records as the state file holds them: what makes a record one that flowd wrote, whatever
 * became of the file meanwhile.
 *
 * Each live record has a check word over everything that stays the same as long as the flow lives.
 * It is seeded with the boot id and the version of the format, so a record proves by itself that it
 * is of this boot and this version; the file's header need not be whole for that. What changes
 * while a flow lives (its last event, the neighbours in the order of age, what modules note) is not
 * covered: a kill between two stores costs such a change at most, and what is read there is put
 * right or made anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

/* The seed of check words in a file of the boot with this id. */
uint64_t flowd_flow_record_seed(const char *boot_id);
/* The check word of a live record; never 0. */
uint32_t flowd_flow_record_check(const struct flowd_flow *flow, uint64_t seed);

/*
 * Whether every member of the record number is what flowd would have written there, the check word
 * aside: each is in its range, texts can be shown, and the flow label follows from the tag.
 */
bool flowd_flow_record_ok(const struct flowd_flow *flow, uint32_t number);
/*
 * Whether the record is a live flow's: not free, and its check word is right. A state that damage
 * made neither of those that there are does not matter then.
 */
bool flowd_flow_record_is_live(const struct flowd_flow *flow, uint32_t number, uint64_t seed);
