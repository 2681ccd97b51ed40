/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marker's options: their table, the mistakes and warnings that no single row shows, the older
 * spellings that are translated, and the tag for packets of no flow that a plugin may name.
 */
#include "config.h"

#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "daemon/net/link_names.h"

const char *const marker_strategy_names[] = {"label", "hopByHop", "destination",
                                             "hopByHopDestination", NULL};
/* flowd-go's strategy that is two settings here. */
#define FLOW_LABEL_MATCH_ALL "flowLabelMatchAll"
static const struct flowd_choice_alias strategy_aliases[] = {
    {"flowLabel", FLOWD_MARKER_LABEL},
    {"hopByHopHeader", FLOWD_MARKER_HOP_BY_HOP},
    {"hopByHopDestHeaders", FLOWD_MARKER_HOP_BY_HOP_DESTINATION},
    {"hopByHopAndDestination", FLOWD_MARKER_HOP_BY_HOP_DESTINATION},
    {"destinationHeader", FLOWD_MARKER_DESTINATION},
    {FLOW_LABEL_MATCH_ALL, FLOWD_MARKER_LABEL},
    {NULL, 0},
};
const char *const marker_encoding_names[] = {"scitags", "2024", NULL};
static const char *const attach_names[] = {"auto", "tcx", "tc", NULL};
static const char *const on_exit_names[] = {"detach", "keep", NULL};

#define AT(member) offsetof(struct flowd_marker_config, member)
const struct flowd_option marker_options[] = {
    {.key = "targetInterfaces",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(target_interfaces),
     .default_json = "[\"lo\"]",
     .doc = "Interfaces whose outgoing packets are marked; one that is not there is waited for.",
     .alias = "targetInterface",
     .reload = true},
    {.key = "discoverInterfaces",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(discover_interfaces),
     .default_json = "false",
     .doc = "Mark on every interface with a global IPv6 address, in place of the list.",
     .reload = true},
    {.key = "markingStrategy",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(strategy),
     .default_json = "\"label\"",
     .doc = "Where the mark is written.",
     .choices = marker_strategy_names,
     .aliases = strategy_aliases},
    {.key = "optionEncoding",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(option_encoding),
     .default_json = "\"scitags\"",
     .doc = "The bytes of the option in an extension header.",
     .choices = marker_encoding_names},
    {.key = "matchAll",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(match_all),
     .default_json = "false",
     .doc = "Mark every outgoing IPv6 packet with the tag of plugins.perfsonar, which sets this."},
    {.key = "matchSource",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(match_source),
     .default_json = "false",
     .doc = "The source address of a packet must match too."},
    {.key = "mssReduction",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(mss_reduction),
     .default_json = "0",
     .min = 0,
     .max = FLOWD_MARKER_ADDED_MAX,
     .unit = "bytes",
     .doc = "By how much TCP's segment size was lowered, here or at the other end, to leave room "
            "for marks; 0: it was not."},
    {.key = "attach",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(attach),
     .default_json = "\"auto\"",
     .doc = "How the program is attached; auto is tcx where the kernel has it, else tc.",
     .choices = attach_names},
    {.key = "removeQdisc",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(remove_qdisc),
     .default_json = "true",
     .doc = "On exit remove the clsact qdisc, if flowd made it and nobody else uses it.",
     .reload = true},
    {.key = "pinPath",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(pin_path),
     .default_json = "\"/sys/fs/bpf/flowd\"",
     .doc = "Where maps and links are pinned; one daemon for each path."},
    {.key = "onExit",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(on_exit),
     .default_json = "\"detach\"",
     .doc = "With keep, marking goes on while flowd is restarted or upgraded.",
     .choices = on_exit_names,
     .reload = true},
    {.key = "debugMode",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(debug_mode),
     .default_json = "false",
     .doc = "Trace each marked packet to trace_pipe."},
    {.key = "programPath",
     .type = FLOWD_OPTION_EMPTY,
     .instead = "flowd's BPF program is part of it, and it loads no other",
     .doc = "Accepted from flowd-go where it is empty, no effect."},
    {.key = "forceHookRemoval",
     .type = FLOWD_OPTION_IGNORED,
     .instead = "onExit and removeQdisc say what stays, and nothing of others is removed",
     .doc = "Accepted from flowd-go, no effect."},
    {.key = NULL},
};

unsigned marker_config_experiment_max(const struct flowd_marker_config *config)
{
    if (config->strategy != FLOWD_MARKER_LABEL && config->option_encoding == FLOWD_MARKER_SCITAGS)
        return UINT16_MAX;
    return FLOWD_LABEL_EXPERIMENT_MAX;
}

void marker_config_share(void *values, const char *path, struct flowd_shared *shared,
                         struct flowd_messages *errors)
{
    struct flowd_marker_config *config = values;
    unsigned most = marker_config_experiment_max(config);

    if (shared->general_tag_plugin == NULL) {
        if (config->match_all)
            flowd_messages_add(
                errors, "%s.matchAll: true needs plugins.perfsonar, which names the tag", path);
        return;
    }
    config->match_all = true;
    config->general = shared->general_tag;
    shared->general_tag_taken = true;
    if (config->general.experiment > most)
        flowd_messages_add(errors,
                           "plugins.perfsonar.experimentId: %u does not fit a flow label, which "
                           "%s writes; allowed: 0-%u",
                           config->general.experiment, path, most);
}

void marker_config_check(const void *values, const char *path, struct flowd_messages *errors)
{
    const struct flowd_marker_config *config = values;

    for (size_t i = 0; i < config->target_interfaces.count; i++) {
        const char *name = config->target_interfaces.items[i];

        if (name[0] == '\0' || strlen(name) >= FLOWD_LINK_NAME_SIZE ||
            strpbrk(name, "/ \t\n") != NULL)
            flowd_messages_add(errors, "%s.targetInterfaces: \"%s\" can't be an interface's name",
                               path, name);
    }
    if (config->pin_path[0] != '\0' && config->pin_path[0] != '/')
        flowd_messages_add(errors, "%s.pinPath: \"%s\" is not an absolute path", path,
                           config->pin_path);
}

void marker_config_translate(json_t *object, const char *path, struct flowd_options_report *report)
{
    const char *strategy = json_string_value(json_object_get(object, "markingStrategy"));

    (void)path;
    if (strategy == NULL || strcasecmp(strategy, FLOW_LABEL_MATCH_ALL) != 0 ||
        json_object_get(object, "matchAll") != NULL)
        return;
    if (json_object_set_new(object, "matchAll", json_true()) < 0)
        report->errors.out_of_memory = true;
}

static void warn_of_targets(const struct flowd_marker_config *config, const char *path,
                            const struct flowd_host *host, struct flowd_messages *warnings)
{
    for (size_t i = 0; i < config->target_interfaces.count; i++) {
        const char *name = config->target_interfaces.items[i];
        const struct flowd_interface *interface = flowd_host_interface(host, name);

        if (interface == NULL)
            flowd_messages_add(warnings,
                               "%s.targetInterfaces: \"%s\" is not there; flowd waits for it", path,
                               name);
        else if (!interface->ipv6)
            flowd_messages_add(warnings,
                               "%s.targetInterfaces: \"%s\" has no IPv6 address, and only IPv6 "
                               "packets are marked%s",
                               path, name, (interface->flags & IFF_UP) == 0 ? "; it is down" : "");
    }
}

void marker_config_warn(const void *values, const char *path,
                        const struct flowd_environment *environment,
                        struct flowd_messages *warnings)
{
    const struct flowd_host *host = environment->host;
    const struct flowd_marker_config *config = values;
    const struct flowd_interface *interface;
    bool any = false;

    if (!config->discover_interfaces && config->target_interfaces.count == 0)
        flowd_messages_add(warnings,
                           "%s.targetInterfaces: the list is empty and discoverInterfaces false: "
                           "no packet is marked",
                           path);
    if (host == NULL)
        return;
    if (!config->discover_interfaces) {
        warn_of_targets(config, path, host, warnings);
        return;
    }
    for (int index = 0; (interface = flowd_host_next(host, index)) != NULL;
         index = interface->index)
        any |= interface->global_ipv6;
    if (!any)
        flowd_messages_add(warnings,
                           "%s.discoverInterfaces: no interface has a global IPv6 address", path);
}
