/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd convert FILE: another program's configuration in flowd's words on the standard output, what
 * behaves differently, or has no equivalent, on the standard error.
 */
#include <string.h>

#include "daemon/commands.h"
#include "daemon/conversion.h"
#include "daemon/convert/source.h"

static void print_lines(const struct flowd_command_line *line, const char *kind,
                        const struct flowd_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++)
        fprintf(line->errors, "flowd: %s%s%s\n", kind, kind[0] != '\0' ? ": " : "",
                messages->lines[i]);
    if (messages->out_of_memory)
        fprintf(line->errors, "flowd: out of memory\n");
}

/* The object that becomes the configuration; NULL, and it has been said why. Returns owned. */
static json_t *read_source(const struct flowd_command_line *line, struct flowd_messages *notes)
{
    const char *path = strcmp(line->operand, "-") == 0 ? "/dev/stdin" : line->operand;
    struct flowd_text text = {0};
    struct flowd_error err;
    json_t *root = NULL;

    if (flowd_source_read(path, &text, &err) == 0)
        root = flowd_source_convert(text.data != NULL ? text.data : "", text.length, notes, &err);
    if (root == NULL)
        fprintf(line->errors, "flowd: %s: %s\n", line->operand, err.message);
    flowd_text_fini(&text);
    return root;
}

static bool print_configuration(const struct flowd_command_line *line,
                                const struct flowd_configuration *configuration)
{
    json_t *root = flowd_conversion_json(configuration);
    bool written =
        json_dumpf(root, line->out, JSON_INDENT(2)) == 0 && fputc('\n', line->out) != EOF;

    json_decref(root);
    return written;
}

enum flowd_exit flowd_command_convert(const struct flowd_command_line *line)
{
    struct flowd_configuration *configuration = NULL;
    struct flowd_options_report report = {0};
    struct flowd_messages notes = {0};
    json_t *root = read_source(line, &notes);
    enum flowd_exit status = FLOWD_EXIT_USAGE;

    if (root != NULL) {
        flowd_conversion_fit(root, flowd_modules, &notes, &report);
        if (flowd_configuration_from_json(root, flowd_modules, &configuration, &report) == 0)
            status = print_configuration(line, configuration) ? FLOWD_EXIT_OK : FLOWD_EXIT_FAILED;
    }
    print_lines(line, "note", &notes);
    print_lines(line, "note", &report.deprecations);
    print_lines(line, "", &report.errors);
    flowd_messages_fini(&notes);
    flowd_messages_fini(&report.deprecations);
    flowd_messages_fini(&report.errors);
    flowd_configuration_free(configuration);
    json_decref(root);
    return status;
}
