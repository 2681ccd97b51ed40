/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `flowctl top`: live flows with their rates, refreshed until the user has seen enough.
 */
#pragma once

#include "commands.h"

enum flowctl_exit top_run(const struct flowctl *flowctl, const char *name, char **arguments);
