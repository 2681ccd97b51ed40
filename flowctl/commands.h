/*
 * The commands of flowctl: each is one or more requests of flowd's API and what is printed of them.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "client.h"

enum flowctl_exit { FLOWCTL_OK = 0, FLOWCTL_FAILED = 1, FLOWCTL_USAGE = 2 };

struct flowctl {
    struct client_endpoint endpoint;
    bool json; /* print the API's answers as they are */
    FILE *out;
    FILE *errors;
};

struct flowctl_command {
    const char *name;
    const char *arguments; /* for the usage */
    int argument_count;
    enum flowctl_exit (*run)(const struct flowctl *flowctl, const char *name, char **arguments);
};

/* Ends with a NULL name. */
extern const struct flowctl_command flowctl_commands[];
