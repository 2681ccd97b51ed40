/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a default of flowd-go differs and others rely on it (ports that are scraped, pipes that are
 * written), it is written out; where a path is meant for flowd-go's own files, flowd's is taken.
 */
#include "daemon/convert/flowd_go.h"

#include <string.h>

#define STUN_PREFIX "stun:"
#define NETLINK_PORT 8080

static json_t *module_of(json_t *root, const char *section, const char *name)
{
    return json_object_get(json_object_get(root, section), name);
}

/* A key without a value switches nothing on in flowd-go. */
static void drop_nulls(json_t *object, const char *path, struct flowd_messages *notes)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe (object, next, key, value) {
        if (!json_is_null(value))
            continue;
        flowd_messages_add(notes, "%s%s%s: has no value, which means that it is not there", path,
                           path[0] != '\0' ? "." : "", key);
        json_object_del(object, key);
    }
}

static void convert_files(json_t *root, struct flowd_messages *notes)
{
    const char *directory = json_string_value(json_object_get(root, "workDir"));
    const char *pid = json_string_value(json_object_get(root, "pidPath"));

    if (json_object_get(root, "pidPath") == NULL)
        flowd_messages_add(notes, "pidPath: flowd-go writes /var/run/flowd-go.pid where nothing is "
                                  "said, flowd writes no such file");
    else if (pid != NULL && pid[0] != '\0')
        flowd_messages_add(notes,
                           "pidPath: the directory of \"%s\" has to be there, and flowd's user "
                           "has to be allowed to write there; under systemd nobody needs the file",
                           pid);
    if (directory != NULL && (directory[0] != '/' || strstr(directory, "flowd-go") != NULL)) {
        flowd_messages_add(notes,
                           "workDir: \"%s\" is flowd-go's own; stateDir, where live flows "
                           "outlast a restart, is /var/lib/flowd",
                           directory);
        json_object_del(root, "workDir");
    }
    if (json_object_get(root, "defaultBackend") != NULL) {
        flowd_messages_add(notes, "defaultBackend: has no effect, left out");
        json_object_del(root, "defaultBackend");
    }
}

static void convert_fifo(json_t *root, struct flowd_messages *notes)
{
    json_t *fifo = module_of(root, "plugins", "namedPipe");
    const char *path = json_string_value(json_object_get(fifo, "pipePath"));

    if (fifo != NULL && path == NULL)
        flowd_messages_add(notes,
                           "plugins.namedPipe.pipePath: flowd-go makes \"np\" in its working "
                           "directory where nothing is said, flowd /run/flowd");
    else if (path != NULL && path[0] != '/')
        flowd_messages_add(notes,
                           "plugins.namedPipe.pipePath: \"%s\" is looked for in the working "
                           "directory, which is / under systemd",
                           path);
    else if (path != NULL && strstr(path, "/flowd-go/") != NULL)
        flowd_messages_add(notes,
                           "plugins.namedPipe.pipePath: the directory of \"%s\" was made by "
                           "flowd-go's unit; it has to be there",
                           path);
}

/* The manual writes activityID and experimentID, which flowd-go does not read. */
static void convert_general_tag(json_t *root, struct flowd_messages *notes)
{
    static const char *const names[][2] = {{"activityID", "activityId"},
                                           {"experimentID", "experimentId"}};
    json_t *perfsonar = module_of(root, "plugins", "perfsonar");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *value = json_object_get(perfsonar, names[i][0]);

        if (value == NULL)
            continue;
        flowd_messages_add(notes,
                           "plugins.perfsonar.%s: flowd-go reads %s alone and marks with 0; "
                           "it is taken for that",
                           names[i][0], names[i][1]);
        if (json_object_get(perfsonar, names[i][1]) == NULL)
            json_object_set(perfsonar, names[i][1], value);
        json_object_del(perfsonar, names[i][0]);
    }
}

static void convert_metrics(json_t *root, struct flowd_messages *notes)
{
    json_t *prometheus = module_of(root, "backends", "prometheus");

    if (prometheus == NULL)
        return;
    if (json_object_get(prometheus, "netlinkPort") == NULL &&
        json_object_get(prometheus, "skopsPort") == NULL &&
        json_object_get(prometheus, "port") == NULL)
        json_object_set_new(prometheus, "port", json_integer(NETLINK_PORT));
    flowd_messages_add(notes, "backends.prometheus: one port has all metrics; flow_tcp_* have the "
                              "names and units of flowd, not those of flowd-go");
}

/* flowd has no other BPF programs than its own. */
static void drop_program(json_t *root, const char *section, const char *name,
                         struct flowd_messages *notes)
{
    json_t *module = module_of(root, section, name);
    const char *program = json_string_value(json_object_get(module, "programPath"));

    if (program == NULL || program[0] == '\0')
        return;
    flowd_messages_add(notes,
                       "%s.%s.programPath: \"%s\" is left out: flowd has no other program than its "
                       "own",
                       section, name, program);
    json_object_del(module, "programPath");
}

static void convert_programs(json_t *root, struct flowd_messages *notes)
{
    drop_program(root, "backends", "marker", notes);
    drop_program(root, "backends", "ebpf", notes);
    drop_program(root, "plugins", "iperf3", notes);
    drop_program(root, "enrichers", "skops", notes);
}

static void strip_scheme(json_t *servers)
{
    json_t *server;
    size_t index;

    json_array_foreach (servers, index, server) {
        const char *text = json_string_value(server);

        if (text != NULL && strncmp(text, STUN_PREFIX, strlen(STUN_PREFIX)) == 0)
            json_array_set_new(servers, index, json_string(text + strlen(STUN_PREFIX)));
    }
}

static void convert_fireflies(json_t *root, struct flowd_messages *notes)
{
    static const char *const switches[] = {"httpResolution", "stunResolution"};
    json_t *firefly = module_of(root, "backends", "firefly");
    json_t *stun = json_object_get(firefly, "stun");

    if (json_is_object(stun) && json_object_get(stun, "stunServers") == NULL) {
        json_object_set_new(
            stun, "stunServers",
            json_pack("[s,s]", "stun.l.google.com:3478", "stun1.l.google.com:3478"));
        flowd_messages_add(notes, "backends.firefly.stun.stunServers: flowd-go asks servers of "
                                  "Google where nothing is said; flowd asks whom it is told to, so "
                                  "two of them are written down");
    }
    if (json_is_false(json_object_get(firefly, "prependSyslog")))
        flowd_messages_add(notes, "backends.firefly.prependSyslog: false is kept, but collectors "
                                  "drop fireflies without that header");
    strip_scheme(json_object_get(root, "stunServers"));
    strip_scheme(json_object_get(stun, "stunServers"));
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (json_object_get(stun, switches[i]) == NULL)
            continue;
        flowd_messages_add(notes,
                           "backends.firefly.stun.%s: left out: STUN and http are asked "
                           "where stunServers and httpServices name somebody",
                           switches[i]);
        json_object_del(stun, switches[i]);
    }
    if (json_is_true(json_object_get(firefly, "enrich")))
        flowd_messages_add(notes, "backends.firefly.enrich: times in fireflies are milliseconds "
                                  "and rates bits a second, as with flowd; flowd-go has "
                                  "microseconds and bytes a second");
}

/* object[key] is value where nothing is there. */
static void set_missing(json_t *object, const char *key, json_t *value)
{
    if (json_object_get(object, key) == NULL)
        json_object_set(object, key, value);
}

static json_t *enrichers_of(json_t *root)
{
    if (json_object_get(root, "enrichers") == NULL)
        json_object_set_new(root, "enrichers", json_object());
    return json_object_get(root, "enrichers");
}

static void take_enricher(json_t *root, json_t *firefly, const char *key, const char *enricher)
{
    json_t *options;

    if (json_is_true(json_object_get(firefly, key))) {
        options = json_object();
        set_missing(enrichers_of(root), enricher, options);
        json_decref(options);
    }
    json_object_del(firefly, key);
}

/* Up to 2.2 the firefly backend sampled for itself: what an enricher does. */
static void convert_sampling(json_t *root, struct flowd_messages *notes)
{
    static const struct {
        const char *key, *enricher;
    } samplers[] = {
        {"addNetlinkContext", "netlink"},
        {"pollNetlink", "netlink"},
        {"addBPFContext", "skops"},
        {"pollBPF", "skops"},
    };
    static const char *const periodic[] = {"periodicFireflies", "pollNetlink", "pollBPF"};
    static const char *const periods[] = {"period", "netlinkPollingInterval"};
    json_t *firefly = module_of(root, "backends", "firefly");
    json_t *verbosity = json_object_get(firefly, "enrichmentVerbosity");
    size_t before = json_object_size(firefly);

    for (size_t i = 0; i < sizeof(periodic) / sizeof(periodic[0]); i++)
        if (json_is_true(json_object_get(firefly, periodic[i])))
            set_missing(firefly, "enrich", json_true());
    json_object_del(firefly, "periodicFireflies");
    for (size_t i = 0; i < sizeof(samplers) / sizeof(samplers[0]); i++)
        take_enricher(root, firefly, samplers[i].key, samplers[i].enricher);
    for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
        if (json_is_true(json_object_get(firefly, "enrich")) &&
            json_object_get(firefly, periods[i]) != NULL)
            set_missing(enrichers_of(root), "period", json_object_get(firefly, periods[i]));
        json_object_del(firefly, periods[i]);
    }
    if (verbosity != NULL)
        set_missing(firefly, "enrichmentMode", verbosity);
    json_object_del(firefly, "enrichmentVerbosity");
    if (json_object_size(firefly) != before)
        flowd_messages_add(notes, "backends.firefly: what had it sample TCP statistics itself "
                                  "became enrichers, their period (ms) and \"enrich\"");
}

/* "address:port" of one of plugins.firefly.fireflyReceivers; NULL: it is none. Returns owned. */
static json_t *receiver_of(json_t *one)
{
    const char *address = json_string_value(json_object_get(one, "address"));
    const json_t *port = json_object_get(one, "port");

    if (json_is_string(one))
        return json_incref(one);
    if (address == NULL || !json_is_integer(port))
        return NULL;
    return json_sprintf(strchr(address, ':') != NULL ? "[%s]:%lld" : "%s:%lld", address,
                        (long long)json_integer_value(port));
}

/* The plugin's receivers need the backend, which sends; one that is made for it sends nothing else.
 */
static void need_sender(json_t *root)
{
    if (!json_is_object(json_object_get(root, "backends")))
        json_object_set_new(root, "backends", json_object());
    if (!json_is_object(module_of(root, "backends", "firefly")))
        json_object_set_new(json_object_get(root, "backends"), "firefly",
                            json_pack("{s:b}", "sendToDestination", 0));
}

/* Whom flowd-go sends what it has heard, as it came; written as all other places are. */
static void convert_receivers(json_t *root, struct flowd_messages *notes)
{
    static const char *const names[] = {"firefly", "fireflyp"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *listener = module_of(root, "plugins", names[i]);
        json_t *receivers = json_object_get(listener, "fireflyReceivers"), *one;
        json_t *places = json_array();
        size_t index;

        json_array_foreach (receivers, index, one)
            if (json_array_append_new(places, receiver_of(one)) < 0)
                flowd_messages_add(notes,
                                   "plugins.firefly.fireflyReceivers: entry %zu has no address "
                                   "and port, left out",
                                   index + 1);
        if (receivers != NULL)
            json_object_set(listener, "fireflyReceivers", places);
        if (json_array_size(places) > 0)
            need_sender(root);
        json_decref(places);
    }
}

void flowd_go_convert(json_t *root, struct flowd_messages *notes)
{
    static const char *const sections[] = {"plugins", "backends", "enrichers"};

    drop_nulls(root, "", notes);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        drop_nulls(json_object_get(root, sections[i]), sections[i], notes);
    convert_files(root, notes);
    convert_fifo(root, notes);
    convert_general_tag(root, notes);
    convert_metrics(root, notes);
    convert_programs(root, notes);
    convert_receivers(root, notes);
    convert_sampling(root, notes);
    convert_fireflies(root, notes);
}
