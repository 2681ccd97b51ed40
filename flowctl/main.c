/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of flowctl, a thin client of flowd's HTTP API: reads the options, finds the
 * API's address or socket, and picks the command (commands.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "daemon/base/integer.h"

#define URL_STANDARD "http://127.0.0.1:7777"
#define TIMEOUT_MS 15000
#define TOKEN_SIZE 1024

#define INTERVAL_STANDARD_MS 1000
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 3600000

enum {
    OPTION_URL = 256,
    OPTION_UNIX,
    OPTION_TOKEN_FILE,
    OPTION_JSON,
    OPTION_INTERVAL,
    OPTION_COUNT,
    OPTION_SORT,
    OPTION_VERSION,
};

static const struct flag {
    struct option option; /* its val is the letter, or one of the numbers above */
    const char *argument; /* NULL: none */
    const char *doc;
} flags[] = {
    {{"url", required_argument, NULL, OPTION_URL},
     "URL",
     "where flowd is (" URL_STANDARD ", or $FLOWD_URL)"},
    {{"unix", required_argument, NULL, OPTION_UNIX}, "PATH", "flowd's unix socket"},
    {{"token-file", required_argument, NULL, OPTION_TOKEN_FILE},
     "FILE",
     "the first line is the bearer token"},
    {{"json", no_argument, NULL, OPTION_JSON},
     NULL,
     "print the API's answers; of top, one document a line"},
    {{"interval", required_argument, NULL, OPTION_INTERVAL},
     "SECONDS",
     "of top: between two refreshes (1; 0.1 to 3600)"},
    {{"count", required_argument, NULL, OPTION_COUNT}, "N", "of top: end after so many refreshes"},
    {{"sort", required_argument, NULL, OPTION_SORT}, "KEY", "of top: rate, rtt or retransmissions"},
    {{"help", no_argument, NULL, 'h'}, NULL, "print this"},
    {{"version", no_argument, NULL, OPTION_VERSION}, NULL, "print the version"},
};
#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

static const struct {
    enum flowctl_exit status;
    const char *doc;
} exits[] = {
    {FLOWCTL_OK, "done"},
    {FLOWCTL_FAILED, "refused (the reason is on the standard error), or not there"},
    {FLOWCTL_USAGE, "not understood: nothing was asked for"},
    {FLOWCTL_UNREACHABLE, "flowd can't be reached, or something else answers there"},
    {FLOWCTL_DENIED, "flowd wants a token, or another one, or the socket is for others"},
};

/* What to type for the command; the line is not ended. */
static void print_synopsis(FILE *out, const char *before, const struct flowctl_command *command)
{
    fprintf(out, "%s%s%s%s", before, command->name, command->arguments[0] != '\0' ? " " : "",
            command->arguments);
}

static void print_usage(FILE *out)
{
    char name[64];

    fputs("usage: flowctl [OPTION]... COMMAND [ARGUMENT]...\n\ncommands:\n", out);
    for (const struct flowctl_command *command = flowctl_commands; command->name != NULL;
         command++) {
        print_synopsis(out, "  ", command);
        fprintf(out, "\n      %s\n", command->summary);
    }
    fputs("\noptions:\n", out);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        snprintf(name, sizeof(name), "%s--%s%s%s", flags[i].option.val == 'h' ? "-h, " : "",
                 flags[i].option.name, flags[i].argument != NULL ? " " : "",
                 flags[i].argument != NULL ? flags[i].argument : "");
        fprintf(out, "  %-19s %s\n", name, flags[i].doc);
    }
    fputs("\nexit status:\n", out);
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
        fprintf(out, "  %d  %s\n", (int)exits[i].status, exits[i].doc);
}

static int read_interval(const char *text, struct flowctl_refresh *refresh)
{
    size_t whole = strcspn(text, ".");
    uint64_t seconds, fraction = 0;
    size_t digits = text[whole] == '.' ? strlen(text + whole + 1) : 0;

    if (flowd_integer_parse(text, whole, 0, INTERVAL_MAX_MS / 1000, &seconds) < 0 || digits > 3 ||
        (text[whole] == '.' &&
         flowd_integer_parse(text + whole + 1, digits, 0, 999, &fraction) < 0))
        return -EINVAL;
    for (; digits > 0 && digits < 3; digits++)
        fraction *= 10;
    refresh->interval_ms = (int64_t)(seconds * 1000 + fraction);
    return refresh->interval_ms >= INTERVAL_MIN_MS && refresh->interval_ms <= INTERVAL_MAX_MS
               ? 0
               : -ERANGE;
}

static int read_sort(const char *text, struct flowctl_refresh *refresh)
{
    static const char *const names[] = {[TOP_SORT_RATE] = "rate",
                                        [TOP_SORT_RTT] = "rtt",
                                        [TOP_SORT_RETRANSMISSIONS] = "retransmissions"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text) != 0)
            continue;
        refresh->sort = (enum top_sort)i;
        return 0;
    }
    return -EINVAL;
}

/* Reads an option of the live view. Returns 0, or -EINVAL after saying what is wrong. */
static int read_refresh(int option, const char *text, struct flowctl_refresh *refresh)
{
    refresh->given = true;
    if (option == OPTION_INTERVAL && read_interval(text, refresh) == 0)
        return 0;
    if (option == OPTION_COUNT &&
        flowd_integer_parse(text, strlen(text), 1, UINT32_MAX, &refresh->count) == 0)
        return 0;
    if (option == OPTION_SORT && read_sort(text, refresh) == 0)
        return 0;
    fprintf(stderr, "flowctl: %s \"%s\": wants %s\n",
            option == OPTION_INTERVAL ? "--interval"
            : option == OPTION_COUNT  ? "--count"
                                      : "--sort",
            text,
            option == OPTION_INTERVAL ? "seconds, 0.1 to 3600"
            : option == OPTION_COUNT  ? "a number of refreshes"
                                      : "rate, rtt or retransmissions");
    return -EINVAL;
}

/* Reads the first line of the file. */
static int read_token(const char *path, char token[static TOKEN_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, token, TOKEN_SIZE - 1) : -1;

    if (length < 0)
        fprintf(stderr, "flowctl: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (length < 0)
        return -EIO;
    token[length] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    if (token[0] != '\0')
        return 0;
    fprintf(stderr, "flowctl: %s: holds no token\n", path);
    return -EINVAL;
}

static int run(const struct flowctl *flowctl, int count, char **words)
{
    for (const struct flowctl_command *command = flowctl_commands; command->name != NULL;
         command++) {
        if (strcmp(command->name, words[0]) != 0)
            continue;
        if (count - 1 < command->least_arguments || count - 1 > command->most_arguments) {
            print_synopsis(stderr, "usage: flowctl ", command);
            fputc('\n', stderr);
            return FLOWCTL_USAGE;
        }
        if (flowctl->refresh.given && !command->refreshes) {
            fprintf(stderr, "flowctl: --interval, --count and --sort are options of top\n");
            return FLOWCTL_USAGE;
        }
        return (int)command->run(flowctl, command->name, words + 1);
    }
    fprintf(stderr, "flowctl: unknown command \"%s\"; flowctl --help shows what there is\n",
            words[0]);
    return FLOWCTL_USAGE;
}

int main(int argc, char **argv)
{
    static char token[TOKEN_SIZE];
    const char *environment = getenv("FLOWD_URL");
    struct flowctl flowctl = {.endpoint = {.url = environment != NULL && environment[0] != '\0'
                                                      ? environment
                                                      : URL_STANDARD,
                                           .timeout_ms = TIMEOUT_MS},
                              .refresh = {.interval_ms = INTERVAL_STANDARD_MS},
                              .out = stdout,
                              .errors = stderr};
    struct option options[FLAG_COUNT + 1] = {0};
    int option, status;

    for (size_t i = 0; i < FLAG_COUNT; i++)
        options[i] = flags[i].option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case OPTION_URL:
            flowctl.endpoint.url = optarg;
            break;
        case OPTION_UNIX:
            flowctl.endpoint.unix_path = optarg;
            break;
        case OPTION_TOKEN_FILE:
            if (read_token(optarg, token) < 0)
                return FLOWCTL_USAGE;
            flowctl.endpoint.token = token;
            break;
        case OPTION_JSON:
            flowctl.json = true;
            break;
        case OPTION_INTERVAL:
        case OPTION_COUNT:
        case OPTION_SORT:
            if (read_refresh(option, optarg, &flowctl.refresh) < 0)
                return FLOWCTL_USAGE;
            break;
        case OPTION_VERSION:
            puts("flowctl " FLOWD_VERSION);
            return FLOWCTL_OK;
        case 'h':
            print_usage(stdout);
            return FLOWCTL_OK;
        default:
            return FLOWCTL_USAGE;
        }
    }
    if (optind == argc) {
        print_usage(stderr);
        return FLOWCTL_USAGE;
    }
    status = run(&flowctl, argc - optind, argv + optind);
    if (fflush(stdout) != 0 && status == FLOWCTL_OK)
        status = FLOWCTL_FAILED;
    return status;
}
