/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that somebody wants the addresses of. Each has one timer for its next question and one
 * by which its owner is told, from the loop and not from within c-ares, where a channel must not be
 * freed. A question outlives its name, because c-ares can't take back a single one.
 */
#include "resolver.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "host_port.h"

struct flowd_resolver {
    struct ev_loop *loop;
    struct flowd_channel *channel; /* owned; NULL: no name was asked for */
    struct flowd_name *names;
};

struct question {
    struct flowd_name *name; /* NULL: nobody waits for the answer */
};

struct answer {
    struct flowd_address addresses[FLOWD_RESOLVER_ADDRESSES_MAX];
    size_t count;
    const char *failure;
};

struct flowd_name {
    struct flowd_resolver *resolver;
    struct flowd_name *next; /* in the resolver's list */
    char host[FLOWD_HOST_SIZE];
    int family;
    flowd_name_changed changed;
    void *context;
    struct question *question; /* the open one; NULL: none */
    struct ev_timer ask, tell;
    struct answer answer;
    unsigned failures; /* in a row */
    bool is_numeric;
};

int flowd_resolver_new(struct ev_loop *loop, struct flowd_resolver **out, struct flowd_error *err)
{
    struct flowd_resolver *resolver = calloc(1, sizeof(*resolver));

    if (resolver == NULL)
        return flowd_fail_errno(err, ENOMEM, "resolver");
    resolver->loop = loop;
    *out = resolver;
    return 0;
}

void flowd_resolver_free(struct flowd_resolver *resolver)
{
    if (resolver == NULL)
        return;
    assert(resolver->names == NULL);
    flowd_channel_free(resolver->channel);
    free(resolver);
}

static void ask_after(struct flowd_name *name, double after_s)
{
    struct ev_loop *loop = name->resolver->loop;

    ev_timer_stop(loop, &name->ask);
    ev_timer_set(&name->ask, after_s, 0);
    ev_timer_start(loop, &name->ask);
}

static bool is_same(const struct flowd_address *a, const struct flowd_address *b)
{
    return a->family == b->family && memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

static bool holds(const struct answer *answer, const struct flowd_address *address)
{
    for (size_t i = 0; i < answer->count; i++)
        if (is_same(&answer->addresses[i], address))
            return true;
    return false;
}

static bool are_equal(const struct answer *a, const struct answer *b)
{
    if (a->failure != b->failure || a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!is_same(&a->addresses[i], &b->addresses[i]))
            return false;
    return true;
}

/* Adds what family says of the address to the answer. */
static void add_address(struct answer *answer, int family, const struct sockaddr *address)
{
    struct flowd_address found = {.family = (uint8_t)address->sa_family};

    if (address->sa_family == AF_INET)
        memcpy(&found.addr, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
               sizeof(struct in_addr));
    else if (address->sa_family == AF_INET6)
        found.addr = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    else
        return;
    if ((family == AF_UNSPEC || family == found.family) &&
        answer->count < FLOWD_RESOLVER_ADDRESSES_MAX && !holds(answer, &found))
        answer->addresses[answer->count++] = found;
}

/* Reads what c-ares found, and returns for how many seconds it holds. */
static double read_answer(int family, const struct ares_addrinfo *result, struct answer *answer)
{
    int ttl_s = FLOWD_RESOLVER_MOST_S;

    for (const struct ares_addrinfo_cname *c = result->cnames; c != NULL; c = c->next)
        ttl_s = c->ttl < ttl_s ? c->ttl : ttl_s;
    for (const struct ares_addrinfo_node *node = result->nodes; node != NULL;
         node = node->ai_next) {
        add_address(answer, family, node->ai_addr);
        ttl_s = node->ai_ttl < ttl_s ? node->ai_ttl : ttl_s;
    }
    return ttl_s > FLOWD_RESOLVER_LEAST_S ? ttl_s : FLOWD_RESOLVER_LEAST_S;
}

static double back_off(unsigned failures)
{
    double after_s = FLOWD_RESOLVER_RETRY_S;

    while (--failures > 0 && after_s < FLOWD_RESOLVER_RETRY_MOST_S)
        after_s *= 2;
    return after_s < FLOWD_RESOLVER_RETRY_MOST_S ? after_s : FLOWD_RESOLVER_RETRY_MOST_S;
}

static void tell_soon(struct flowd_name *name)
{
    ev_timer_stop(name->resolver->loop, &name->tell);
    ev_timer_set(&name->tell, 0, 0);
    ev_timer_start(name->resolver->loop, &name->tell);
}

static void take(struct flowd_name *name, const struct answer *answer)
{
    bool changed = !are_equal(&name->answer, answer);

    name->answer = *answer;
    if (changed)
        tell_soon(name);
}

static void take_failure(struct flowd_name *name, int status)
{
    bool is_an_answer =
        status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA;
    struct answer answer = name->answer;

    if (is_an_answer)
        answer.count = 0;
    answer.failure = ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status);
    ask_after(name, back_off(++name->failures));
    take(name, &answer);
}

static void on_answer(void *context, int status, int timeouts, struct ares_addrinfo *result)
{
    struct question *question = context;
    struct flowd_name *name = question->name;
    struct answer answer = {.count = 0};
    double holds_s = 0;

    (void)timeouts;
    free(question);
    if (name != NULL) {
        name->question = NULL;
        if (result != NULL)
            holds_s = read_answer(name->family, result, &answer);
        if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
            ask_after(name, 0); /* The channel makes place for another one. */
        } else if (status != ARES_SUCCESS || answer.count == 0) {
            take_failure(name, status);
        } else {
            name->failures = 0;
            ask_after(name, holds_s);
            take(name, &answer);
        }
    }
    if (result != NULL)
        ares_freeaddrinfo(result);
}

/* The channel for a question, another one where /etc/resolv.conf has changed. */
static struct flowd_channel *find_channel(struct flowd_resolver *resolver)
{
    struct flowd_channel *old = resolver->channel, *created;

    if (old != NULL && !flowd_channel_is_stale(old))
        return old;
    if (flowd_channel_new(resolver->loop, &created, NULL) < 0)
        return old;
    resolver->channel = created;
    flowd_channel_free(old);
    return created;
}

static void on_ask(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_name *name = watcher->data;
    struct flowd_channel *channel = find_channel(name->resolver);
    struct question *question;

    (void)events;
    /* Another channel may have begun the time anew. */
    ev_timer_stop(loop, &name->ask);
    if (name->question != NULL)
        return;
    question = channel != NULL ? calloc(1, sizeof(*question)) : NULL;
    if (question == NULL) {
        take_failure(name, ARES_ENOMEM);
        return;
    }
    question->name = name;
    name->question = question;
    flowd_channel_ask(channel, name->host, name->family, on_answer, question);
}

static void on_tell(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_name *name = watcher->data;

    (void)loop;
    (void)events;
    name->changed(name->context, name);
}

void flowd_resolver_refresh(struct flowd_resolver *resolver)
{
    for (struct flowd_name *name = resolver->names; name != NULL; name = name->next)
        if (!name->is_numeric)
            ask_after(name, 0);
}

int flowd_name_new(struct flowd_resolver *resolver, const char *host, int family,
                   flowd_name_changed changed, void *context, struct flowd_name **out,
                   struct flowd_error *err)
{
    struct flowd_address address;
    bool is_numeric = flowd_address_parse(host, strlen(host), &address) == 0;
    struct flowd_name *name;

    if (is_numeric ? family != AF_UNSPEC && family != address.family
                   : !flowd_host_name_is_valid(host))
        return flowd_fail(err, EINVAL, "\"%s\" is neither a host name nor an address%s", host,
                          family == AF_INET    ? " of IPv4"
                          : family == AF_INET6 ? " of IPv6"
                                               : "");
    name = calloc(1, sizeof(*name));
    if (name == NULL)
        return flowd_fail_errno(err, ENOMEM, "resolver");
    *name = (struct flowd_name){.resolver = resolver,
                                .next = resolver->names,
                                .family = family,
                                .changed = changed,
                                .context = context,
                                .is_numeric = is_numeric};
    memcpy(name->host, host, strnlen(host, sizeof(name->host) - 1));
    resolver->names = name;
    ev_init(&name->ask, on_ask);
    ev_init(&name->tell, on_tell);
    name->ask.data = name->tell.data = name;
    if (is_numeric) {
        name->answer.addresses[0] = address;
        name->answer.count = 1;
    } else {
        ask_after(name, 0);
    }
    *out = name;
    return 0;
}

void flowd_name_free(struct flowd_name *name)
{
    struct flowd_name **place;

    if (name == NULL)
        return;
    for (place = &name->resolver->names; *place != name; place = &(*place)->next)
        ;
    *place = name->next;
    if (name->question != NULL)
        name->question->name = NULL;
    ev_timer_stop(name->resolver->loop, &name->ask);
    ev_timer_stop(name->resolver->loop, &name->tell);
    free(name);
}

const char *flowd_name_host(const struct flowd_name *name)
{
    return name->host;
}

enum flowd_name_state flowd_name_state(const struct flowd_name *name)
{
    if (name->answer.count > 0)
        return FLOWD_NAME_KNOWN;
    return name->answer.failure != NULL ? FLOWD_NAME_UNKNOWN : FLOWD_NAME_WAITING;
}

const struct flowd_address *flowd_name_addresses(const struct flowd_name *name, size_t *count)
{
    *count = name->answer.count;
    return name->answer.addresses;
}

const char *flowd_name_failure(const struct flowd_name *name)
{
    return name->answer.failure;
}
