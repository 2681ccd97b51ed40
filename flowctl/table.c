/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables and lists. A member that an answer lacks is shown as "-": flowctl may be older or younger
 * than the flowd that it talks to.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/tcp/tcp_field.h"
#include "printable.h"

#define END_SIZE 64
#define TAG_SIZE 64
#define FLOW_FORMAT "%-16s %-5s %-46s %-46s %-20s %-24s  %s\n"
#define REGISTRY_FORMAT "%10lld  %-20s %8lld  %s\n"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "-";
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void format_end(const json_t *flow, const char *address_key, const char *port_key,
                       char buffer[static END_SIZE])
{
    const char *address = text_of(flow, address_key);

    snprintf(buffer, END_SIZE, strchr(address, ':') != NULL ? "[%s]:%lld" : "%s:%lld", address,
             number_of(flow, port_key));
}

/* What somebody else wrote gives the terminal no orders. */
static void make_printable(const char *string, char *buffer, size_t size)
{
    struct flowd_text text = {0};

    printable_append(&text, string, SIZE_MAX);
    snprintf(buffer, size, "%.*s", (int)text.length, text.length > 0 ? text.data : "");
    flowd_text_fini(&text);
}

/* "2 (atlas)", or the number alone where the registry has no name for it. */
static void format_id(const json_t *flow, const char *key, const char *name_key,
                      char buffer[static TAG_SIZE])
{
    const char *given = json_string_value(json_object_get(flow, name_key));
    char name[TAG_SIZE - 24];

    make_printable(given != NULL ? given : "", name, sizeof(name));
    snprintf(buffer, TAG_SIZE, given != NULL ? "%lld (%s)" : "%lld", number_of(flow, key), name);
}

void table_head(FILE *out)
{
    fprintf(out, FLOW_FORMAT, "ID", "PROTO", "SRC", "DST", "EXPERIMENT", "ACTIVITY", "START");
}

void table_flow(FILE *out, const json_t *flow)
{
    char src[END_SIZE], dst[END_SIZE], experiment[TAG_SIZE], activity[TAG_SIZE];

    format_end(flow, "src", "srcPort", src);
    format_end(flow, "dst", "dstPort", dst);
    format_id(flow, "experiment", "experimentName", experiment);
    format_id(flow, "activity", "activityName", activity);
    fprintf(out, FLOW_FORMAT, text_of(flow, "id"), text_of(flow, "protocol"), src, dst, experiment,
            activity, text_of(flow, "startTime"));
}

/* What somebody else wrote gives the terminal no orders. */
static void print_text(FILE *out, const char *string)
{
    struct flowd_text text = {0};

    printable_append(&text, string, SIZE_MAX);
    if (!flowd_text_failed(&text) && text.length > 0)
        fwrite(text.data, 1, text.length, out);
    flowd_text_fini(&text);
}

/* A value on one line: strings bare, everything else as JSON. */
static void print_value(FILE *out, const json_t *value)
{
    char *text;

    if (json_is_string(value)) {
        print_text(out, json_string_value(value));
        return;
    }
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    fputs(text != NULL ? text : "-", out);
    free(text);
}

static void print_members(FILE *out, const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)object, key, value) {
        if (json_is_object(value)) {
            char name[64];

            snprintf(name, sizeof(name), "%s%s.", prefix, key);
            print_members(out, value, name);
            continue;
        }
        fprintf(out, "%s%s: ", prefix, key);
        print_value(out, value);
        fputc('\n', out);
    }
}

/* Each quantity with its unit, as the table of fields has it. */
static void print_sample(FILE *out, const json_t *sample)
{
    const char *key;
    json_t *value;

    fprintf(out, "sample of %s:\n", text_of(sample, "time"));
    json_object_foreach ((json_t *)sample, key, value) {
        const struct flowd_tcp_field *field = flowd_tcp_field_find(key);

        if (strcmp(key, "time") == 0)
            continue;
        fprintf(out, "  %s: ", key);
        print_value(out, value);
        if (field != NULL)
            fprintf(out, "  (%s)", field->doc);
        fputc('\n', out);
    }
}

void table_details(FILE *out, const json_t *flow)
{
    json_t *sample = json_incref(json_object_get(flow, "sample"));
    json_t *others = json_copy((json_t *)flow);

    json_object_del(others, "sample");
    print_members(out, others, "");
    if (sample != NULL)
        print_sample(out, sample);
    json_decref(others);
    json_decref(sample);
}

void table_registry(FILE *out, const json_t *registry)
{
    json_t *experiment, *activity;
    size_t i, j;

    fprintf(out, "%10s  %-20s %8s  %s\n", "EXPERIMENT", "NAME", "ACTIVITY", "NAME");
    json_array_foreach (json_object_get(registry, "experiments"), i, experiment) {
        char name[TAG_SIZE], other[TAG_SIZE];

        make_printable(text_of(experiment, "experimentName"), name, sizeof(name));
        json_array_foreach (json_object_get(experiment, "activities"), j, activity) {
            make_printable(text_of(activity, "activityName"), other, sizeof(other));
            fprintf(out, REGISTRY_FORMAT, number_of(experiment, "experiment"), name,
                    number_of(activity, "activity"), other);
        }
    }
}

static bool is_list_of_objects(const json_t *value)
{
    return json_is_object(json_array_get(value, 0));
}

/* What a module has a list of, such as collectors, a line each. */
static void print_lists(FILE *out, const json_t *module)
{
    const char *list_key, *key;
    json_t *list, *item, *value;
    size_t i;

    json_object_foreach ((json_t *)module, list_key, list) {
        if (!is_list_of_objects(list))
            continue;
        json_array_foreach (list, i, item) {
            fprintf(out, "  %s  %s %s", list_key, text_of(item, "name"), text_of(item, "state"));
            json_object_foreach (item, key, value) {
                if (strcmp(key, "name") == 0 || strcmp(key, "state") == 0)
                    continue;
                fprintf(out, "  %s=", key);
                print_value(out, value);
            }
            fputc('\n', out);
        }
    }
}

static void print_module(FILE *out, const json_t *module)
{
    const char *key;
    json_t *value;

    fprintf(out, "%-8s %-12s %s", text_of(module, "kind"), text_of(module, "name"),
            text_of(module, "state"));
    json_object_foreach ((json_t *)module, key, value) {
        if (strcmp(key, "kind") == 0 || strcmp(key, "name") == 0 || strcmp(key, "state") == 0 ||
            is_list_of_objects(value))
            continue;
        fprintf(out, "  %s=", key);
        print_value(out, value);
    }
    fputc('\n', out);
    print_lists(out, module);
}

/* An object of counters, whichever there are. */
static void print_counters(FILE *out, const char *title, const json_t *counters)
{
    const char *key;
    json_t *value;

    fputs(title, out);
    json_object_foreach ((json_t *)counters, key, value) {
        fprintf(out, "  %s=", key);
        print_value(out, value);
    }
    fputc('\n', out);
}

/* What the daemon itself counts. */
static void print_daemon(FILE *out, const json_t *status)
{
    const char *source;
    json_t *counters;

    print_counters(out, "flows   ", json_object_get(status, "flows"));
    json_object_foreach (json_object_get(status, "events"), source, counters) {
        char title[64];

        snprintf(title, sizeof(title), "events   %-12s", source);
        print_counters(out, title, counters);
    }
    if (json_object_get(status, "closures") != NULL)
        print_counters(out, "closures", json_object_get(status, "closures"));
    print_counters(out, "registry", json_object_get(status, "registry"));
    print_counters(out, "reloads ", json_object_get(status, "reloads"));
    fprintf(out, "log      dropped %lld lines\n", number_of(status, "logLinesDropped"));
}

static void print_interface(FILE *out, const json_t *interface)
{
    const json_t *packets = json_object_get(interface, "packets");

    fprintf(out, "%-16s %-10s %-4s", text_of(interface, "name"), text_of(interface, "state"),
            text_of(interface, "attach"));
    if (json_object_get(interface, "error") != NULL)
        fprintf(out, "  %s", text_of(interface, "error"));
    print_counters(out, "", packets);
}

void table_status(FILE *out, const json_t *status)
{
    json_t *item;
    size_t i;

    fprintf(out, "flowd %s, up %lld s, %s\n", text_of(status, "version"),
            number_of(status, "uptime"),
            json_is_true(json_object_get(status, "ready")) ? "ready" : "NOT READY");
    print_daemon(out, status);
    json_array_foreach (json_object_get(status, "modules"), i, item)
        print_module(out, item);
    json_array_foreach (json_object_get(status, "interfaces"), i, item)
        print_interface(out, item);
}
