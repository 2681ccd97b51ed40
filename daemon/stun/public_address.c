/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over those who can be asked, one at a time. Each step ends in a callback of a query, of a
 * fetch or of a name; steps that fail at once are left behind in a loop, so that nothing recurses.
 */
#include "public_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/fetch/fetch.h"
#include "daemon/net/network.h"

#define AGAIN_S 3600.0
#define RETRY_S 60.0
#define REFRESH_LEAST_S 10.0
#define RETRY_DOUBLINGS_MAX 6
#define BODY_MAX 256
#define FETCH_TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 5000

static void ask_next(struct public_address *address);

static bool lies_in(const struct flowd_address *address, const char *const *networks)
{
    for (; *networks != NULL; networks++) {
        struct flowd_network network;

        if (flowd_network_parse(*networks, strlen(*networks), &network, NULL) == 0 &&
            flowd_network_contains(&network, address->family, &address->addr))
            return true;
    }
    return false;
}

bool public_address_is_private(const struct flowd_address *address)
{
    static const char *const networks[] = {"10.0.0.0/8",    "172.16.0.0/12", "192.168.0.0/16",
                                           "100.64.0.0/10", "fc00::/7",      NULL};

    return lies_in(address, networks);
}

bool public_address_is_public(const struct flowd_address *address)
{
    static const char *const networks[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                           "224.0.0.0/3", "::/127",      "fe80::/10",
                                           "ff00::/8",    NULL};

    /* An IPv6 socket's spelling of IPv4 is no address of a host. */
    if (address->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->addr))
        return false;
    return !public_address_is_private(address) && !lies_in(address, networks);
}

bool public_address_read(const struct sockaddr *address, struct flowd_address *out)
{
    *out = (struct flowd_address){0};
    if (address == NULL)
        return false;
    if (address->sa_family == AF_INET)
        memcpy(&out->addr, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
               sizeof(struct in_addr));
    else if (address->sa_family == AF_INET6)
        out->addr = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    else
        return false;
    out->family = (uint8_t)address->sa_family;
    return true;
}

static size_t steps_of(const struct public_askers *askers)
{
    return askers->server_count + (askers->fetcher != NULL ? askers->services->count : 0);
}

static void ask_again_after(struct public_address *address, double after_s)
{
    ev_timer_stop(address->askers->loop, &address->again);
    ev_timer_set(&address->again, after_s, 0);
    ev_timer_start(address->askers->loop, &address->again);
}

static const char *text_of_step(const struct public_address *address)
{
    const struct public_askers *askers = address->askers;

    return address->step < askers->server_count
               ? askers->servers[address->step].text
               : askers->services->items[address->step - askers->server_count];
}

static void settle(struct public_address *address)
{
    address->settled = true;
    address->askers->changed(address->askers->context);
}

static void found(struct public_address *address, const struct flowd_address *seen)
{
    char local[FLOWD_ADDRESS_SIZE], public[FLOWD_ADDRESS_SIZE];
    bool is_new = memcmp(&address->seen.addr, &seen->addr, sizeof(seen->addr)) != 0;

    address->askers->answered++;
    address->seen = *seen;
    address->by = address->step < address->askers->server_count ? PUBLIC_BY_STUN : PUBLIC_BY_HTTP;
    snprintf(address->via, sizeof(address->via), "%s", text_of_step(address));
    address->reason[0] = '\0';
    address->failures = 0;
    ask_again_after(address, AGAIN_S);
    flowd_address_format(address->local.family, &address->local.addr, local);
    flowd_address_format(seen->family, &seen->addr, public);
    if (is_new)
        flowd_info("stun", "%s is seen as %s from outside, says %s", local, public, address->via);
    settle(address);
}

/* Nobody knew: what was known stays. */
static void end_round(struct public_address *address)
{
    unsigned doublings =
        address->failures < RETRY_DOUBLINGS_MAX ? address->failures : RETRY_DOUBLINGS_MAX;
    double after_s = RETRY_S * (double)(1u << doublings);
    char local[FLOWD_ADDRESS_SIZE];

    if (address->failures++ == 0 && steps_of(address->askers) > 0) {
        flowd_address_format(address->local.family, &address->local.addr, local);
        flowd_warning("stun", "nobody says how %s is seen from outside: %s", local,
                      address->reason);
    }
    ask_again_after(address, after_s < AGAIN_S ? after_s : AGAIN_S);
    settle(address);
}

static void note_failure(struct public_address *address, const char *reason)
{
    address->askers->failed++;
    snprintf(address->reason, sizeof(address->reason), "%s: %s", text_of_step(address), reason);
    address->step++;
}

static void take_answer(struct public_address *address, const struct flowd_address *seen,
                        const char *reason)
{
    if (seen != NULL && seen->family != address->local.family)
        reason = "told an address of another family";
    else if (seen != NULL && !public_address_is_public(seen))
        reason = "told an address that is not public";
    else if (seen != NULL) {
        found(address, seen);
        return;
    }
    note_failure(address, reason);
    ask_next(address);
}

static void on_stun(struct flowd_stun_query *query, const struct flowd_address *mapped,
                    const char *reason)
{
    struct public_address *address = query->context;

    address->askers->ignored += query->ignored;
    take_answer(address, mapped, reason);
}

static void on_fetched(void *context, const struct flowd_fetch_answer *answer)
{
    struct public_address *address = context;
    size_t length = answer->size;
    const char *text = answer->body;
    struct flowd_address seen;

    address->fetch = NULL;
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
        length--;
    if (answer->result < 0)
        take_answer(address, NULL, answer->error);
    else if (answer->status != 200)
        take_answer(address, NULL, "did not answer with 200");
    else if (flowd_address_parse(text, length, &seen) < 0)
        take_answer(address, NULL, "its answer is no address");
    else
        take_answer(address, &seen, NULL);
}

/* The server's address of the family; NULL: it has none. */
static const struct flowd_address *address_of(const struct flowd_name *name, uint8_t family)
{
    size_t count;
    const struct flowd_address *addresses = flowd_name_addresses(name, &count);

    for (size_t i = 0; i < count; i++)
        if (addresses[i].family == family)
            return &addresses[i];
    return NULL;
}

/* Returns whether something is under way; if not, the failure is noted. */
static bool ask_server(struct public_address *address, const struct public_server *server)
{
    const struct flowd_address *at = address_of(server->name, address->local.family);
    struct sockaddr_storage endpoint;
    struct flowd_error err;

    if (at == NULL && flowd_name_state(server->name) == FLOWD_NAME_WAITING) {
        address->waits_for = server->name;
        return true;
    }
    if (at == NULL) {
        note_failure(address, flowd_name_failure(server->name) != NULL
                                  ? flowd_name_failure(server->name)
                                  : "has no address of that family");
        return false;
    }
    flowd_endpoint_make(at->family, &at->addr, server->port, &endpoint);
    if (flowd_stun_query_start(&address->query, address->askers->loop, &address->local, &endpoint,
                               on_stun, address, &err) == 0)
        return true;
    note_failure(address, err.message);
    return false;
}

static bool ask_service(struct public_address *address, const char *url)
{
    char local[FLOWD_ADDRESS_SIZE];
    const struct flowd_fetch_request request = {
        .url = url,
        .family = address->local.family,
        .local_address = local,
        .size_max = BODY_MAX,
        .timeout_ms = FETCH_TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .done = on_fetched,
        .context = address,
    };
    struct flowd_error err;

    flowd_address_format(address->local.family, &address->local.addr, local);
    if (flowd_fetch_start(address->askers->fetcher, &request, &address->fetch, &err) == 0)
        return true;
    address->fetch = NULL;
    note_failure(address, err.message);
    return false;
}

/* Asks whoever is next, until one has to be waited for or nobody is left. */
static void ask_next(struct public_address *address)
{
    struct public_askers *askers = address->askers;

    while (address->step < steps_of(askers)) {
        size_t step = address->step;

        if (step < askers->server_count ? ask_server(address, &askers->servers[step])
                                        : ask_service(address, text_of_step(address)))
            return;
    }
    end_round(address);
}

static void stop_asking(struct public_address *address)
{
    flowd_stun_query_stop(&address->query);
    flowd_fetch_cancel(address->fetch);
    address->fetch = NULL;
    address->waits_for = NULL;
    ev_timer_stop(address->askers->loop, &address->again);
}

static void on_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct public_address *address = timer->data;

    (void)loop;
    (void)events;
    stop_asking(address);
    address->step = 0;
    address->asked_at = ev_now(loop);
    ask_next(address);
}

void public_address_restart(struct public_address *address)
{
    stop_asking(address);
    address->failures = 0;
    ask_again_after(address, 0);
}

void public_address_refresh(struct public_address *address)
{
    double age_s = ev_now(address->askers->loop) - address->asked_at;

    if (address->query.is_under_way || address->fetch != NULL || address->waits_for != NULL)
        return;
    ask_again_after(address, age_s < REFRESH_LEAST_S && age_s >= 0 ? REFRESH_LEAST_S - age_s : 0);
}

void public_address_name_changed(struct public_address *address, const struct flowd_name *name)
{
    if (address->waits_for != name)
        return;
    address->waits_for = NULL;
    ask_next(address);
}

struct public_address *public_address_new(struct public_askers *askers,
                                          const struct flowd_address *local)
{
    struct public_address *address = calloc(1, sizeof(*address));

    if (address == NULL)
        return NULL;
    address->askers = askers;
    address->local = *local;
    ev_init(&address->again, on_again);
    address->again.data = address;
    ask_again_after(address, 0);
    return address;
}

void public_address_free(struct public_address *address)
{
    stop_asking(address);
    free(address);
}
