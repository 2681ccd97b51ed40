/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marker backend: life cycle, options and status. Flows go to entries.c, interfaces to
 * attach.c, the program and its maps are program.c's.
 *
 * start() loads the program onto the pinned maps of an earlier process, if there are any, and
 * touches nothing else: the earlier process's program goes on marking. The first commit puts the
 * program in the earlier one's place; where the maps are new, the commit that comes when the hub
 * has told of every restored flow does, and pins them. Entries that are missing are written as the
 * flows are told of, and stale ones deleted after that. So no packet of a flow that is live across
 * a restart leaves without its mark.
 */
#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "clean.h"
#include "config.h"
#include "daemon/base/log.h"
#include "daemon/flow/flow_table.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/metrics/counter.h"
#include "daemon/net/host.h"
#include "entries.h"
#include "hook.h"
#include "others.h"
#include "pins.h"
#include "pins_care.h"
#include "program.h"
#include "revision.h"
#include "watch.h"

#define RETRY_S 1.0
#define VERIFY_S 1.0
#define QUIET_S 0.1
#define ENTRIES_MIN 1024u
#define SWEEP_BUCKETS 4096u /* in one turn */

struct marker {
    const struct flowd_context *context;
    const struct flowd_marker_config *config;
    struct marker_pins pins;
    struct marker_program program;
    struct marker_entries entries;
    struct marker_attach attach;
    struct marker_revision revision;
    struct flowd_host_observer observer;
    struct ev_timer retry;
    struct ev_timer verify;
    struct marker_watch watch;
    struct marker_pins_care care;
    struct ev_timer quiet;    /* runs for a moment after the watch was heard */
    struct ev_timer sweeping; /* removes what is in adopted maps of flows that are gone */
    size_t swept;             /* entries that went */
    bool to_sweep;            /* adopted maps are not swept yet, nor begun with */
    bool published;           /* the program is in place */
    bool outdated;            /* addresses changed before that */
};

static struct marker *marker_of_observer(struct flowd_host_observer *observer)
{
    return (struct marker *)((char *)observer - offsetof(struct marker, observer));
}

/* Looks at some of the interfaces, and brings what is said of flows up to date. */
static void verify_interfaces(struct marker *marker)
{
    marker_attach_verify(&marker->attach, ev_now(marker->context->loop));
    marker->entries.attached = marker_attach_any(&marker->attach);
    marker->entries.seeing = marker_attach_any_seeing(&marker->attach);
}

/* Brings the interfaces, and what is said of flows, up to date. verify: also what is attached. */
static void sync_interfaces(struct marker *marker, bool verify)
{
    marker_attach_sync(&marker->attach);
    if (verify)
        marker_attach_doubt(&marker->attach, 0);
    verify_interfaces(marker);
}

static void retry_if_needed(struct marker *marker)
{
    bool needed =
        marker_entries_unfinished(&marker->entries) || marker_attach_failing(&marker->attach);

    if (needed && !ev_is_active(&marker->retry)) {
        ev_timer_set(&marker->retry, RETRY_S, 0);
        ev_timer_start(marker->context->loop, &marker->retry);
    }
}

static void on_retry(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct marker *marker = watcher->data;

    (void)loop;
    (void)events;
    if (marker_entries_unfinished(&marker->entries))
        marker_entries_retry(&marker->entries);
    if (marker_attach_failing(&marker->attach))
        sync_interfaces(marker, false);
    retry_if_needed(marker);
}

/* Removes what an earlier process left in the maps for flows that are gone, some in each turn. */
static void sweep_some(struct marker *marker)
{
    int result = marker_table_sweep(&marker->entries.table, SWEEP_BUCKETS, &marker->swept);

    marker->to_sweep = false;
    if (result > 0) {
        ev_timer_start(marker->context->loop, &marker->sweeping);
        return;
    }
    if (result < 0)
        flowd_err("marker", "stale entries can't be removed from the pinned maps: %s",
                  strerror(-result));
    else if (marker->swept > 0)
        flowd_info("marker", "removed %zu entries of flows that are gone", marker->swept);
}

static void on_sweeping(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    sweep_some(watcher->data);
}

/* Nothing tells when somebody else takes a link off an interface, or puts one before it. */
static void on_verify(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct marker *marker = watcher->data;

    (void)events;
    marker_pins_care_look(&marker->care, &marker->pins, &marker->program, ev_now(loop));
    verify_interfaces(marker);
    retry_if_needed(marker);
}

static struct marker *marker_of_watch(struct marker_watch *watch)
{
    return (struct marker *)((char *)watch - offsetof(struct marker, watch));
}

static void on_filters_changed(struct marker_watch *watch, int index)
{
    marker_attach_doubt(&marker_of_watch(watch)->attach, index);
}

/* At once, but not again and again: a neighbour that never stops would keep flowd at it. */
static void on_filters_heard(struct marker_watch *watch)
{
    struct marker *marker = marker_of_watch(watch);

    if (!marker->published || ev_is_active(&marker->quiet))
        return;
    ev_timer_set(&marker->quiet, QUIET_S, 0);
    ev_timer_start(marker->context->loop, &marker->quiet);
    verify_interfaces(marker);
    retry_if_needed(marker);
}

/* What was heard in that moment. */
static void on_quiet(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct marker *marker = watcher->data;

    (void)loop;
    (void)events;
    verify_interfaces(marker);
    retry_if_needed(marker);
}

static void on_revised(struct marker_revision *revision)
{
    retry_if_needed((struct marker *)((char *)revision - offsetof(struct marker, revision)));
}

static void on_host_changed(struct flowd_host_observer *observer, bool links, bool addresses)
{
    struct marker *marker = marker_of_observer(observer);

    if (!marker->published) {
        marker->outdated |= addresses;
        return;
    }
    if (addresses)
        marker_revision_start(&marker->revision);
    if (links || addresses)
        sync_interfaces(marker, links);
    retry_if_needed(marker);
}

static void warn_without_pins(const struct flowd_marker_config *config)
{
    flowd_warning(
        "marker",
        "pinPath \"%s\" is not on a mounted BPF file system%s: flowd marks without pins, so "
        "a crash or restart leaves packets unmarked until flowd is back%s",
        config->pin_path, flowd_error_remedy(),
        config->on_exit == MARKER_ON_EXIT_KEEP ? ", and onExit \"keep\" keeps nothing" : "");
}

/* Room for both directions of every flow; also of those that are live beyond a lowered flows.max.
 */
static uint32_t entries_max(const struct flowd_context *context)
{
    size_t live = flowd_hub_live(context->hub);
    size_t wanted = 2 * (live > context->flows_max ? live : context->flows_max);

    return wanted < ENTRIES_MIN ? ENTRIES_MIN : (uint32_t)wanted;
}

static struct flowd_marker_mark general_mark(const struct flowd_marker_config *config)
{
    const struct flowd_tag *tag = &config->general;

    return (struct flowd_marker_mark){
        .label = flowd_flow_label(tag->experiment, tag->activity, 0),
        .experiment = tag->experiment,
        .activity = tag->activity,
    };
}

static int init_entries(struct marker *marker)
{
    struct marker_table_maps maps = marker_program_maps(&marker->program);

    maps.expected = MARKER_DIRECTIONS * flowd_hub_live(marker->context->hub);
    return marker_entries_init(&marker->entries, marker->context->hub, marker->context->host, &maps,
                               marker_config_experiment_max(marker->config));
}

/* Pinned maps in which there is no table, or too small a one, are replaced. */
static int open_entries(struct marker *marker, const struct marker_program_settings *settings,
                        struct flowd_error *err)
{
    const struct marker_pins none = {.directory = -1};
    int result = init_entries(marker);

    if (result == -EUCLEAN && marker->program.adopted) {
        marker_program_close(&marker->program);
        result = marker_program_load(&marker->program, settings, &none, err);
        if (result < 0)
            return result;
        marker->program.replaces = true;
        result = init_entries(marker);
    }
    return result < 0 ? flowd_fail_errno(err, -result, "flow map") : 0;
}

/* Opens pins, program and entries in this order; on failure closes what it opened. */
static int open_kernel_side(struct marker *marker, struct flowd_error *err)
{
    const struct flowd_marker_config *config = marker->config;
    const struct marker_program_settings settings = {
        .strategy = (enum flowd_marker_strategy)config->strategy,
        .encoding = (enum flowd_marker_encoding)config->option_encoding,
        .match_source = config->match_source,
        .match_all = config->match_all,
        .general = general_mark(config),
        .mss_reduction = (unsigned)config->mss_reduction,
        .debug = config->debug_mode,
        .entries_max = entries_max(marker->context),
    };
    int result = marker_program_check_privileges(err);

    if (result < 0)
        return result;
    result = marker_pins_open(&marker->pins, config->pin_path, MARKER_PINS_CREATE, err);
    if (result < 0)
        return result;
    result = marker_program_load(&marker->program, &settings, &marker->pins, err);
    if (result == 0) {
        result = marker_attach_init(&marker->attach, marker->context->host, &marker->program,
                                    &marker->pins, config, err);
        if (result == 0)
            result = open_entries(marker, &settings, err);
        if (result < 0)
            marker_program_close(&marker->program);
    }
    if (result < 0)
        marker_pins_close(&marker->pins);
    return result;
}

static void close_kernel_side(struct marker *marker)
{
    marker_attach_fini(&marker->attach);
    marker_entries_fini(&marker->entries);
    marker_program_close(&marker->program);
    marker_pins_close(&marker->pins);
}

/* Prepares for the flows that the hub will tell of, and for what the maps may have of them. */
static int expect_flows(struct marker *marker)
{
    marker->to_sweep = marker->program.adopted;
    return marker_table_expect(&marker->entries.table, flowd_hub_live(marker->context->hub));
}

static int marker_start(const struct flowd_context *context, const void *config, void **instance,
                        struct flowd_error *err)
{
    struct marker *marker = calloc(1, sizeof(*marker));
    struct flowd_error watch_err;
    int result;

    if (marker == NULL)
        return flowd_fail_errno(err, ENOMEM, "marker");
    marker->context = context;
    marker->config = config;
    marker_program_route_messages();
    result = open_kernel_side(marker, err);
    if (result < 0) {
        free(marker);
        return result;
    }
    result = expect_flows(marker);
    if (result < 0) {
        close_kernel_side(marker);
        free(marker);
        return flowd_fail_errno(err, -result, "flow map");
    }
    if (marker->pins.path == NULL)
        warn_without_pins(config);
    marker_hook_check_links(&marker->pins);
    marker_others_warn(&marker->attach);
    if (marker->program.no_path_mtu != NULL)
        flowd_warning("marker",
                      "the MTU of routes can't be read: %s; TCP packets are marked where the "
                      "socket's segment size leaves room, UDP packets where the interface's MTU "
                      "does, whatever the path",
                      marker->program.no_path_mtu);
    if (marker->program.fault != NULL)
        flowd_warning("marker", "%s/%s %s: the pinned maps are replaced", marker->pins.path,
                      marker->program.faulty, marker->program.fault);
    else if (marker->program.replaces)
        flowd_info("marker", "the pinned maps have another layout: they are replaced");
    else if (marker->program.adopted)
        flowd_info("marker", "took over the pinned maps of an earlier flowd");
    marker->entries.slot = flowd_hub_next_slot(context->hub);
    ev_timer_init(&marker->retry, on_retry, RETRY_S, 0);
    ev_timer_init(&marker->verify, on_verify, VERIFY_S, VERIFY_S);
    marker->watch.changed = on_filters_changed;
    marker->watch.done = on_filters_heard;
    if (!marker->attach.tcx && marker_watch_open(&marker->watch, context->loop, &watch_err) < 0)
        flowd_warning("marker", "changed filters are noticed late: %s", watch_err.message);
    ev_timer_init(&marker->quiet, on_quiet, QUIET_S, 0);
    ev_timer_init(&marker->sweeping, on_sweeping, 0, 0);
    marker->retry.data = marker->verify.data = marker->quiet.data = marker->sweeping.data = marker;
    marker_revision_init(&marker->revision, context->loop, &marker->entries, on_revised);
    marker->observer.changed = on_host_changed;
    flowd_host_observe(context->host, &marker->observer);
    *instance = marker;
    return 0;
}

static int marker_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct marker *marker = instance;

    (void)err;
    marker->config = config;
    marker->attach.config = config;
    if (marker->published)
        sync_interfaces(marker, true);
    retry_if_needed(marker);
    return 0;
}

static void marker_stop(void *instance)
{
    struct marker *marker = instance;

    flowd_host_unobserve(marker->context->host, &marker->observer);
    ev_timer_stop(marker->context->loop, &marker->retry);
    ev_timer_stop(marker->context->loop, &marker->verify);
    ev_timer_stop(marker->context->loop, &marker->quiet);
    marker_watch_close(&marker->watch);
    ev_timer_stop(marker->context->loop, &marker->sweeping);
    marker_revision_stop(&marker->revision);
    /* A process that never came to its first commit leaves what it found. */
    if (marker->published && marker->config->on_exit == MARKER_ON_EXIT_DETACH) {
        marker_attach_detach_all(&marker->attach);
        marker_pins_clear(&marker->pins, NULL, NULL);
    }
    close_kernel_side(marker);
    free(marker);
}

static int marker_accept(void *instance, const struct flowd_event *event, struct flowd_error *err)
{
    const struct marker *marker = instance;

    if (event->experiment > marker->entries.experiment_max)
        return flowd_fail_field(err, ERANGE, "experiment", "%u does not fit a flow label (0-%u)",
                                event->experiment, marker->entries.experiment_max);
    return 0;
}

static void marker_flow_expected(void *instance, const struct flowd_flow_key *key)
{
    marker_entries_expect(&((const struct marker *)instance)->entries, key);
}

static void marker_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    (void)restored;
    marker_entries_start(&((struct marker *)instance)->entries, flow);
}

static void marker_flow_end(void *instance, struct flowd_flow *flow)
{
    marker_entries_end(&((struct marker *)instance)->entries, flow);
}

/* The maps mark what they have to: the program may be put in place. */
static void publish(struct marker *marker)
{
    int result;

    sync_interfaces(marker, false);
    if (!marker->program.adopted) {
        result = marker_program_pin(&marker->program, &marker->pins);
        if (result < 0)
            flowd_warning("marker",
                          "the maps can't be pinned (%s): a restart leaves packets unmarked until "
                          "flowd is back",
                          strerror(-result));
    }
    marker_attach_sweep(&marker->attach);
    ev_timer_start(marker->context->loop, &marker->verify);
    marker->published = true;
    if (marker->outdated)
        marker_revision_start(&marker->revision);
}

/*
 * Maps that were taken over mark the flows that are restored, told of or not. Others, and the
 * program that reads them, have to wait until each flow has its entry.
 */
static void marker_commit(void *instance)
{
    struct marker *marker = instance;
    bool restoring = flowd_hub_is_restoring(marker->context->hub);

    marker_entries_commit(&marker->entries);
    if (!marker->published && (marker->program.adopted || !restoring))
        publish(marker);
    if (!restoring) {
        marker_table_expect(&marker->entries.table, 0);
        if (marker->to_sweep)
            sweep_some(marker);
    }
    retry_if_needed(marker);
}

static const struct flowd_backend_status statuses[MARKER_STATUSES] = {
    [MARKER_STATUS_NONE] = {"none", false},
    [MARKER_STATUS_MARKED] = {"marked", false},
    [MARKER_STATUS_FORWARDED] = {"forwarded", false},
    [MARKER_STATUS_NO_INTERFACE] = {"no-interface", false},
    [MARKER_STATUS_SHADOWED] = {"shadowed", false},
    [MARKER_STATUS_NOT_IPV6] = {"not-ipv6", false},
    [MARKER_STATUS_NO_LABEL] = {"no-label", false},
    [MARKER_STATUS_FAILED] = {"failed", true},
    [MARKER_STATUS_UNMARKED] = {"unmarked", false},
};

static const struct flowd_backend_status *marker_show_status(const void *instance,
                                                             const struct flowd_flow *flow)
{
    const struct marker *marker = instance;

    return &statuses[marker_entries_status(&marker->entries, flow)];
}

static int marker_ready(const void *instance, struct flowd_error *err)
{
    const struct marker *marker = instance;
    int result = marker->published
                     ? marker_entries_ready(&marker->entries, err)
                     : flowd_fail(err, EAGAIN, "flows of an earlier run are being restored");

    return result < 0 ? result : marker_attach_ready(&marker->attach, err);
}

static void marker_status(const void *instance, json_t *object)
{
    const struct marker *marker = instance;

    json_object_set_new(object, "strategy",
                        json_string(marker_strategy_names[marker->config->strategy]));
    if (marker->config->strategy != FLOWD_MARKER_LABEL)
        json_object_set_new(object, "optionEncoding",
                            json_string(marker_encoding_names[marker->config->option_encoding]));
    json_object_set_new(object, "matchAll", json_boolean(marker->config->match_all));
    json_object_set_new(object, "attach", json_string(marker->attach.tcx ? "tcx" : "tc"));
    json_object_set_new(object, "pinned", json_boolean(marker->pins.path != NULL));
}

struct marker_counts {
    uint64_t entries, failed, forwarded;
};

static const struct flowd_metric marker_entries = {"flowd_marker_entries", FLOWD_METRIC_GAUGE,
                                                   "Entries in the kernel's map of marks."};
static const struct flowd_metric marker_failed = {
    "flowd_marker_failed_entries", FLOWD_METRIC_GAUGE,
    "Entries that the kernel refused; they are tried again."};
static const struct flowd_metric marker_forwarded = {
    "flowd_marker_forwarded_flows", FLOWD_METRIC_GAUGE,
    "Live IPv6 flows of which neither end is an address of this host."};

static const struct flowd_counter marker_counters[] = {
    {.key = "entries", .metric = &marker_entries, FLOWD_COUNTED(struct marker_counts, entries)},
    {.key = "entriesFailed", .metric = &marker_failed, FLOWD_COUNTED(struct marker_counts, failed)},
    {.key = "flowsForwarded",
     .metric = &marker_forwarded,
     FLOWD_COUNTED(struct marker_counts, forwarded)},
    {.key = NULL},
};

static void marker_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct marker *marker = instance;
    const struct marker_counts counts = {.entries = marker_entries_written(&marker->entries),
                                         .failed = marker->entries.failed.count,
                                         .forwarded = marker->entries.forwarded};

    flowd_counters_put(sink, marker_counters, &counts, NULL);
    marker_attach_count(&marker->attach, sink);
}

static int marker_clean_up(const void *config, const struct flowd_strings *interfaces,
                           struct flowd_messages *removed, struct flowd_error *err)
{
    return marker_clean(config, interfaces, removed, err);
}

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .show_status = marker_show_status,
    .accept = marker_accept,
    .flow_expected = marker_flow_expected,
    .flow_start = marker_flow_start,
    .flow_end = marker_flow_end,
    .commit = marker_commit,
};

const struct flowd_module flowd_backend_marker = {
    .kind = FLOWD_BACKEND,
    .name = "marker",
    .alias = "ebpf",
    .summary = "marks the outgoing packets of flows",
    .options = marker_options,
    .config_size = sizeof(struct flowd_marker_config),
    .can_be_left_out = true,
    .check = marker_config_check,
    .translate = marker_config_translate,
    .warn = marker_config_warn,
    .share = marker_config_share,
    .start = marker_start,
    .reload = marker_reload,
    .stop = marker_stop,
    .ready = marker_ready,
    .status = marker_status,
    .count = marker_count,
    .clean = marker_clean_up,
    .backend = &ops,
};
