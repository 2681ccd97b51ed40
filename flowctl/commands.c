/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of flowctl but for `top`: from words on the command line to requests, and from
 * answers to what is printed and to the exit status.
 */
#include "commands.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/integer.h"
#include "daemon/flow/flow.h"
#include "request.h"
#include "table.h"
#include "top.h"

/* A page of `list`: enough for one answer, small enough to be quick. */
#define PAGE "10000"
/* PROTO SRC SPORT DST DPORT EXPERIMENT ACTIVITY */
#define EVENT_WORDS 7

static void print_json(const struct flowctl *flowctl, const json_t *json)
{
    json_dumpf(json, flowctl->out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    fputc('\n', flowctl->out);
}

enum flowctl_exit flowctl_exit_of(int result)
{
    switch (result) {
    case 0:
        return FLOWCTL_OK;
    case -EREMOTEIO:
    case -ENOMEM:
        return FLOWCTL_FAILED;
    case -EPERM:  /* by flowd */
    case -EACCES: /* by the socket's mode */
        return FLOWCTL_DENIED;
    case -EINVAL:
    case -ENAMETOOLONG:
        return FLOWCTL_USAGE;
    default:
        return FLOWCTL_UNREACHABLE;
    }
}

/* What may be done about it; NULL: the message says it all. */
static const char *remedy_of(const struct flowctl *flowctl, int result)
{
    switch (flowctl_exit_of(result)) {
    case FLOWCTL_DENIED:
        if (result == -EACCES)
            return "plugins.api.socketMode and socketGroup say who may use the socket";
        return flowctl->endpoint.token != NULL ? "the token is none of plugins.api.tokenFile"
                                               : "name a token with --token-file";
    case FLOWCTL_UNREACHABLE:
        if (result == -ENOSYS) /* no libcurl: nobody was asked */
            return NULL;
        return flowctl->endpoint.unix_path != NULL
                   ? "does flowd run, with plugins.api.socketPath in its configuration?"
                   : "does flowd run, with plugins.api in its configuration? --url or FLOWD_URL "
                     "name another address, --unix a socket";
    default:
        return NULL;
    }
}

void flowctl_explain(const struct flowctl *flowctl, int result, const struct flowd_error *err)
{
    const char *remedy = remedy_of(flowctl, result);

    fprintf(flowctl->errors, "flowctl: %s\n", err->message);
    if (remedy != NULL)
        fprintf(flowctl->errors, "flowctl: %s\n", remedy);
}

/*
 * Makes one request. Returns FLOWCTL_OK with the answer in *out (owned; NULL: it has none); else
 * *out is NULL, and what went wrong has been said.
 */
static enum flowctl_exit request(const struct flowctl *flowctl, const char *method,
                                 const char *path, const char *body, json_t **out)
{
    struct flowd_error err;
    int result = request_json(&flowctl->endpoint, method, path, body, out, &err);

    if (result == 0)
        return FLOWCTL_OK;
    if (*out != NULL && flowctl->json)
        print_json(flowctl, *out);
    flowctl_explain(flowctl, result, &err);
    json_decref(*out);
    *out = NULL;
    return flowctl_exit_of(result);
}

/* A number as a number, a name as a string: the API takes both for experiment and activity. */
static json_t *number_or_name(const char *word)
{
    uint64_t number;

    if (flowd_integer_parse(word, strlen(word), 0, INT32_MAX, &number) == 0)
        return json_integer((json_int_t)number);
    return json_string(word);
}

static json_t *event_of(const char *state, char **words)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o}", "state", state, "protocol",
                     words[0], "src", words[1], "srcPort", number_or_name(words[2]), "dst",
                     words[3], "dstPort", number_or_name(words[4]), "experiment",
                     number_or_name(words[5]), "activity", number_or_name(words[6]));
}

/* "started 0000...: marker marked, firefly sent" */
static void print_result(const struct flowctl *flowctl, const json_t *answer)
{
    const char *id = json_string_value(json_object_get(answer, "id"));
    const char *result = json_string_value(json_object_get(answer, "result"));
    const char *separator = ": ";
    const char *backend;
    json_t *status;

    fputs(result != NULL ? result : "-", flowctl->out);
    if (id != NULL)
        fprintf(flowctl->out, " %s", id);
    json_object_foreach (json_object_get(answer, "backends"), backend, status) {
        fprintf(flowctl->out, "%s%s %s", separator, backend, json_string_value(status));
        separator = ", ";
    }
    fputc('\n', flowctl->out);
}

static enum flowctl_exit submit(const struct flowctl *flowctl, const char *name, char **arguments)
{
    json_t *event = event_of(name, arguments);
    char *body = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
    enum flowctl_exit status;
    json_t *answer;

    json_decref(event);
    if (body == NULL) {
        fprintf(flowctl->errors, "flowctl: the arguments are not UTF-8\n");
        return FLOWCTL_USAGE;
    }
    status = request(flowctl, "POST", "/v1/flows", body, &answer);
    free(body);
    if (status != FLOWCTL_OK)
        return status;
    if (flowctl->json)
        print_json(flowctl, answer);
    else
        print_result(flowctl, answer);
    json_decref(answer);
    return FLOWCTL_OK;
}

/* Makes the path of a flow. Returns FLOWCTL_USAGE after saying that id is none. */
static enum flowctl_exit flow_path(const struct flowctl *flowctl, const char *id, char *path,
                                   size_t size)
{
    uint64_t number;

    if (flowd_flow_id_parse(id, strlen(id), &number) < 0) {
        fprintf(flowctl->errors, "flowctl: \"%s\" is no flow id: 16 hexadecimal digits\n", id);
        return FLOWCTL_USAGE;
    }
    snprintf(path, size, "/v1/flows/%s", id);
    return FLOWCTL_OK;
}

static size_t count_of(char *const *arguments)
{
    size_t count = 0;

    while (arguments[count] != NULL)
        count++;
    return count;
}

/* By its id, or as an event. */
static enum flowctl_exit end(const struct flowctl *flowctl, const char *name, char **arguments)
{
    char path[64];
    enum flowctl_exit status;
    json_t *answer;

    if (count_of(arguments) == EVENT_WORDS)
        return submit(flowctl, name, arguments);
    if (count_of(arguments) != 1) {
        fprintf(flowctl->errors, "usage: flowctl end ID, or PROTO SRC SPORT DST DPORT EXPERIMENT "
                                 "ACTIVITY\n");
        return FLOWCTL_USAGE;
    }
    status = flow_path(flowctl, arguments[0], path, sizeof(path));
    if (status == FLOWCTL_OK)
        status = request(flowctl, "DELETE", path, NULL, &answer);
    if (status != FLOWCTL_OK)
        return status;
    if (answer != NULL && flowctl->json)
        print_json(flowctl, answer);
    else if (!flowctl->json)
        fprintf(flowctl->out, "ended %s\n", arguments[0]);
    json_decref(answer);
    return FLOWCTL_OK;
}

/* Prints one page. Returns whether there is another, whose path is then in path. */
static bool print_page(const struct flowctl *flowctl, const json_t *page, json_t *all, char *path,
                       size_t size)
{
    const char *cursor = json_string_value(json_object_get(page, "cursor"));
    json_t *flow;
    size_t i;

    json_array_foreach (json_object_get(page, "flows"), i, flow) {
        if (flowctl->json)
            json_array_append(all, flow);
        else
            table_flow(flowctl->out, flow);
    }
    if (cursor != NULL)
        snprintf(path, size, "/v1/flows?limit=" PAGE "&cursor=%s", cursor);
    return cursor != NULL;
}

static enum flowctl_exit list(const struct flowctl *flowctl, const char *name, char **arguments)
{
    char path[128] = "/v1/flows?limit=" PAGE;
    json_t *all = json_array();
    bool more = true;

    (void)name;
    (void)arguments;
    if (!flowctl->json)
        table_head(flowctl->out);
    while (more) {
        json_t *page;
        enum flowctl_exit status = request(flowctl, "GET", path, NULL, &page);

        if (status != FLOWCTL_OK) {
            json_decref(all);
            return status;
        }
        more = print_page(flowctl, page, all, path, sizeof(path));
        json_decref(page);
    }
    if (flowctl->json) {
        json_t *answer = json_pack("{s:O}", "flows", all);

        print_json(flowctl, answer);
        json_decref(answer);
    }
    json_decref(all);
    return FLOWCTL_OK;
}

static enum flowctl_exit commands_show(const struct flowctl *flowctl, const char *name,
                                       char **arguments)
{
    char path[64];
    enum flowctl_exit status = flow_path(flowctl, arguments[0], path, sizeof(path));
    json_t *flow;

    (void)name;
    if (status == FLOWCTL_OK)
        status = request(flowctl, "GET", path, NULL, &flow);
    if (status != FLOWCTL_OK)
        return status;
    if (flowctl->json)
        print_json(flowctl, flow);
    else
        table_details(flowctl->out, flow);
    json_decref(flow);
    return FLOWCTL_OK;
}

static enum flowctl_exit commands_status(const struct flowctl *flowctl, const char *name,
                                         char **arguments)
{
    json_t *answer;
    enum flowctl_exit status = request(flowctl, "GET", "/v1/status", NULL, &answer);

    (void)name;
    (void)arguments;
    if (status != FLOWCTL_OK)
        return status;
    if (flowctl->json)
        print_json(flowctl, answer);
    else
        table_status(flowctl->out, answer);
    json_decref(answer);
    return FLOWCTL_OK;
}

/* For probes and scripts: what is not ready is refused with the reason. */
static enum flowctl_exit commands_ready(const struct flowctl *flowctl, const char *name,
                                        char **arguments)
{
    json_t *answer;
    enum flowctl_exit status = request(flowctl, "GET", "/readyz", NULL, &answer);

    (void)arguments;
    if (status != FLOWCTL_OK)
        return status;
    if (flowctl->json)
        print_json(flowctl, answer);
    else
        fprintf(flowctl->out, "%s\n", name);
    json_decref(answer);
    return FLOWCTL_OK;
}

/* Appends text as a query wants it (RFC 3986, 2.1). */
static void append_escaped(struct flowd_text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;

        if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
            (byte >= 'a' && byte <= 'z') || strchr("-._~", byte) != NULL)
            flowd_text_char(out, (char)byte);
        else
            flowd_text_printf(out, "%%%02X", byte);
    }
}

static enum flowctl_exit commands_registry(const struct flowctl *flowctl, const char *name,
                                           char **arguments)
{
    struct flowd_text path = {0};
    enum flowctl_exit status = FLOWCTL_FAILED;
    json_t *answer = NULL;

    (void)name;
    flowd_text_puts(&path, "/v1/registry");
    if (arguments[0] != NULL) {
        flowd_text_puts(&path, "?name=");
        append_escaped(&path, arguments[0]);
    }
    flowd_text_char(&path, '\0');
    if (!flowd_text_failed(&path))
        status = request(flowctl, "GET", path.data, NULL, &answer);
    flowd_text_fini(&path);
    if (status != FLOWCTL_OK)
        return status;
    if (flowctl->json)
        print_json(flowctl, answer);
    else
        table_registry(flowctl->out, answer);
    json_decref(answer);
    return FLOWCTL_OK;
}

const struct flowctl_command flowctl_commands[] = {
    {"start", "PROTO SRC SPORT DST DPORT EXPERIMENT ACTIVITY", EVENT_WORDS, EVENT_WORDS, false,
     submit, "begin a flow; experiment and activity by number or name"},
    {"end", "ID | PROTO SRC SPORT DST DPORT EXPERIMENT ACTIVITY", 1, EVENT_WORDS, false, end,
     "end a flow"},
    {"list", "", 0, 0, false, list, "list the live flows"},
    {"show", "ID", 1, 1, false, commands_show, "show a flow with its last sample"},
    {"status", "", 0, 0, false, commands_status, "show modules, interfaces and counters"},
    {"ready", "", 0, 0, false, commands_ready,
     "say whether all that is configured works, or why not"},
    {"registry", "[NAME]", 0, 1, false, commands_registry,
     "list experiments and their activities, or those of one"},
    {"top", "[--interval SECONDS] [--count N] [--sort KEY]", 0, 0, true, top_run,
     "show the flows' rates, refreshed"},
    {NULL, NULL, 0, 0, false, NULL, NULL},
};
