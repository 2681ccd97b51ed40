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

static const char usage[] =
    "usage: flowd [-c FILE] [-d] [--log-level LEVEL] [--log-format FORMAT] [COMMAND]\n"
    "\n"
    "commands:\n"
    "  run        run in the foreground until SIGINT or SIGTERM (the default)\n"
    "  check      read the configuration and print every mistake and warning\n"
    "  conf       print the effective configuration, defaults included\n"
    "  clean      remove all kernel state that flowd left; --interface IF: only there\n"
    "  convert FILE\n"
    "             print the configuration of flowd 1.1 or flowd-go in FILE (-: standard input) as\n"
    "             flowd's own, and on the standard error what behaves differently\n"
    "  public-ip  show how each address of this host is seen from outside\n"
    "  version    print the version\n"
    "  help       print this; \"help options\" lists every option of the configuration\n"
    "\n"
    "options:\n"
    "  -c, --config FILE     the configuration (" FLOWD_CONFIGURATION_PATH ")\n"
    "  -d, --debug           the same as --log-level debug\n"
    "  --log-level LEVEL     error, warning, info or debug\n"
    "  --log-format FORMAT   text, json or journal\n"
    "  --interface IF        for clean; may be given several times\n"
    "  -f, --fg, --log-time  accepted from units of other programs, no effect\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"debug", no_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
    {"interface", required_argument, NULL, OPTION_INTERFACE},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"fg", no_argument, NULL, 'f'},
    {"log-time", optional_argument, NULL, OPTION_NEEDLESS},
    {NULL, 0, NULL, 0},
};

static const struct command {
    const char *name;
    enum flowd_exit (*run)(const struct flowd_command_line *line);
} commands[] = {
    {"run", flowd_command_run},
    {"check", flowd_command_check},
    {"conf", flowd_command_conf},
    {"clean", flowd_command_clean},
    {"convert", flowd_command_convert},
    {"version", flowd_command_version},
    {"public-ip", flowd_command_public_ip},
};

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
    if (strcmp(name, "help") == 0) {
        fputs(usage, stdout);
        return FLOWD_EXIT_OK;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return (int)commands[i].run(line);
    return fail_usage("unknown command", name);
}

/* Reads the options. Returns NULL, or the command that an option stands for. *failed is set. */
static const char *read_options(int argc, char **argv, struct flowd_command_line *line, int *failed)
{
    const char *command = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "c:dfh", long_options, NULL)) != -1) {
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
