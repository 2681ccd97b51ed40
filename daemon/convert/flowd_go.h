/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration of flowd-go in flowd's words. Most keys are the same, or old spellings that every
 * configuration may have; here is what they mean elsewhere.
 */
#pragma once

#include <jansson.h>

#include "daemon/base/messages.h"

/* Changes root (an object). A line in notes for each thing that flowd-go does otherwise. */
void flowd_go_convert(json_t *root, struct flowd_messages *notes);
