/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at all collectors at once: their names are asked for on a loop of its own that ends when
 * all are answered, or after a moment. Nothing is sent to a collector.
 */
#include "reach.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/net/address.h"
#include "daemon/resolver/host_port.h"
#include "daemon/resolver/resolver.h"

/* One collector that is looked at. */
struct look {
    const char *text;
    uint16_t port;
    struct flowd_name *name; /* owned */
};

struct looks {
    struct ev_loop *loop;
    struct flowd_resolver *resolver;
    struct look *items;
    size_t count;
};

/* A socket that is connected knows whether there is a route. */
static int find_route(const struct flowd_address *address, uint16_t port)
{
    struct sockaddr_storage to;
    socklen_t length = flowd_endpoint_make(address->family, &address->addr, port, &to);
    int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 || connect(fd, (const struct sockaddr *)&to, length) < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    return result;
}

static int find_any_route(const struct look *look)
{
    size_t count;
    const struct flowd_address *addresses = flowd_name_addresses(look->name, &count);
    int result = -EHOSTUNREACH;

    for (size_t i = 0; i < count; i++) {
        result = find_route(&addresses[i], look->port);
        if (result == 0)
            break;
    }
    return result;
}

static bool is_waiting(const struct looks *looks)
{
    for (size_t i = 0; i < looks->count; i++)
        if (looks->items[i].name != NULL &&
            flowd_name_state(looks->items[i].name) == FLOWD_NAME_WAITING)
            return true;
    return false;
}

static void on_answer(void *context, struct flowd_name *name)
{
    struct looks *looks = context;

    (void)name;
    if (!is_waiting(looks))
        ev_break(looks->loop, EVBREAK_ALL);
}

static void on_time(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)watcher;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void wait_for_answers(const struct looks *looks)
{
    struct ev_timer time;

    if (!is_waiting(looks))
        return;
    ev_timer_init(&time, on_time, FIREFLY_REACH_WAIT_S, 0);
    ev_timer_start(looks->loop, &time);
    ev_run(looks->loop, 0);
    ev_timer_stop(looks->loop, &time);
}

static void begin_look(struct looks *looks, const char *text, uint16_t default_port)
{
    struct look *look = &looks->items[looks->count];
    struct flowd_host_port place;

    if (flowd_host_port_parse(text, default_port, &place) < 0)
        return; /* That is a mistake, which is told of already. */
    look->text = text;
    look->port = place.port;
    if (flowd_name_new(looks->resolver, place.host, AF_UNSPEC, on_answer, looks, &look->name,
                       NULL) == 0)
        looks->count++;
}

static void report(const struct look *look, const char *path, struct flowd_messages *warnings)
{
    int result;

    switch (flowd_name_state(look->name)) {
    case FLOWD_NAME_WAITING:
        flowd_messages_add(warnings, "%s: \"%s\" can't be resolved: no answer within %d s", path,
                           look->text, FIREFLY_REACH_WAIT_S);
        break;
    case FLOWD_NAME_UNKNOWN:
        flowd_messages_add(warnings, "%s: \"%s\" can't be resolved: %s", path, look->text,
                           flowd_name_failure(look->name));
        break;
    case FLOWD_NAME_KNOWN:
        result = find_any_route(look);
        if (result < 0)
            flowd_messages_add(warnings, "%s: \"%s\" can't be reached: %s", path, look->text,
                               strerror(-result));
        break;
    }
}

void firefly_reach_warn(const struct flowd_strings *collectors, uint16_t default_port,
                        const char *path, struct flowd_messages *warnings)
{
    struct looks looks = {.loop = ev_loop_new(EVFLAG_AUTO),
                          .items = calloc(collectors->count + 1, sizeof(*looks.items))};

    if (looks.loop != NULL && looks.items != NULL &&
        flowd_resolver_new(looks.loop, &looks.resolver, NULL) == 0) {
        for (size_t i = 0; i < collectors->count; i++)
            begin_look(&looks, collectors->items[i], default_port);
        wait_for_answers(&looks);
        for (size_t i = 0; i < looks.count; i++) {
            report(&looks.items[i], path, warnings);
            flowd_name_free(looks.items[i].name);
        }
        flowd_resolver_free(looks.resolver);
    }
    free(looks.items);
    if (looks.loop != NULL)
        ev_loop_destroy(looks.loop);
}
