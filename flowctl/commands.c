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

static void print_json(const struct flowctl *flowctl, const json_t *json)
{
    json_dumpf(json, flowctl->out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    fputc('\n', flowctl->out);
}

/*
 * Makes one request. Returns the answer (owned) if its status is a success; else NULL, after saying
 * what went wrong.
 */
static json_t *request(const struct flowctl *flowctl, const char *method, const char *path,
                       const char *body)
{
    struct flowd_error err;
    json_t *answer;

    if (request_json(&flowctl->endpoint, method, path, body, &answer, &err) == 0)
        return answer;
    if (answer != NULL && flowctl->json)
        print_json(flowctl, answer);
    fprintf(flowctl->errors, "flowctl: %s\n", err.message);
    json_decref(answer);
    return NULL;
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
    json_t *answer = NULL;

    json_decref(event);
    if (body == NULL) {
        fprintf(flowctl->errors, "flowctl: the arguments are not UTF-8\n");
        return FLOWCTL_USAGE;
    }
    answer = request(flowctl, "POST", "/v1/flows", body);
    free(body);
    if (answer == NULL)
        return FLOWCTL_FAILED;
    if (flowctl->json)
        print_json(flowctl, answer);
    else
        print_result(flowctl, answer);
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
        json_t *page = request(flowctl, "GET", path, NULL);

        if (page == NULL) {
            json_decref(all);
            return FLOWCTL_FAILED;
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
    uint64_t id;
    json_t *flow;

    (void)name;
    if (flowd_flow_id_parse(arguments[0], strlen(arguments[0]), &id) < 0) {
        fprintf(flowctl->errors, "flowctl: \"%s\" is no flow id: 16 hexadecimal digits\n",
                arguments[0]);
        return FLOWCTL_USAGE;
    }
    snprintf(path, sizeof(path), "/v1/flows/%s", arguments[0]);
    flow = request(flowctl, "GET", path, NULL);
    if (flow == NULL)
        return FLOWCTL_FAILED;
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
    json_t *answer = request(flowctl, "GET", "/v1/status", NULL);

    (void)name;
    (void)arguments;
    if (answer == NULL)
        return FLOWCTL_FAILED;
    if (flowctl->json)
        print_json(flowctl, answer);
    else
        table_status(flowctl->out, answer);
    json_decref(answer);
    return FLOWCTL_OK;
}

const struct flowctl_command flowctl_commands[] = {
    {"start", "PROTO SRC SPORT DST DPORT EXPERIMENT ACTIVITY", 7, false, submit},
    {"end", "PROTO SRC SPORT DST DPORT EXPERIMENT ACTIVITY", 7, false, submit},
    {"list", "", 0, false, list},
    {"show", "ID", 1, false, commands_show},
    {"status", "", 0, false, commands_status},
    {"top", "[--interval SECONDS] [--count N] [--sort KEY]", 0, true, top_run},
    {NULL, NULL, 0, false, NULL},
};
