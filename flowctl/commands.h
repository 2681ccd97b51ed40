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

/* What scripts go by; the manual has the same list. */
enum flowctl_exit {
    FLOWCTL_OK = 0,
    FLOWCTL_FAILED = 1,      /* refused, or not there */
    FLOWCTL_USAGE = 2,       /* nothing was asked for */
    FLOWCTL_UNREACHABLE = 3, /* nobody answers, or not as flowd does */
    FLOWCTL_DENIED = 4,      /* flowd wants a token, or another one */
};

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
    int least_arguments, most_arguments;
    bool refreshes; /* it takes the options of a live view */
    /* arguments ends with NULL. */
    enum flowctl_exit (*run)(const struct flowctl *flowctl, const char *name, char **arguments);
    const char *summary; /* one line */
};

/* What a request that failed (request_json) means for the exit status. */
enum flowctl_exit flowctl_exit_of(int result);
/* Says on the standard error why a request failed, and what may help. */
void flowctl_explain(const struct flowctl *flowctl, int result, const struct flowd_error *err);

/* Ends with a NULL name. */
extern const struct flowctl_command flowctl_commands[];
