/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collectors without a network: who stays over a change of the configuration, what waits for an
 * address, and what the sender's reports do to the one that they are about. The name that stands
 * here is not asked for: the loop is not run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <string.h>

#include "collectors.h"
#include "daemon/net/address.h"

#define PORT 10514
#define UNKNOWN "collector.example.org"
#define FIRST "192.0.2.1:10514"
#define SECOND "[2001:db8::1]:10514"
#define WAITING_MAX 4096

static struct ev_loop *loop;
static struct flowd_sender *sender;
static struct collectors *collectors;
static unsigned dropped;

static void on_done(void *context, uint64_t tag, unsigned receiver,
                    const struct sockaddr_storage *address, enum flowd_sent result, int error)
{
    (void)context;
    (void)tag;
    (void)address;
    if (collectors != NULL)
        collectors_done(collectors, receiver, result, error);
}

static void on_refused(void *context, const struct sockaddr_storage *address, int error)
{
    (void)context;
    (void)address;
    (void)error;
}

static void on_dropped(void *context, uint64_t tag)
{
    (void)context;
    assert_int_not_equal(tag, 0);
    dropped++;
}

static int set_up(void **state)
{
    (void)state;
    dropped = 0;
    loop = ev_loop_new(0);
    if (flowd_sender_new(loop, on_done, on_refused, NULL, &sender, NULL) < 0)
        return -1;
    return collectors_new(loop, sender, on_dropped, NULL, &collectors, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    collectors_free(collectors);
    collectors = NULL;
    flowd_sender_free(sender);
    ev_loop_destroy(loop);
    return 0;
}

static int configure(char **names, size_t count)
{
    const struct flowd_strings strings = {.items = names, .count = count};

    return collectors_configure(collectors, &strings, NULL, PORT, NULL);
}

/* A collector in the status; json_decref() it. */
static json_t *show(const char *name)
{
    json_t *status = json_object(), *one, *found = NULL;
    const struct flowd_counter_sink sink = {.status = status};
    size_t i;

    collectors_count(collectors, &sink);
    json_array_foreach (json_object_get(status, "collectors"), i, one)
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
            found = json_incref(one);
    json_decref(status);
    return found;
}

static void assert_shown(const char *name, const char *collector_state, const char *key,
                         int64_t number)
{
    json_t *one = show(name);

    assert_non_null(one);
    assert_string_equal(json_string_value(json_object_get(one, "state")), collector_state);
    assert_int_equal(json_integer_value(json_object_get(one, key)), number);
    json_decref(one);
}

static void put(bool relayed, const char *data, size_t length, uint64_t tag)
{
    const struct flowd_outgoing firefly = {
        .data = data, .length = length, .tag = tag, .order = tag};

    collectors_send(collectors, relayed, &firefly);
}

static struct sockaddr_storage endpoint(const char *text)
{
    struct sockaddr_storage found;
    socklen_t length;

    assert_int_equal(flowd_endpoint_parse(text, PORT, &found, &length), 0);
    return found;
}

static void test_errors_are_of_one(void **state)
{
    char *names[] = {"192.0.2.1", "2001:db8::1"};
    struct sockaddr_storage first = endpoint(FIRST), other = endpoint("192.0.2.1:10515");

    (void)state;
    assert_int_equal(configure(names, 2), 0);
    assert_shown(FIRST, "up", "icmpErrors", 0);
    assert_false(collectors_refused(collectors, &other, ECONNREFUSED));
    assert_shown(FIRST, "up", "icmpErrors", 0);
    assert_true(collectors_refused(collectors, &first, EMSGSIZE));
    assert_shown(FIRST, "up", "icmpErrors", 1);
    assert_true(collectors_refused(collectors, &first, ECONNREFUSED));
    assert_shown(FIRST, "down", "icmpErrors", 2);
    assert_shown(SECOND, "up", "icmpErrors", 0);
}

static void test_a_refused_datagram(void **state)
{
    char *names[] = {FIRST};

    (void)state;
    assert_int_equal(configure(names, 1), 0);
    collectors_done(collectors, 1, FLOWD_SENT_OK, 0);
    assert_shown(FIRST, "up", "sent", 1);
    collectors_done(collectors, 1, FLOWD_SENT_DROPPED, 0);
    assert_shown(FIRST, "up", "dropped", 1);
    collectors_done(collectors, 1, FLOWD_SENT_FAILED, ENETUNREACH);
    assert_shown(FIRST, "down", "failed", 1);
    /* That one went out does not say that it arrived. */
    collectors_done(collectors, 1, FLOWD_SENT_OK, 0);
    assert_shown(FIRST, "down", "sent", 2);
}

static void test_another_configuration(void **state)
{
    char *before[] = {FIRST, SECOND},
         *after[] = {UNKNOWN, FIRST, "192.0.2.1", "Collector.Example.org"};
    char *wrong[] = {"192.0.2.9", "no name"};

    (void)state;
    assert_int_equal(configure(before, 2), 0);
    collectors_done(collectors, 1, FLOWD_SENT_OK, 0);
    collectors_done(collectors, 2, FLOWD_SENT_OK, 0);
    assert_int_equal(configure(wrong, 2), -EINVAL);
    assert_int_equal(collectors_number(collectors, true), 2);
    assert_int_equal(configure(after, 4), 0);
    assert_int_equal(collectors_number(collectors, true), 2);
    assert_shown(FIRST, "up", "sent", 1);
    assert_shown(UNKNOWN ":10514", "unresolved", "sent", 0);
    assert_null(show(SECOND));
    /* What is said of one that is gone is nobody's, also when it comes back. */
    assert_int_equal(configure(before, 2), 0);
    collectors_done(collectors, 2, FLOWD_SENT_OK, 0);
    assert_shown(SECOND, "up", "sent", 0);
}

/* Those of the second list get what is relayed only; in both lists is in the first. */
static void test_more_for_what_is_relayed(void **state)
{
    char *names[] = {FIRST}, *more[] = {UNKNOWN, FIRST};
    const struct flowd_strings first = {.items = names, .count = 1};
    const struct flowd_strings second = {.items = more, .count = 2};

    (void)state;
    assert_int_equal(collectors_configure(collectors, &first, &second, PORT, NULL), 0);
    assert_int_equal(collectors_number(collectors, true), 2);
    assert_int_equal(collectors_number(collectors, false), 1);
    /* Only the unknown one has something to wait for. */
    put(false, "firefly", 7, 1);
    assert_int_equal(collectors_waiting(collectors), 0);
    put(true, "firefly", 7, 1);
    assert_int_equal(collectors_waiting(collectors), 1);
    assert_int_equal(configure(more, 2), 0);
    assert_int_equal(collectors_number(collectors, false), 2);
}

static void test_bounded_waiting(void **state)
{
    char *names[] = {UNKNOWN};
    static char large[1 << 20];

    (void)state;
    assert_int_equal(configure(names, 1), 0);
    for (uint64_t tag = 1; tag <= WAITING_MAX; tag++)
        put(true, "firefly", 7, tag);
    assert_int_equal(collectors_waiting(collectors), WAITING_MAX);
    assert_int_equal(dropped, 0);
    put(true, "firefly", 7, 1);
    assert_int_equal(collectors_waiting(collectors), WAITING_MAX);
    assert_int_equal(dropped, 1);
    assert_shown(UNKNOWN ":10514", "unresolved", "dropped", 1);
    assert_int_equal(configure(NULL, 0), 0);
    assert_int_equal(dropped, 1 + WAITING_MAX);
    assert_int_equal(configure(names, 1), 0);
    for (uint64_t tag = 1; tag <= 5; tag++)
        put(true, large, sizeof(large), tag);
    assert_int_equal(collectors_waiting(collectors), 4);
    assert_shown(UNKNOWN ":10514", "unresolved", "dropped", 1);
}

#define WITH_COLLECTORS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_COLLECTORS(test_errors_are_of_one),     WITH_COLLECTORS(test_a_refused_datagram),
        WITH_COLLECTORS(test_another_configuration), WITH_COLLECTORS(test_more_for_what_is_relayed),
        WITH_COLLECTORS(test_bounded_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
