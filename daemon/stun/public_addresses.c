/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of addresses that are asked for, and the table that fireflies are written by: sorted
 * pairs of bytes, made anew when something becomes known.
 */
#include "public_addresses.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/base/log.h"
#include "daemon/net/host.h"
#include "daemon/resolver/host_port.h"
#include "public_address.h"
#include "public_mapping.h"
#include "public_server.h"

#define ASKED_MAX 64
#define CHANGE_WAIT_S 2.0

struct flowd_public_addresses {
    struct ev_loop *loop;
    struct flowd_host *host; /* NULL: not followed */
    struct flowd_resolver *resolver;
    const struct flowd_public_settings *settings; /* NULL: not yet */
    struct public_askers askers;
    struct public_address *asked;  /* the private addresses of interfaces */
    struct public_mappings manual; /* what the configuration says */
    struct public_mappings all;    /* the same, and what was found out */
    struct flowd_host_observer observer;
    struct ev_timer look; /* at the interfaces */
    bool has_looked;
    bool has_told; /* that there are more addresses than are asked for */
};

const struct in6_addr *flowd_public_address_of(const struct flowd_public_addresses *addresses,
                                               uint8_t family, const struct in6_addr *addr)
{
    const struct flowd_address local = {.addr = *addr, .family = family};
    const struct public_mapping *found = public_mappings_find(&addresses->all, &local);

    return found != NULL ? &found->public.addr : addr;
}

static size_t count_asked(const struct flowd_public_addresses *addresses)
{
    const struct public_address *address;
    size_t count;

    LL_COUNT(addresses->asked, address, count);
    return count;
}

/* Makes the table anew from the configuration and what was found out. */
static int make_table(struct flowd_public_addresses *addresses)
{
    struct public_mappings all = {0};
    const struct public_address *address;
    int result = public_mappings_reserve(&all, addresses->manual.count + count_asked(addresses));

    if (result < 0)
        return result;
    for (size_t i = 0; i < addresses->manual.count; i++)
        all.items[all.count++] = addresses->manual.items[i];
    LL_FOREACH (addresses->asked, address)
        if (address->seen.family != 0)
            all.items[all.count++] =
                (struct public_mapping){.local = address->local, .public = address->seen};
    public_mappings_sort(&all);
    public_mappings_fini(&addresses->all);
    addresses->all = all;
    return 0;
}

static void on_changed(void *context)
{
    if (make_table(context) < 0)
        flowd_err("stun", "out of memory: public addresses stay as they were");
}

static bool is_manual(const struct flowd_public_addresses *addresses,
                      const struct flowd_address *local)
{
    return public_mappings_find(&addresses->manual, local) != NULL;
}

/* The interface's address if it is one that is asked for. */
static bool read_address(const struct flowd_public_addresses *addresses,
                         const struct ifaddrs *interface, struct flowd_address *out)
{
    return public_address_read(interface->ifa_addr, out) && public_address_is_private(out) &&
           !is_manual(addresses, out);
}

static struct public_address *find_asked(const struct flowd_public_addresses *addresses,
                                         const struct flowd_address *local)
{
    struct public_address *address;

    LL_FOREACH (addresses->asked, address)
        if (public_mapping_compare(&address->local, local) == 0)
            break;
    return address;
}

static void take_interfaces(struct flowd_public_addresses *addresses,
                            const struct ifaddrs *interfaces)
{
    struct public_address *old = addresses->asked, *address, *next;
    size_t count = 0;

    addresses->asked = NULL;
    for (; interfaces != NULL && count < ASKED_MAX; interfaces = interfaces->ifa_next) {
        struct flowd_address local;

        if (!read_address(addresses, interfaces, &local) || find_asked(addresses, &local) != NULL)
            continue;
        LL_FOREACH (old, address)
            if (public_mapping_compare(&address->local, &local) == 0)
                break;
        if (address != NULL) {
            LL_DELETE(old, address);
            public_address_refresh(address);
        } else {
            address = public_address_new(&addresses->askers, &local);
        }
        if (address == NULL)
            break;
        LL_APPEND(addresses->asked, address);
        count++;
    }
    LL_FOREACH_SAFE (old, address, next)
        public_address_free(address);
    if (interfaces != NULL && count == ASKED_MAX && !addresses->has_told)
        flowd_warning("stun", "the first %d private addresses are asked for, no more", ASKED_MAX);
    addresses->has_told |= interfaces != NULL && count == ASKED_MAX;
}

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct flowd_public_addresses *addresses = timer->data;
    struct ifaddrs *interfaces = NULL;

    (void)loop;
    (void)events;
    if (getifaddrs(&interfaces) < 0) {
        flowd_warning("stun", "the addresses of interfaces can't be read: %s", strerror(errno));
        ev_timer_set(timer, CHANGE_WAIT_S, 0);
        ev_timer_start(loop, timer);
        return;
    }
    take_interfaces(addresses, interfaces);
    freeifaddrs(interfaces);
    addresses->has_looked = true;
    on_changed(addresses);
}

static void look_after(struct flowd_public_addresses *addresses, double after_s)
{
    ev_timer_stop(addresses->loop, &addresses->look);
    ev_timer_set(&addresses->look, after_s, 0);
    ev_timer_start(addresses->loop, &addresses->look);
}

/* Not at once: where one address changes, others do. The first of them says when. */
static void on_host(struct flowd_host_observer *observer, bool links, bool changed)
{
    struct flowd_public_addresses *addresses =
        (struct flowd_public_addresses *)(void *)((char *)observer -
                                                  offsetof(struct flowd_public_addresses,
                                                           observer));

    (void)links;
    if (changed && addresses->settings != NULL && !ev_is_active(&addresses->look))
        look_after(addresses, CHANGE_WAIT_S);
}

static void on_name(void *context, struct flowd_name *name)
{
    struct flowd_public_addresses *addresses = context;
    struct public_address *address, *next;

    LL_FOREACH_SAFE (addresses->asked, address, next)
        public_address_name_changed(address, name);
}

static void forget_servers(struct public_server *servers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        flowd_name_free(servers[i].name);
    free(servers);
}

/* Forgets those that were asked for, but where some are still what is known of them. */
static void forget_asked(struct flowd_public_addresses *addresses, bool some)
{
    struct public_address *address, *next;

    LL_FOREACH_SAFE (addresses->asked, address, next) {
        if (some && !is_manual(addresses, &address->local)) {
            public_address_restart(address);
            continue;
        }
        LL_DELETE(addresses->asked, address);
        public_address_free(address);
    }
}

int flowd_public_addresses_new(struct ev_loop *loop, struct flowd_host *host,
                               struct flowd_fetcher *fetcher, struct flowd_public_addresses **out,
                               struct flowd_error *err)
{
    struct flowd_public_addresses *addresses = calloc(1, sizeof(*addresses));
    int result;

    if (addresses == NULL)
        return flowd_fail_errno(err, ENOMEM, "public addresses");
    result = flowd_resolver_new(loop, &addresses->resolver, err);
    if (result < 0) {
        free(addresses);
        return result;
    }
    addresses->loop = loop;
    addresses->host = host;
    addresses->askers = (struct public_askers){
        .loop = loop, .fetcher = fetcher, .changed = on_changed, .context = addresses};
    ev_init(&addresses->look, on_look);
    addresses->look.data = addresses;
    addresses->observer.changed = on_host;
    if (host != NULL)
        flowd_host_observe(host, &addresses->observer);
    *out = addresses;
    return 0;
}

void flowd_public_addresses_free(struct flowd_public_addresses *addresses)
{
    if (addresses == NULL)
        return;
    if (addresses->host != NULL)
        flowd_host_unobserve(addresses->host, &addresses->observer);
    ev_timer_stop(addresses->loop, &addresses->look);
    forget_asked(addresses, false);
    forget_servers(addresses->askers.servers, addresses->askers.server_count);
    flowd_resolver_free(addresses->resolver);
    public_mappings_fini(&addresses->manual);
    public_mappings_fini(&addresses->all);
    free(addresses);
}

static int make_servers(struct flowd_public_addresses *addresses, const struct flowd_strings *texts,
                        struct public_server **out, struct flowd_error *err)
{
    struct public_server *servers = calloc(texts->count + 1, sizeof(*servers));
    int result = servers != NULL ? 0 : flowd_fail_errno(err, ENOMEM, "STUN servers");
    struct flowd_host_port place;

    for (size_t i = 0; i < texts->count && result == 0; i++) {
        if (public_server_parse(texts->items[i], &place) < 0)
            result = flowd_fail(err, EINVAL, "STUN server \"%s\"", texts->items[i]);
        else
            result = flowd_name_new(addresses->resolver, place.host, AF_UNSPEC, on_name, addresses,
                                    &servers[i].name, err);
        servers[i].text = texts->items[i];
        servers[i].port = place.port;
    }
    if (result < 0)
        forget_servers(servers, servers != NULL ? texts->count : 0);
    else
        *out = servers;
    return result;
}

int flowd_public_addresses_configure(struct flowd_public_addresses *addresses,
                                     const struct flowd_public_settings *settings,
                                     struct flowd_error *err)
{
    const bool asks = settings->servers.count + settings->services.count > 0;
    struct public_mappings manual;
    struct public_server *servers;
    int result = make_servers(addresses, &settings->servers, &servers, err);

    if (result < 0)
        return result;
    result = public_mappings_read(&manual, &settings->manual);
    if (result < 0) {
        forget_servers(servers, settings->servers.count);
        return flowd_fail_errno(err, -result, "public addresses");
    }
    addresses->settings = settings;
    public_mappings_fini(&addresses->manual);
    addresses->manual = manual;
    /* Before the names go that they may wait for. */
    forget_asked(addresses, asks);
    forget_servers(addresses->askers.servers, addresses->askers.server_count);
    addresses->askers.servers = servers;
    addresses->askers.server_count = settings->servers.count;
    addresses->askers.services = &settings->services;
    on_changed(addresses);
    if (asks)
        look_after(addresses, 0);
    else
        ev_timer_stop(addresses->loop, &addresses->look);
    return 0;
}

bool flowd_public_addresses_are_settled(const struct flowd_public_addresses *addresses)
{
    const struct public_address *address;

    LL_FOREACH (addresses->asked, address)
        if (!address->settled)
            return false;
    return addresses->has_looked || !ev_is_active(&addresses->look);
}

static void put_address(json_t *object, const char *key, const struct flowd_address *address)
{
    char text[FLOWD_ADDRESS_SIZE];

    flowd_address_format(address->family, &address->addr, text);
    json_object_set_new(object, key, json_string(text));
}

static json_t *asked_json(const struct public_address *address)
{
    static const char *const names[] = {
        [PUBLIC_BY_NOBODY] = "nobody", [PUBLIC_BY_STUN] = "stun", [PUBLIC_BY_HTTP] = "http"};
    json_t *object = json_object();

    put_address(object, "address", &address->local);
    if (address->seen.family != 0) {
        put_address(object, "public", &address->seen);
        json_object_set_new(object, "by", json_string(names[address->by]));
        json_object_set_new(object, "via", json_string(address->via));
    }
    if (address->reason[0] != '\0')
        json_object_set_new(object, "error", json_string(address->reason));
    return object;
}

json_t *flowd_public_addresses_json(const struct flowd_public_addresses *addresses)
{
    const struct public_address *address;
    json_t *array = json_array();

    for (size_t i = 0; i < addresses->manual.count; i++) {
        json_t *object = json_object();

        put_address(object, "address", &addresses->manual.items[i].local);
        put_address(object, "public", &addresses->manual.items[i].public);
        json_object_set_new(object, "by", json_string("manualMapping"));
        json_array_append_new(array, object);
    }
    LL_FOREACH (addresses->asked, address)
        json_array_append_new(array, asked_json(address));
    return array;
}

static const struct flowd_metric questions = {"flowd_public_address_questions_total",
                                              FLOWD_METRIC_COUNTER,
                                              "Questions for public addresses, by their result."};
static const struct flowd_metric ignored = {
    "flowd_stun_ignored_datagrams_total", FLOWD_METRIC_COUNTER,
    "Datagrams of STUN servers that were no answer to the question, as forged ones are."};

static const struct flowd_counter counters[] = {
    {.key = "publicAddressQuestions.answered",
     .metric = &questions,
     .labels = {"result", "answered"},
     FLOWD_COUNTED(struct public_askers, answered)},
    {.key = "publicAddressQuestions.failed",
     .metric = &questions,
     .labels = {"result", "failed"},
     FLOWD_COUNTED(struct public_askers, failed)},
    {.key = "publicAddressQuestions.ignored",
     .metric = &ignored,
     FLOWD_COUNTED(struct public_askers, ignored)},
    {.key = NULL},
};

void flowd_public_addresses_count(const struct flowd_public_addresses *addresses,
                                  const struct flowd_counter_sink *sink)
{
    flowd_counters_put(sink, counters, &addresses->askers, NULL);
}
