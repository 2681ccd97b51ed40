/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scans of the netlink plugin. A scan has two parts, both done bit by bit: the dump, in which
 * new connections are announced as they are met, and the check of the known ones that the dump did
 * not have.
 *
 * Two sockets have the same addresses and ports one after the other where a port is used again; the
 * kernel's cookie tells them apart. Of a connection with both ends on this host only one end's
 * socket is looked at: the one with the higher port, which is usually the one that connected.
 */
#include "scanner.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "announcer.h"
#include "connections.h"
#include "counts.h"
#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/source.h"
#include "daemon/liveness/liveness.h"
#include "daemon/net/host.h"
#include "daemon/tcp/flow_socket.h"
#include "dump.h"
#include "filter.h"
#include "ignored.h"

#define NAME "netlink"
#define CHECKS_PER_TURN 8192
#define CONFIRM_S 0.1

enum stage {
    WAITING,  /* for the next scan */
    DUMPING,  /* connections are read */
    CHECKING, /* those that were missing are asked for */
};

struct flowd_netlink_scanner {
    const struct flowd_context *context;
    const struct flowd_netlink_config *config;
    struct flowd_netlink_announcer announcer;
    struct flowd_netlink_ignored ignored;
    struct flowd_connections connections;
    struct flowd_netlink_dump *dump;
    struct flowd_liveness *liveness; /* borrowed */
    struct ev_timer timer;
    enum stage stage;
    uint32_t scan;       /* its number; 0: none has been */
    int error;           /* for which the last one failed, a negative errno; 0: it did not */
    int64_t begun_us;    /* CLOCK_BOOTTIME */
    bool baseline;       /* what is met is known and not announced */
    bool without_filter; /* the kernel does not take it */
    size_t at;           /* connections up to here are to be checked */
    bool closed_found;   /* the check has met connections that are closed */
    bool confirming;     /* and is made once more, for them */
    struct flowd_netlink_scans counters;
    struct flowd_netlink_filter filter;
};

/* -- The dump ------------------------------------------------------------------------------- */

static void forget(struct flowd_netlink_scanner *scanner, size_t number)
{
    flowd_netlink_announcer_end_gone(&scanner->announcer, &scanner->connections.items[number]);
    flowd_connections_remove(&scanner->connections, number);
}

static void meet_known(struct flowd_netlink_scanner *scanner, struct flowd_connection *connection,
                       const struct flowd_tcp_sample *socket)
{
    bool reused = flowd_tcp_cookies_differ(connection->cookie, socket->cookie);

    if (connection->scan == scanner->scan)
        return;
    connection->scan = scanner->scan;
    connection->interface = socket->interface;
    if (!reused) {
        connection->cookie = socket->cookie;
        flowd_netlink_announcer_keep(&scanner->announcer, connection, !scanner->baseline);
        return;
    }
    scanner->counters.reused++;
    flowd_netlink_announcer_end_gone(&scanner->announcer, connection);
    connection->cookie = socket->cookie;
    if (flowd_netlink_announce(&scanner->announcer, &connection->key, &connection->flow) < 0)
        forget(scanner, (size_t)(connection - scanner->connections.items));
}

/* Whether it is the second end of a connection that has both on this host. */
static bool is_second_end(const struct flowd_netlink_scanner *scanner,
                          const struct flowd_flow_key *key)
{
    if (!flowd_host_is_local(scanner->context->host, key->family, &key->dst))
        return false;
    if (key->src_port != key->dst_port)
        return key->src_port < key->dst_port;
    return memcmp(&key->src, &key->dst, sizeof(key->src)) < 0;
}

static void meet_new(struct flowd_netlink_scanner *scanner, const struct flowd_tcp_socket *socket)
{
    static struct flowd_log_limit limit;
    struct flowd_connection connection = {.key = socket->key,
                                          .cookie = socket->sample.cookie,
                                          .scan = scanner->scan,
                                          .interface = socket->sample.interface};

    if (!scanner->baseline &&
        flowd_netlink_announce(&scanner->announcer, &connection.key, &connection.flow) < 0)
        return;
    if (flowd_connections_add(&scanner->connections, &connection) == 0)
        return;
    /* Not known, it would never end; the next scan tries again. */
    flowd_netlink_announcer_end(&scanner->announcer, &connection, FLOWD_LAST_ASK);
    flowd_log_limited(&limit, FLOWD_LOG_ERROR, NAME, "out of memory: a connection is not marked");
}

static void on_found(void *context, const struct flowd_tcp_socket *socket)
{
    struct flowd_netlink_scanner *scanner = context;
    size_t filtered = scanner->without_filter ? 0 : scanner->filter.networks;
    struct flowd_connection *connection;

    scanner->counters.seen++;
    if (flowd_netlink_ignored_holds(&scanner->ignored, filtered, socket->key.family,
                                    &socket->key.dst)) {
        scanner->counters.ignored++;
        return;
    }
    connection = flowd_connections_find(&scanner->connections, &socket->key);
    if (connection != NULL)
        meet_known(scanner, connection, &socket->sample);
    else if (!is_second_end(scanner, &socket->key))
        meet_new(scanner, socket);
}

/* -- The check ------------------------------------------------------------------------------ */

/* One batch of questions; numbers fall, so that a removal moves none that is still to come. */
struct batch {
    struct flowd_netlink_scanner *scanner;
    struct flowd_sock_diag_query queries[FLOWD_SOCK_DIAG_BATCH];
    size_t numbers[FLOWD_SOCK_DIAG_BATCH];
    bool gone[FLOWD_SOCK_DIAG_BATCH];
    size_t count;
};

/* Whether the socket is not that of the connection, or no connection's any more. */
static bool is_other(const struct flowd_netlink_scanner *scanner,
                     const struct flowd_connection *connection,
                     const struct flowd_tcp_socket *socket)
{
    switch (flowd_tcp_socket_life(socket)) {
    case FLOWD_TCP_GONE:
        return true;
    case FLOWD_TCP_CLOSED: /* its last acknowledgement may not have left yet */
        return scanner->confirming;
    case FLOWD_TCP_LINGERS: /* it has no cookie of its own */
        return false;
    case FLOWD_TCP_CONNECTED:
        break;
    }
    return flowd_tcp_cookies_differ(connection->cookie, socket->sample.cookie);
}

/* It was not, maybe, for an earlier process. */
static bool is_ignored(const struct flowd_netlink_scanner *scanner,
                       const struct flowd_connection *connection)
{
    return flowd_netlink_ignored_holds(&scanner->ignored, 0, connection->key.family,
                                       &connection->key.dst);
}

/* The connection is there although the dump did not have it, or has only just closed. */
static void keep_missed(struct flowd_netlink_scanner *scanner, struct flowd_connection *connection,
                        const struct flowd_tcp_socket *socket)
{
    if (flowd_tcp_socket_life(socket) == FLOWD_TCP_CLOSED) {
        scanner->closed_found = true;
        return;
    }
    scanner->counters.missed++;
    connection->scan = scanner->scan;
    if (flowd_tcp_socket_life(socket) == FLOWD_TCP_CONNECTED) {
        connection->cookie = socket->sample.cookie;
        connection->interface = socket->sample.interface;
    }
    flowd_netlink_announcer_keep(&scanner->announcer, connection, !scanner->baseline);
}

static void take_answer(void *context, size_t index, int error,
                        const struct flowd_tcp_socket *socket)
{
    struct batch *batch = context;
    struct flowd_netlink_scanner *scanner = batch->scanner;
    struct flowd_connection *connection = &scanner->connections.items[batch->numbers[index]];

    batch->gone[index] = error == -ENOENT ||
                         (error == 0 && is_other(scanner, connection, socket)) ||
                         is_ignored(scanner, connection);
    if (error == 0 && !batch->gone[index])
        keep_missed(scanner, connection, socket);
}

/*
 * Whether the socket is to be looked for on each interface: that of a connection that an earlier
 * process knew and this one never met.
 */
static bool may_be_elsewhere(const struct flowd_netlink_scanner *scanner,
                             const struct flowd_connection *connection)
{
    return connection->cookie == 0 && !is_ignored(scanner, connection) &&
           flowd_netlink_announcer_has(&scanner->announcer, connection);
}

/* Whether it is there, or the kernel does not say. */
static bool is_elsewhere(struct flowd_netlink_scanner *scanner, struct flowd_connection *connection)
{
    const struct flowd_sock_diag_query query = {
        .key = &connection->key, .local_is_src = true, .interface = FLOWD_ANY_INTERFACE};
    struct flowd_tcp_socket socket;
    int result = flowd_liveness_find(scanner->liveness, &query, &socket);

    if (result == -ENOENT || (result == 0 && is_other(scanner, connection, &socket)))
        return false;
    if (result == 0)
        keep_missed(scanner, connection, &socket);
    return true;
}

/* What there is no time for in this turn is asked again in the next one. */
static void scanner_ask(struct batch *batch)
{
    struct flowd_netlink_scanner *scanner = batch->scanner;

    flowd_liveness_ask(scanner->liveness, batch->queries, batch->count, take_answer, batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct flowd_connection *connection = &scanner->connections.items[batch->numbers[i]];

        if (!batch->gone[i])
            continue;
        if (may_be_elsewhere(scanner, connection)) {
            if (flowd_liveness_turn_over(scanner->liveness)) {
                scanner->at = batch->numbers[i] + 1;
                break;
            }
            if (is_elsewhere(scanner, connection))
                continue;
        }
        forget(scanner, batch->numbers[i]);
    }
    batch->count = 0;
}

/* Looks at the connection at number; asks for it if the dump did not have it. */
static void scanner_check(struct batch *batch, size_t number)
{
    struct flowd_netlink_scanner *scanner = batch->scanner;
    const struct flowd_connection *connection = &scanner->connections.items[number];

    if (connection->scan == scanner->scan)
        return;
    batch->numbers[batch->count] = number;
    batch->gone[batch->count] = false;
    batch->queries[batch->count++] = (struct flowd_sock_diag_query){
        .key = &connection->key, .local_is_src = true, .interface = connection->interface};
}

static void schedule(struct flowd_netlink_scanner *scanner, enum stage stage, double after_s)
{
    scanner->stage = stage;
    ev_timer_stop(scanner->context->loop, &scanner->timer);
    ev_timer_set(&scanner->timer, after_s, 0);
    ev_timer_start(scanner->context->loop, &scanner->timer);
}

/* Waits for what is left of the period. */
static void wait_for_next(struct flowd_netlink_scanner *scanner)
{
    int64_t due_us = scanner->begun_us + scanner->config->period_ms * 1000;
    int64_t left_us = due_us - flowd_timestamp_boot_us();

    schedule(scanner, WAITING, left_us > 0 ? (double)left_us / 1e6 : 0);
}

static void note_duration(struct flowd_netlink_scanner *scanner)
{
    scanner->counters.last_us = flowd_timestamp_boot_us() - scanner->begun_us;
    scanner->counters.late += scanner->counters.last_us > scanner->config->period_ms * 1000;
}

static void scanner_conclude(struct flowd_netlink_scanner *scanner)
{
    note_duration(scanner);
    wait_for_next(scanner);
}

/* Those that are closed are gone when they are looked at again. */
static void confirm_closed(struct flowd_netlink_scanner *scanner)
{
    note_duration(scanner);
    scanner->confirming = true;
    scanner->at = scanner->connections.count;
    schedule(scanner, CHECKING, CONFIRM_S);
}

static void continue_check(struct flowd_netlink_scanner *scanner)
{
    struct batch batch = {.scanner = scanner};

    for (int i = 0;
         i < CHECKS_PER_TURN && !flowd_liveness_turn_over(scanner->liveness) && scanner->at > 0;
         i++) {
        scanner_check(&batch, --scanner->at);
        if (batch.count == FLOWD_SOCK_DIAG_BATCH)
            scanner_ask(&batch);
    }
    if (batch.count > 0)
        scanner_ask(&batch);
    if (scanner->at > 0)
        schedule(scanner, CHECKING, 0);
    else if (scanner->confirming)
        wait_for_next(scanner);
    else if (scanner->closed_found)
        confirm_closed(scanner);
    else
        scanner_conclude(scanner);
}

/* -- The scan ------------------------------------------------------------------------------- */

static void scanner_begin(struct flowd_netlink_scanner *scanner);

static void drop_filter(struct flowd_netlink_scanner *scanner)
{
    scanner->without_filter = true;
    flowd_warning(NAME, "the kernel does not take the filter of networks: flowd does without, "
                        "which costs more");
}

static void on_failure(struct flowd_netlink_scanner *scanner, int error)
{
    if (error == -EINVAL && !scanner->without_filter && scanner->filter.length > 0) {
        drop_filter(scanner);
        scanner_begin(scanner);
        return;
    }
    scanner->counters.failed++;
    flowd_log(error != scanner->error ? FLOWD_LOG_WARNING : FLOWD_LOG_DEBUG, NAME,
              "a scan failed, the next one makes it good: %s", strerror(-error));
    scanner->error = error;
    scanner_conclude(scanner);
}

static void on_done(void *context, int error, bool interrupted)
{
    struct flowd_netlink_scanner *scanner = context;

    if (error < 0) {
        on_failure(scanner, error);
        return;
    }
    scanner->error = 0;
    scanner->counters.scans++;
    scanner->counters.interrupted += interrupted;
    scanner->at = scanner->connections.count;
    scanner->closed_found = scanner->confirming = false;
    if (!scanner->baseline) {
        schedule(scanner, CHECKING, 0);
        return;
    }
    /* What it may have skipped was there too. */
    scanner->baseline = interrupted;
    scanner_conclude(scanner);
}

static void scanner_begin(struct flowd_netlink_scanner *scanner)
{
    bool filtered = !scanner->without_filter && scanner->filter.length > 0;
    int result;

    scanner->stage = DUMPING;
    scanner->scan = scanner->scan < UINT32_MAX ? scanner->scan + 1 : 1;
    scanner->begun_us = flowd_timestamp_boot_us();
    scanner->counters.seen = scanner->counters.ignored = 0;
    result = flowd_netlink_dump_start(scanner->dump, filtered ? &scanner->filter : NULL);
    if (result < 0)
        on_failure(scanner, result);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_netlink_scanner *scanner = watcher->data;

    (void)loop;
    (void)events;
    if (scanner->stage == CHECKING)
        continue_check(scanner);
    else
        scanner_begin(scanner);
}

/* -- Life ----------------------------------------------------------------------------------- */

/* The flows that an earlier process announced are known, whether their connection is met or not. */
static int adopt_flows(struct flowd_netlink_scanner *scanner)
{
    const struct flowd_flow *flow;
    uint32_t cursor = 0;
    int result = 0;

    while (result == 0 && (flow = flowd_hub_next(scanner->context->hub, &cursor)) != NULL) {
        const struct flowd_connection connection = {.key = flow->key, .flow = flow->id};

        if (flowd_source_announced(scanner->announcer.source, flow))
            result = flowd_connections_add(&scanner->connections, &connection);
    }
    return result;
}

static int scanner_set_up(struct flowd_netlink_scanner *scanner, struct flowd_error *err)
{
    const struct flowd_netlink_config *config = scanner->config;
    const struct flowd_netlink_dump_reader reader = {
        .context = scanner, .found = on_found, .done = on_done};
    int result;

    scanner->announcer = (struct flowd_netlink_announcer){
        .context = scanner->context,
        .source = flowd_hub_source(scanner->context->hub, NAME),
        .tag = {.experiment = (uint16_t)config->experiment, .activity = (uint8_t)config->activity}};
    if (scanner->announcer.source == NULL)
        return flowd_fail_errno(err, ENOMEM, "scanner");
    result = flowd_netlink_ignored_init(&scanner->ignored, &config->internal_networks,
                                        config->ignore_private, err);
    if (result < 0)
        return result;
    flowd_netlink_filter_compile(scanner->ignored.networks, scanner->ignored.count,
                                 &scanner->filter);
    result = flowd_connections_init(&scanner->connections);
    if (result == 0)
        result = adopt_flows(scanner);
    if (result < 0)
        return flowd_fail_errno(err, -result, "scanner");
    result = flowd_liveness_open(scanner->liveness, err);
    if (result == 0)
        result = flowd_netlink_dump_new(scanner->context->loop, &reader, &scanner->dump, err);
    return result;
}

int flowd_netlink_scanner_new(const struct flowd_context *context,
                              const struct flowd_netlink_config *config,
                              struct flowd_netlink_scanner **out, struct flowd_error *err)
{
    struct flowd_netlink_scanner *scanner = calloc(1, sizeof(*scanner));
    int result;

    if (scanner == NULL)
        return flowd_fail_errno(err, ENOMEM, "scanner");
    scanner->context = context;
    scanner->liveness = context->liveness;
    scanner->config = config;
    scanner->baseline = true;
    ev_timer_init(&scanner->timer, on_timer, 0, 0);
    scanner->timer.data = scanner;
    result = scanner_set_up(scanner, err);
    if (result < 0) {
        flowd_netlink_scanner_free(scanner);
        return result;
    }
    /* At once, so that whatever is established after flowd has said that it is ready is new. */
    scanner_begin(scanner);
    while (scanner->stage == DUMPING)
        flowd_netlink_dump_finish(scanner->dump);
    *out = scanner;
    return 0;
}

void flowd_netlink_scanner_free(struct flowd_netlink_scanner *scanner)
{
    ev_timer_stop(scanner->context->loop, &scanner->timer);
    flowd_netlink_dump_free(scanner->dump);
    flowd_connections_fini(&scanner->connections);
    flowd_netlink_ignored_fini(&scanner->ignored);
    free(scanner);
}

void flowd_netlink_scanner_reload(struct flowd_netlink_scanner *scanner,
                                  const struct flowd_netlink_config *config)
{
    scanner->config = config;
    if (scanner->stage == WAITING)
        wait_for_next(scanner);
}

void flowd_netlink_scanner_count(const struct flowd_netlink_scanner *scanner,
                                 const struct flowd_counter_sink *sink)
{
    const struct flowd_netlink_counts counts = {
        .scans = scanner->counters,
        .started = scanner->announcer.started,
        .ended = scanner->announcer.ended,
        .refused = scanner->announcer.refused,
        .known = scanner->connections.count,
        .networks = scanner->ignored.count,
        .networks_in_kernel = scanner->without_filter ? 0 : scanner->filter.networks,
    };

    flowd_netlink_counts_put(&counts, sink);
}
