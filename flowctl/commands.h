/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of flowctl: each is one or more requests of flowd's API and what is printed of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client.h"
#include "top_rows.h"

enum flowctl_exit { FLOWCTL_OK = 0, FLOWCTL_FAILED = 1, FLOWCTL_USAGE = 2 };

/* How a live view goes on. */
struct flowctl_refresh {
    int64_t interval_ms;
    uint64_t count; /* refreshes; 0: without end */
    enum top_sort sort;
    bool given; /* one of them was asked for */
};

struct flowctl {
    struct client_endpoint endpoint;
    struct flowctl_refresh refresh;
    bool json; /* print the API's answers as they are */
    FILE *out;
    FILE *errors;
};

struct flowctl_command {
    const char *name;
    const char *arguments; /* for the usage */
    int argument_count;
    bool refreshes; /* it takes the options of a live view */
    enum flowctl_exit (*run)(const struct flowctl *flowctl, const char *name, char **arguments);
};

/* Ends with a NULL name. */
extern const struct flowctl_command flowctl_commands[];
