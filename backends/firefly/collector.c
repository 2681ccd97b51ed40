/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one collector is. UDP tells of failures only: a collector is down from the first ICMP error
 * or refused datagram on, and up again when datagrams have gone to it for RECOVERY_S without one.
 * Each change is logged once, whatever the rate of fireflies. Where its name has several addresses,
 * trouble with one is a reason to try the next one.
 *
 * Fireflies of flows that start before the first address is known (right after boot there may be no
 * network yet) wait for it, some and for a while; later ones are dropped and counted.
 */
#include "collector.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/vector.h"
#include "daemon/net/address.h"

#define RECOVERY_S 5
#define OTHER_ADDRESS_S 1
#define PATIENCE_S 30
#define WAITING_MAX 4096
#define WAITING_BYTES_MAX (4 << 20)

void collector_name_format(const struct flowd_host_port *place,
                           char buffer[static COLLECTOR_NAME_SIZE])
{
    bool is_v6 = strchr(place->host, ':') != NULL;

    snprintf(buffer, COLLECTOR_NAME_SIZE, "%s%s%s:%u", is_v6 ? "[" : "", place->host,
             is_v6 ? "]" : "", place->port);
}

static bool has_address(const struct collector *collector)
{
    return collector->address.ss_family != 0;
}

/* By family, address and port. */
static bool is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in *b4 = (const struct sockaddr_in *)b;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a6->sin6_port == b6->sin6_port &&
           memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static uint64_t attempts(const struct collector *collector)
{
    return collector->counts.sent + collector->counts.failed + collector->counts.dropped;
}

/* The address that follows one; the first where that is not among them; NULL: there are none. */
static const struct flowd_address *find_next(const struct collector *collector,
                                             const struct sockaddr_storage *one, bool *is_there)
{
    size_t count;
    const struct flowd_address *addresses = flowd_name_addresses(collector->resolved, &count);

    *is_there = false;
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_storage each;

        flowd_endpoint_make(addresses[i].family, &addresses[i].addr, collector->place.port, &each);
        if (is_same(&each, one)) {
            *is_there = true;
            return &addresses[(i + 1) % count];
        }
    }
    return count > 0 ? &addresses[0] : NULL;
}

static void use_address(struct collector *collector, const struct flowd_address *address)
{
    flowd_endpoint_make(address->family, &address->addr, collector->place.port,
                        &collector->address);
}

/* Notes that something speaks against the collector; returns whether nothing had so far. */
static bool note_trouble(struct collector *collector, enum collector_state state)
{
    bool is_first = !collector->is_in_trouble || collector->state != state;

    if (!collector->is_in_trouble) {
        collector->trouble_since = ev_now(collector->environment->loop);
        collector->attempts_before = attempts(collector);
        /* The attempt that shows it is among those that are lost. */
        if (state == COLLECTOR_DOWN && collector->attempts_before > 0)
            collector->attempts_before--;
    }
    collector->is_in_trouble = true;
    collector->state = state;
    collector->lost = attempts(collector) - collector->attempts_before;
    ev_timer_stop(collector->environment->loop, &collector->recovery);
    return is_first;
}

static void take_trouble(struct collector *collector, int error)
{
    struct ev_loop *loop = collector->environment->loop;
    char text[FLOWD_ENDPOINT_SIZE];
    const struct flowd_address *next;
    bool is_there;

    if (!has_address(collector))
        return;
    if (note_trouble(collector, COLLECTOR_DOWN)) {
        flowd_endpoint_format(&collector->address, text);
        flowd_warning("firefly", "collector %s (%s) is down: %s", collector->name, text,
                      strerror(error));
    }
    if (ev_now(loop) < collector->other_address_at + OTHER_ADDRESS_S)
        return;
    next = find_next(collector, &collector->address, &is_there);
    if (next != NULL)
        use_address(collector, next);
    collector->other_address_at = ev_now(loop);
}

static void end_trouble(struct collector *collector)
{
    char text[FLOWD_ENDPOINT_SIZE];

    flowd_endpoint_format(&collector->address, text);
    if (collector->is_in_trouble)
        flowd_info(
            "firefly", "collector %s (%s) is up again after %.0f s; %llu fireflies were lost",
            collector->name, text, ev_now(collector->environment->loop) - collector->trouble_since,
            (unsigned long long)collector->lost);
    collector->is_in_trouble = false;
    collector->state = COLLECTOR_UP;
}

static void on_recovery(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    end_trouble(watcher->data);
}

void collector_done(struct collector *collector, enum flowd_sent result, int error)
{
    switch (result) {
    case FLOWD_SENT_OK:
        collector->counts.sent++;
        if (collector->state == COLLECTOR_DOWN && !ev_is_active(&collector->recovery)) {
            ev_timer_set(&collector->recovery, RECOVERY_S, 0);
            ev_timer_start(collector->environment->loop, &collector->recovery);
        }
        break;
    case FLOWD_SENT_FAILED:
        collector->counts.failed++;
        take_trouble(collector, error);
        break;
    case FLOWD_SENT_DROPPED:
        collector->counts.dropped++;
        break;
    }
}

bool collector_refused(struct collector *collector, const struct sockaddr_storage *address,
                       int error)
{
    bool is_current = is_same(address, &collector->address), is_there;

    find_next(collector, address, &is_there);
    if (!is_current && !is_there)
        return false;
    collector->counts.icmp_errors++;
    /* A smaller MTU on the way is no trouble: the kernel cuts the next one to it. */
    if (is_current && error != EMSGSIZE)
        take_trouble(collector, error);
    return true;
}

json_t *collector_json(const struct collector *collector)
{
    static const char *const names[] = {
        [COLLECTOR_UNRESOLVED] = "unresolved", [COLLECTOR_UP] = "up", [COLLECTOR_DOWN] = "down"};
    json_t *object =
        json_pack("{s:s, s:s}", "name", collector->name, "state", names[collector->state]);
    const char *failure = flowd_name_failure(collector->resolved);
    char text[FLOWD_ENDPOINT_SIZE];

    if (has_address(collector)) {
        flowd_endpoint_format(&collector->address, text);
        json_object_set_new(object, "address", json_string(text));
    }
    if (failure != NULL)
        json_object_set_new(object, "nameError", json_string(failure));
    return object;
}

static void drop(struct collector *collector, uint64_t tag)
{
    collector->counts.dropped++;
    if (collector->is_in_trouble)
        collector->lost++;
    collector->environment->dropped(collector->environment->context, tag);
}

static void drop_waiting(struct collector *collector)
{
    for (size_t i = 0; i < collector->waiting_count; i++)
        drop(collector, collector->waiting[i].tag);
    collector->waiting_count = 0;
    flowd_text_clear(&collector->bytes);
}

static void on_patience(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    drop_waiting(watcher->data);
}

static void send_waiting(struct collector *collector)
{
    struct flowd_sender *sender = collector->environment->sender;
    const char *at = collector->bytes.data;

    ev_timer_stop(collector->environment->loop, &collector->patience);
    if (collector->waiting_count == 0)
        return;
    for (size_t i = 0; i < collector->waiting_count; i++) {
        const struct collector_waiting *one = &collector->waiting[i];
        const struct flowd_outgoing firefly = {
            .data = at, .length = one->length, .tag = one->tag, .order = one->order};

        flowd_sender_queue(sender, &collector->address, collector->id, &firefly);
        at += one->length;
    }
    collector->waiting_count = 0;
    flowd_text_fini(&collector->bytes);
    flowd_sender_flush(sender);
}

static void keep(struct collector *collector, const struct flowd_outgoing *firefly)
{
    if (!ev_is_active(&collector->patience) || collector->waiting_count >= WAITING_MAX ||
        collector->bytes.length + firefly->length > WAITING_BYTES_MAX ||
        flowd_vector_reserve(&collector->waiting, &collector->waiting_capacity,
                             collector->waiting_count + 1) < 0) {
        drop(collector, firefly->tag);
        return;
    }
    flowd_text_append(&collector->bytes, firefly->data, firefly->length);
    if (flowd_text_failed(&collector->bytes)) {
        collector->bytes.failed = false;
        drop(collector, firefly->tag);
        return;
    }
    collector->waiting[collector->waiting_count++] = (struct collector_waiting){
        .tag = firefly->tag, .order = firefly->order, .length = firefly->length};
}

void collector_send(struct collector *collector, const struct flowd_outgoing *firefly)
{
    if (has_address(collector))
        flowd_sender_queue(collector->environment->sender, &collector->address, collector->id,
                           firefly);
    else
        keep(collector, firefly);
}

static void take_unknown(struct collector *collector)
{
    collector->address = (struct sockaddr_storage){0};
    if (note_trouble(collector, COLLECTOR_UNRESOLVED))
        flowd_warning("firefly", "the address of collector %s is not known: %s", collector->name,
                      flowd_name_failure(collector->resolved));
}

/* Some names have another address each time, so that only the first one is news. */
static void tell_address(struct collector *collector)
{
    char text[FLOWD_ENDPOINT_SIZE];

    flowd_endpoint_format(&collector->address, text);
    if (collector->was_resolved)
        flowd_debug("firefly", "collector %s is at %s", collector->name, text);
    else if (!collector->is_in_trouble)
        flowd_info("firefly", "collector %s is at %s", collector->name, text);
    collector->was_resolved = true;
}

static void on_resolved(void *context, struct flowd_name *name)
{
    struct collector *collector = context;
    bool is_there;
    const struct flowd_address *address;

    if (flowd_name_state(name) == FLOWD_NAME_UNKNOWN) {
        take_unknown(collector);
        return;
    }
    address = find_next(collector, &collector->address, &is_there);
    if (address == NULL || is_there)
        return;
    use_address(collector, address);
    tell_address(collector);
    /* Of a collector that is down the next datagrams tell whether it is up there. */
    if (collector->state == COLLECTOR_DOWN)
        ev_timer_stop(collector->environment->loop, &collector->recovery);
    else
        end_trouble(collector);
    send_waiting(collector);
}

int collector_new(const struct collector_environment *environment,
                  const struct flowd_host_port *place, unsigned id, struct collector **out,
                  struct flowd_error *err)
{
    struct collector *collector = calloc(1, sizeof(*collector));
    bool is_there;
    const struct flowd_address *address;
    int result;

    if (collector == NULL)
        return flowd_fail_errno(err, ENOMEM, "collector");
    collector->environment = environment;
    collector->id = id;
    collector->place = *place;
    collector_name_format(place, collector->name);
    ev_timer_init(&collector->recovery, on_recovery, RECOVERY_S, 0);
    ev_timer_init(&collector->patience, on_patience, PATIENCE_S, 0);
    collector->recovery.data = collector->patience.data = collector;
    result = flowd_name_new(environment->resolver, place->host, AF_UNSPEC, on_resolved, collector,
                            &collector->resolved, err);
    if (result < 0) {
        free(collector);
        return result;
    }
    address = find_next(collector, &collector->address, &is_there);
    if (address != NULL) {
        use_address(collector, address);
        collector->state = COLLECTOR_UP;
    } else {
        ev_timer_start(environment->loop, &collector->patience);
    }
    *out = collector;
    return 0;
}

void collector_free(struct collector *collector)
{
    if (collector == NULL)
        return;
    drop_waiting(collector);
    ev_timer_stop(collector->environment->loop, &collector->recovery);
    ev_timer_stop(collector->environment->loop, &collector->patience);
    flowd_name_free(collector->resolved);
    flowd_text_fini(&collector->bytes);
    free(collector->waiting);
    free(collector);
}
