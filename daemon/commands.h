/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked of flowd on its command line.
 */
#pragma once

#include <stdio.h>

#include "daemon/daemon.h"
#include "daemon/options/option.h"

/* Exit statuses: the contract with scripts and service managers. */
enum flowd_exit { FLOWD_EXIT_OK = 0, FLOWD_EXIT_FAILED = 1, FLOWD_EXIT_USAGE = 2 };

struct flowd_command_line {
    const char *path; /* of the configuration; NULL: the default place */
    struct flowd_log_override log;
    const char *operand;             /* of the command that has one; NULL: none */
    struct flowd_strings interfaces; /* borrowed strings; for clean */
    FILE *out;
    FILE *errors;
};

struct flowd_configuration;

/* Reads the configuration and prints every mistake. Returns owned, or NULL. */
struct flowd_configuration *flowd_command_configuration(const struct flowd_command_line *line);

enum flowd_exit flowd_command_run(const struct flowd_command_line *line);
enum flowd_exit flowd_command_check(const struct flowd_command_line *line);
enum flowd_exit flowd_command_conf(const struct flowd_command_line *line);
/* Another program's configuration, at line->operand, in flowd's words. */
enum flowd_exit flowd_command_convert(const struct flowd_command_line *line);
enum flowd_exit flowd_command_clean(const struct flowd_command_line *line);
/* Lists every option of every section, from the tables. */
enum flowd_exit flowd_command_options(const struct flowd_command_line *line);
/* Prints the JSON Schema of the configuration. */
enum flowd_exit flowd_command_schema(const struct flowd_command_line *line);
/* Asks STUN servers and http services; FLOWD_EXIT_FAILED if one address stays unknown. */
enum flowd_exit flowd_command_public_ip(const struct flowd_command_line *line);
enum flowd_exit flowd_command_version(const struct flowd_command_line *line);
