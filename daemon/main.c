/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of flowd: reads the options, picks the command, and makes sure that the standard
 * descriptors are open before anything else is. The commands are in commands.c.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/commands.h"

enum {
    OPTION_LOG_LEVEL = 256,
    OPTION_LOG_FORMAT,
    OPTION_INTERFACE,
    OPTION_VERSION,
    OPTION_NEEDLESS
};

#define COMMAND_WIDTH 14
#define FLAG_WIDTH 19

/* The options of the command line: getopt, the help and, by way of it, the manual. */
static const struct flag {
    struct option option; /* its val is the letter, or one of the numbers above */
    const char *argument; /* NULL: none, or none of use */
    const char *doc;
} flags[] = {
    {{"config", required_argument, NULL, 'c'},
     "FILE",
     "the configuration (" FLOWD_CONFIGURATION_PATH ")"},
    {{"debug", no_argument, NULL, 'd'}, NULL, "the same as --log-level debug"},
    {{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
     "LEVEL",
     "how much is logged: error, warning, info or debug"},
    {{"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
     "FORMAT",
     "how it is logged: text, json or journal"},
    {{"interface", required_argument, NULL, OPTION_INTERFACE},
     "IF",
     "for clean; may be given several times"},
    {{"help", no_argument, NULL, 'h'}, NULL, "the same as the command help"},
    {{"version", no_argument, NULL, OPTION_VERSION}, NULL, "the same as the command version"},
    {{"fg", no_argument, NULL, 'f'}, NULL, "accepted from units of other programs, no effect"},
    {{"log-time", optional_argument, NULL, OPTION_NEEDLESS}, NULL, "the same, no effect"},
};
#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

static enum flowd_exit print_usage(const struct flowd_command_line *line);

static const struct command {
    const char *name;
    const char *arguments;
    const char *doc; /* of one line or several */
    enum flowd_exit (*run)(const struct flowd_command_line *line);
} commands[] = {
    {"run", "", "run in the foreground until SIGINT or SIGTERM (the default)", flowd_command_run},
    {"check", "", "read the configuration and print every mistake and warning",
     flowd_command_check},
    {"conf", "", "print the effective configuration, defaults included", flowd_command_conf},
    {"clean", "", "remove all kernel state that flowd left; --interface IF: only there",
     flowd_command_clean},
    {"convert", "FILE",
     "print the configuration of flowd 1.1 or flowd-go in FILE (-: standard input) as\n"
     "flowd's own, and on the standard error what behaves differently",
     flowd_command_convert},
    {"public-ip", "", "show how each address of this host is seen from outside",
     flowd_command_public_ip},
    {"schema", "", "print the JSON Schema of the configuration, for editors", flowd_command_schema},
    {"version", "", "print the version", flowd_command_version},
    {"help", "[options]", "print this; \"help options\" lists every option of the configuration",
     print_usage},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct {
    enum flowd_exit status;
    const char *doc;
} exits[] = {
    {FLOWD_EXIT_OK, "done; of run: a clean stop"},
    {FLOWD_EXIT_FAILED, "it failed; of public-ip: one address stays unknown"},
    {FLOWD_EXIT_USAGE, "a mistake on the command line or in the configuration"},
};

/* A column, and text of one line or several beside it. */
static void print_entry(FILE *out, const char *name, int width, const char *doc)
{
    if (strlen(name) > (size_t)width)
        fprintf(out, "  %s\n  %*s  ", name, width, "");
    else
        fprintf(out, "  %-*s  ", width, name);
    for (; *doc != '\0'; doc++) {
        fputc(*doc, out);
        if (*doc == '\n')
            fprintf(out, "  %*s  ", width, "");
    }
    fputc('\n', out);
}

static void print_flag(FILE *out, const struct flag *flag)
{
    bool has_letter = flag->option.val < OPTION_LOG_LEVEL;
    char letter[] = {'-', (char)flag->option.val, ',', ' ', '\0'};
    char name[64];

    snprintf(name, sizeof(name), "%s--%s%s%s", has_letter ? letter : "", flag->option.name,
             flag->argument != NULL ? " " : "", flag->argument != NULL ? flag->argument : "");
    print_entry(out, name, FLAG_WIDTH, flag->doc);
}

static enum flowd_exit print_usage(const struct flowd_command_line *line)
{
    FILE *out = line->out;
    char name[64];

    fputs("usage: flowd [OPTION]... [COMMAND]\n\ncommands:\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        snprintf(name, sizeof(name), "%s%s%s", commands[i].name,
                 commands[i].arguments[0] != '\0' ? " " : "", commands[i].arguments);
        print_entry(out, name, COMMAND_WIDTH, commands[i].doc);
    }
    fputs("\noptions:\n", out);
    for (size_t i = 0; i < FLAG_COUNT; i++)
        print_flag(out, &flags[i]);
    fputs("\nexit status:\n", out);
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
        fprintf(out, "  %d  %s\n", (int)exits[i].status, exits[i].doc);
    return FLOWD_EXIT_OK;
}

static int index_of(const char *word, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcasecmp(word, names[i]) == 0)
            return i;
    return -1;
}

static int fail_usage(const char *what, const char *word)
{
    fprintf(stderr, "flowd: %s \"%s\"; flowd --help shows what there is\n", what, word);
    return FLOWD_EXIT_USAGE;
}

static int run_command(const struct flowd_command_line *line, const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return (int)commands[i].run(line);
    return fail_usage("unknown command", name);
}

/* What getopt wants of the flags. */
static void list_flags(struct option options[static FLAG_COUNT + 1],
                       char letters[static 2 * FLAG_COUNT + 1])
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        options[i] = flags[i].option;
        if (flags[i].option.val >= OPTION_LOG_LEVEL)
            continue;
        *letters++ = (char)flags[i].option.val;
        if (flags[i].option.has_arg == required_argument)
            *letters++ = ':';
    }
    options[FLAG_COUNT] = (struct option){0};
    *letters = '\0';
}

/* Reads the options. Returns NULL, or the command that an option stands for. *failed is set. */
static const char *read_options(int argc, char **argv, struct flowd_command_line *line, int *failed)
{
    struct option options[FLAG_COUNT + 1];
    char letters[2 * FLAG_COUNT + 1];
    const char *command = NULL;
    int option;

    list_flags(options, letters);
    while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        switch (option) {
        case 'c':
            line->path = optarg;
            break;
        case 'd':
            line->log.level = FLOWD_LOG_DEBUG;
            break;
        case 'h':
            command = "help";
            break;
        case 'f':
        case OPTION_NEEDLESS:
            break;
        case OPTION_VERSION:
            command = "version";
            break;
        case OPTION_LOG_LEVEL:
            line->log.level = index_of(optarg, flowd_log_level_names);
            if (line->log.level < 0)
                *failed = fail_usage("unknown log level", optarg);
            break;
        case OPTION_LOG_FORMAT:
            line->log.format = index_of(optarg, flowd_log_format_names);
            if (line->log.format < 0)
                *failed = fail_usage("unknown log format", optarg);
            break;
        case OPTION_INTERFACE:
            line->interfaces.items[line->interfaces.count++] = optarg;
            break;
        default:
            *failed = FLOWD_EXIT_USAGE;
            break;
        }
    }
    return command;
}

/*
 * Descriptors 0 to 2 that are closed would be taken by sockets and files, and log lines and answers
 * would end up in them. Without a /dev/null (a container without /dev) a descriptor that can be
 * neither read nor written does as well.
 */
static bool secure_descriptors(void)
{
    for (int number = 0; number <= STDERR_FILENO; number++) {
        int fd;

        if (fcntl(number, F_GETFD) >= 0)
            continue;
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_PATH);
        if (fd != number)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct flowd_command_line line = {
        .log = {.level = -1, .format = -1}, .out = stdout, .errors = stderr};
    int failed = FLOWD_EXIT_OK;
    const char *command;
    int status;

    if (!secure_descriptors()) {
        fputs("flowd: no file descriptor can be opened: raise the limit (ulimit -n)\n", stderr);
        return FLOWD_EXIT_FAILED;
    }
    line.interfaces.items = calloc((size_t)argc, sizeof(char *));
    if (line.interfaces.items == NULL)
        return FLOWD_EXIT_FAILED;
    command = read_options(argc, argv, &line, &failed);
    if (command == NULL)
        command = optind < argc ? argv[optind++] : "run";
    if (strcmp(command, "convert") == 0 && optind < argc)
        line.operand = argv[optind++];
    if (failed != FLOWD_EXIT_OK)
        status = failed;
    else if (strcmp(command, "help") == 0 && optind + 1 == argc &&
             strcmp(argv[optind], "options") == 0)
        status = (int)flowd_command_options(&line);
    else if (optind < argc)
        status = fail_usage("unexpected argument", argv[optind]);
    else if (strcmp(command, "convert") == 0 && line.operand == NULL)
        status = fail_usage("a FILE is missing behind", command);
    else if (line.interfaces.count > 0 && strcmp(command, "clean") != 0)
        status = fail_usage("--interface goes with clean, not with", command);
    else
        status = run_command(&line, command);
    free(line.interfaces.items);
    if (fflush(stdout) != 0 && status == FLOWD_EXIT_OK)
        status = FLOWD_EXIT_FAILED;
    return status;
}
