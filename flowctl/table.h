/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flowctl prints for people.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* The line that table_flow()'s columns stand under. */
void table_head(FILE *out);
/* One flow of the API as a line. */
void table_flow(FILE *out, const json_t *flow);
/* One flow with everything that the API says of it, a line for each member. */
void table_details(FILE *out, const json_t *flow);
/* The registry: a line for each activity. */
void table_registry(FILE *out, const json_t *registry);
/* The status. */
void table_status(FILE *out, const json_t *status);
