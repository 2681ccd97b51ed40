/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: which fireflies go out, in which order, and which of flowd's own ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/firefly/firefly.h"
#include "lab/sample_flow.h"
#include "relay.h"

#define SENT_SIZE 1024
/* A complete one; the rest is a member that flowd does not know. */
#define FIREFLY                                                                                    \
    "{\"version\":1,\"flow-lifecycle\":{\"state\":\"%s\",\"start-time\":\"2026-01-01T00:00:00Z\"," \
    "\"current-time\":\"2026-01-01T00:00:00Z\",\"end-time\":\"2026-01-01T00:00:01Z\"},"            \
    "\"flow-id\":{\"afi\":\"ipv6\",\"src-ip\":\"2001:db8::1\",\"dst-ip\":\"2001:db8::ffff\","      \
    "\"protocol\":\"tcp\",\"src-port\":1025,\"dst-port\":443},"                                    \
    "\"context\":{\"experiment-id\":2,\"activity-id\":17,\"application\":\"x\"},\"n\":%s}"

static struct ev_loop *loop;
static struct firefly_relay relay;
/* What was sent, a word for each: the state of a firefly that was passed on and its flow's id, or
 * "own". */
static char sent[SENT_SIZE];
static size_t last_length;
static bool nobody; /* gets the fireflies of the flow */

static bool on_send(void *context, const struct flowd_flow_key *key, uint64_t id, const char *text,
                    size_t length)
{
    char *words = context;
    size_t used = strlen(words);
    struct flowd_firefly_message message;
    enum flowd_firefly_reject why;

    assert_int_equal(key->src_port, 1025);
    last_length = length;
    if (length == 3)
        snprintf(words + used, SENT_SIZE - used, "own; ");
    else if (flowd_firefly_decode(text, length, &message, &why) == 0)
        snprintf(words + used, SENT_SIZE - used, "%s %u; ",
                 flowd_event_state_names[message.event.state], (unsigned)id);
    else
        fail_msg("%s: %.*s", flowd_firefly_reject_names[why], (int)length, text);
    return !nobody;
}

static void on_flush(void *context)
{
    (void)context;
}

static int open_relay(void **state)
{
    (void)state;
    sent[0] = '\0';
    nobody = false;
    loop = ev_loop_new(0);
    return firefly_relay_init(&relay, loop, on_send, on_flush, sent);
}

static int close_relay(void **state)
{
    (void)state;
    firefly_relay_fini(&relay);
    ev_loop_destroy(loop);
    return 0;
}

static void pass_on(const char *state, const char *more, const struct flowd_flow *flow,
                    enum flowd_result result)
{
    const struct firefly_additions additions = {.syslog = true, .hostname = "h", .now_us = 1};
    size_t size = strlen(more) + sizeof(FIREFLY) + 16;
    char *text = malloc(size);
    struct flowd_firefly_message message;
    enum flowd_firefly_reject why;

    assert_non_null(text);
    snprintf(text, size, FIREFLY, state, more);
    assert_int_equal(flowd_firefly_decode(text, strlen(text), &message, &why), 0);
    message.event.message = &message;
    firefly_relay_pass_on(&relay, &message.event, flow, result, &additions);
    free(text);
}

static struct flowd_flow make_flow(void)
{
    struct flowd_flow flow = sample_flow(1);

    flow.id = 7;
    return flow;
}

static void hold(const struct flowd_flow *flow)
{
    struct flowd_text own = {0};

    flowd_text_puts(&own, "own");
    firefly_relay_hold(&relay, flow, &own);
    flowd_text_fini(&own);
}

/* Whatever becomes of the flow. */
static void test_each_is_passed_on(void **state)
{
    struct flowd_flow flow = make_flow();

    (void)state;
    pass_on("start", "1", &flow, FLOWD_STARTED);
    pass_on("start", "1", &flow, FLOWD_KNOWN);
    pass_on("ongoing", "1", &flow, FLOWD_RESTARTED);
    pass_on("start", "1", NULL, FLOWD_REFUSED);
    assert_false(firefly_relay_was_end(&relay, &flow));
    pass_on("end", "1", &flow, FLOWD_ENDED);
    assert_true(firefly_relay_was_end(&relay, &flow));
    assert_false(firefly_relay_was_end(&relay, &flow));
    pass_on("end", "1", NULL, FLOWD_UNKNOWN);
    assert_string_equal(sent, "start 7; start 7; ongoing 7; start 0; end 7; end 0; ");
    assert_int_equal(relay.counts.passed_on, 6);
    assert_int_equal(relay.counts.of_refused, 1);
    assert_int_equal(relay.counts.unchanged, 0);
}

/* What nobody gets was not passed on, and is an end all the same. */
static void test_nobody_gets_it(void **state)
{
    struct flowd_flow flow = make_flow();

    (void)state;
    nobody = true;
    pass_on("start", "1", NULL, FLOWD_REFUSED);
    pass_on("end", "1", &flow, FLOWD_ENDED);
    assert_true(firefly_relay_was_end(&relay, &flow));
    hold(&flow);
    firefly_relay_release(&relay);
    assert_string_equal(sent, "start 0; end 7; own; ");
    assert_int_equal(relay.counts.passed_on, 0);
    assert_int_equal(relay.counts.of_refused, 0);
    assert_int_equal(relay.counts.ends_sent, 0);
}

static void test_own_end_is_replaced(void **state)
{
    struct flowd_flow flow = make_flow();

    (void)state;
    hold(&flow);
    pass_on("end", "1", NULL, FLOWD_UNKNOWN);
    firefly_relay_release(&relay);
    assert_string_equal(sent, "end 0; ");
    assert_int_equal(relay.counts.ends_replaced, 1);
    assert_int_equal(relay.counts.ends_sent, 0);
}

/* A start of the same key says that the sender's end does not come any more. */
static void test_own_end_goes_before_the_next_start(void **state)
{
    struct flowd_flow flow = make_flow();

    (void)state;
    hold(&flow);
    firefly_relay_begin(&relay, &flow.key);
    pass_on("start", "1", &flow, FLOWD_STARTED);
    hold(&flow);
    firefly_relay_release(&relay);
    assert_string_equal(sent, "own; start 7; own; ");
    assert_int_equal(relay.counts.ends_sent, 2);
}

/* With a syslog header it would not fit a datagram. */
static void test_longest(void **state)
{
    size_t digits = FLOWD_FIREFLY_SIZE_UDP - 20 - sizeof(FIREFLY);
    char *number = malloc(digits + 1);

    (void)state;
    assert_non_null(number);
    memset(number, '1', digits);
    number[digits] = '\0';
    pass_on("start", number, NULL, FLOWD_REFUSED);
    assert_in_range(last_length, digits, FLOWD_FIREFLY_SIZE_UDP);
    assert_int_equal(relay.counts.unchanged, 1);
    assert_int_equal(relay.counts.passed_on, 1);
    free(number);
}

static void test_whose_flow_it_is(void **state)
{
    struct flowd_flow flow = make_flow();

    (void)state;
    assert_false(firefly_relay_announced(&flow));
    memcpy(flow.source, "firefly", sizeof("firefly"));
    assert_true(firefly_relay_announced(&flow));
    memcpy(flow.source, "fireflies", sizeof("fireflies"));
    assert_false(firefly_relay_announced(&flow));
}

#define WITH_RELAY(test) cmocka_unit_test_setup_teardown(test, open_relay, close_relay)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RELAY(test_each_is_passed_on),
        WITH_RELAY(test_nobody_gets_it),
        WITH_RELAY(test_own_end_is_replaced),
        WITH_RELAY(test_own_end_goes_before_the_next_start),
        WITH_RELAY(test_longest),
        WITH_RELAY(test_whose_flow_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
