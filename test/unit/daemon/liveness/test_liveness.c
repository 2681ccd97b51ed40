/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of connections: what becomes of a flow after each hint, and what the kernel is asked
 * for it. The kernel is a table from one end of a connection to what is said of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>

#include "daemon/liveness/internal.h"
#include "daemon/tcp/tcp_sample.h"
#include "fake_kernel.h"
#include "lab/sample_flow.h"
#include "liveness_fixture.h"

#define OTHER_COOKIE 8u /* of one that has its ports by now */

/* Of the flow's last sample; 0: there is none. */
static uint64_t bytes_known(uint32_t number)
{
    const struct flowd_flow_key key = sample_key(number);
    const struct flowd_tcp_sample *sample =
        flowd_hub_sample_of(fixture.hub, flowd_hub_find_key(fixture.hub, &key));

    return sample != NULL ? sample->info.bytes_sent : 0;
}

enum outcome { GOES_ON, LINGERS, ENDS };

static enum outcome outcome_of(uint32_t number)
{
    if (!is_live(number))
        return ENDS;
    return flowd_liveness_lingering(liveness) > 0 ? LINGERS : GOES_ON;
}

/* One hint, what the kernel says of both ends, and what follows. */
struct row {
    const char *name;
    bool followed;   /* the flow is of a source that follows sockets ... */
    bool by_sockops; /* ... and its own hint it is */
    bool of_destination;
    int src, dst; /* an enum flowd_tcp_life, or -errno; FAR: it is not this host's */
    uint64_t src_cookie, dst_cookie;
    enum outcome outcome;
    unsigned src_asked, dst_asked;
    unsigned reused;
};

#define GONE FLOWD_TCP_GONE
#define CLOSED FLOWD_TCP_CLOSED
#define WAITS FLOWD_TCP_LINGERS
#define THERE FLOWD_TCP_CONNECTED
#define FAR (-EADDRNOTAVAIL)

static const struct row rows[] = {
    /* One end here. */
    {"source gone", .src = GONE, .dst = FAR, .outcome = ENDS, .src_asked = 1},
    {"destination gone", .of_destination = true, .src = FAR, .dst = GONE, .outcome = ENDS,
     .dst_asked = 1},
    {"source in TIME_WAIT", .src = CLOSED, .dst = FAR, .outcome = LINGERS, .src_asked = 1},
    {"source in FIN_WAIT2", .src = WAITS, .dst = FAR, .outcome = LINGERS, .src_asked = 1},
    {"destination in FIN_WAIT2", .of_destination = true, .src = FAR, .dst = WAITS,
     .outcome = LINGERS, .dst_asked = 1},
    {"ports used again", .src = THERE, .src_cookie = OTHER_COOKIE, .dst = FAR, .outcome = GOES_ON,
     .src_asked = 1, .reused = 1},
    {"told of a socket that is there", .src = THERE, .src_cookie = COOKIE, .dst = FAR,
     .outcome = GOES_ON, .src_asked = 1},
    {"no answer", .src = -EAGAIN, .dst = FAR, .outcome = LINGERS, .src_asked = 1},
    /* Both ends here: either keeps the flow. */
    {"other end open", .src = GONE, .dst = THERE, .dst_cookie = OTHER_COOKIE, .outcome = GOES_ON,
     .src_asked = 1, .dst_asked = 1},
    {"other end closed too", .src = GONE, .dst = GONE, .outcome = ENDS, .src_asked = 1,
     .dst_asked = 1},
    {"other end in TIME_WAIT", .src = GONE, .dst = CLOSED, .outcome = LINGERS, .src_asked = 1,
     .dst_asked = 1},
    {"both in FIN_WAIT2", .src = WAITS, .dst = WAITS, .outcome = LINGERS, .src_asked = 1,
     .dst_asked = 1},
    {"ports used again at this end", .src = THERE, .src_cookie = OTHER_COOKIE, .dst = THERE,
     .outcome = GOES_ON, .src_asked = 1, .reused = 1},
    {"source open", .of_destination = true, .src = THERE, .src_cookie = OTHER_COOKIE, .dst = GONE,
     .outcome = GOES_ON, .src_asked = 1, .dst_asked = 1},
    {"source gone without a word", .of_destination = true, .src = GONE, .dst = GONE,
     .outcome = LINGERS, .src_asked = 1, .dst_asked = 1},
    {"other end does not answer", .src = GONE, .dst = -EAGAIN, .outcome = LINGERS, .src_asked = 1,
     .dst_asked = 1},
    /* The source's socket decides. */
    {"followed, source gone", true, .src = GONE, .dst = THERE, .outcome = ENDS, .src_asked = 1},
    {"followed, destination gone", true, .of_destination = true, .src = THERE, .dst = GONE,
     .outcome = GOES_ON, .src_asked = 1},
    {"followed, FIN_WAIT2, other end open", true, .src = WAITS, .dst = THERE, .outcome = ENDS,
     .src_asked = 1, .dst_asked = 1},
    {"followed, FIN_WAIT2, other end gone", true, .src = WAITS, .dst = GONE, .outcome = LINGERS,
     .src_asked = 1, .dst_asked = 1},
    {"followed, ports used again", true, .src = THERE, .src_cookie = OTHER_COOKIE, .dst = FAR,
     .outcome = GOES_ON, .src_asked = 1, .reused = 1},
    /* The follower is told itself. */
    {"followed by sk_ops", true, true, .src = GONE, .dst = FAR, .outcome = ENDS, .src_asked = 1},
    {"followed by sk_ops, TIME_WAIT", true, true, .src = CLOSED, .dst = FAR, .outcome = LINGERS,
     .src_asked = 1},
    {"followed by sk_ops, FIN_WAIT2", true, true, .src = WAITS, .dst = FAR, .outcome = LINGERS,
     .src_asked = 1},
    {"followed by sk_ops, no answer", true, true, .src = -EAGAIN, .dst = FAR, .outcome = LINGERS,
     .src_asked = 1},
    {"followed by sk_ops, ports used again", true, true, .src = THERE, .src_cookie = OTHER_COOKIE,
     .dst = FAR, .outcome = ENDS, .src_asked = 1},
    {"sk_ops tells of somebody else's flow", false, true, .src = GONE, .dst = FAR,
     .outcome = GOES_ON},
};

/* The ends as the row has them; *src and *dst are NULL where they are far away. */
static void set_ends(const struct row *row, uint32_t number, struct fake_end **src,
                     struct fake_end **dst)
{
    const struct flowd_flow_key key = sample_key(number);
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(&key);

    fake_kernel_reset();
    *src = row->src != FAR ? fake_kernel_set(&key, row->src, row->src_cookie) : NULL;
    *dst = row->dst != FAR ? fake_kernel_set(&reverse, row->dst, row->dst_cookie) : NULL;
}

/* Each hint asks for each end that matters, once. */
static void test_hints(void **state)
{
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct fake_end *src, *dst;
        struct flowd_source *source;

        liveness_fixture_open(state);
        source = row->by_sockops ? follower : close_source;
        announce(row->followed ? follower : fixture.source, 1);
        set_ends(row, 1, &src, &dst);
        tell(source, 1, row->of_destination);
        if (outcome_of(1) != row->outcome || (src != NULL && src->asked != row->src_asked) ||
            (dst != NULL && dst->asked != row->dst_asked) ||
            flowd_liveness_reused(liveness) != row->reused)
            print_error("%s: outcome %d, asked %u %u\n", row->name, outcome_of(1),
                        src != NULL ? src->asked : 0, dst != NULL ? dst->asked : 0);
        assert_int_equal(outcome_of(1), row->outcome);
        assert_int_equal(fake_kernel.asked, row->src_asked + row->dst_asked);
        assert_true(src == NULL || src->asked == row->src_asked);
        assert_true(dst == NULL || dst->asked == row->dst_asked);
        assert_int_equal(flowd_liveness_reused(liveness), row->reused);
        assert_int_equal(source->events[FLOWD_EVENT_END][FLOWD_ENDED], row->outcome == ENDS);
        liveness_fixture_close(state);
    }
}

static uint64_t final_bytes;

static void note_counts(const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *sample = flowd_hub_sample_of(fixture.hub, flow);

    final_bytes = sample != NULL ? sample->info.bytes_sent : 0;
}

/*
 * A hint that the kernel did not answer, and one whose flow was seen closed before: the flow is
 * asked for again, and goes on where its ports have another connection.
 */
static void test_unanswered(void **state)
{
    for (int closed = 0; closed < 2; closed++) {
        struct fake_end *src, *dst;

        liveness_fixture_open(state);
        announce(fixture.source, 1);
        set_ends(&(struct row){.src = closed ? CLOSED : -EAGAIN, .dst = FAR}, 1, &src, &dst);
        tell(close_source, 1, false);
        src->life = -EAGAIN;
        while (src->asked < 3)
            ev_run(fixture.loop, EVRUN_ONCE);
        assert_int_equal(outcome_of(1), LINGERS);
        *src = (struct fake_end){.key = src->key, .life = THERE, .cookie = OTHER_COOKIE};
        while (flowd_liveness_lingering(liveness) > 0)
            ev_run(fixture.loop, EVRUN_ONCE);
        assert_int_equal(outcome_of(1), GOES_ON);
        assert_int_equal(bytes_known(1), 0);
        liveness_fixture_close(state);
    }
}

/* What is said of the counts of a flow whose ports are used again. */
static void test_former_counts(void **state)
{
    static const struct {
        bool followed;
        uint64_t known; /* the cookie of the last sample; 0: there is none */
        uint64_t bytes; /* that are told afterwards */
    } cases[] = {
        {false, 0, 0},
        {false, COOKIE, 0},
        {false, OTHER_COOKIE, 1},
        /* Its end is yet to come, and is the former connection's. */
        {true, COOKIE, BYTES},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct flowd_tcp_sample sample = {.cookie = cases[i].known, .info.bytes_sent = 1};
        const struct flowd_flow_key key = sample_key(1);
        struct fake_end *src, *dst;

        liveness_fixture_open(state);
        announce(cases[i].followed ? follower : fixture.source, 1);
        if (cases[i].known != 0)
            flowd_hub_keep_sample(fixture.hub, flowd_hub_find_key(fixture.hub, &key), &sample);
        set_ends(&(struct row){.src = THERE, .src_cookie = OTHER_COOKIE, .dst = FAR}, 1, &src,
                 &dst);
        tell(close_source, 1, false);
        assert_int_equal(outcome_of(1), GOES_ON);
        assert_int_equal(bytes_known(1), cases[i].bytes);
        liveness_fixture_close(state);
    }
}

/* A connection between two sockets of this host: either end may close first. */
static void test_both_ends(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct fake_end *src, *dst;

        liveness_fixture_open(state);
        fixture.first.at_end = note_counts;
        flowd_liveness_want_last(liveness, true);
        announce(fixture.source, 1);
        set_ends(&(struct row){.src = THERE, .dst = THERE}, 1, &src, &dst);
        *(first == 0 ? &src->life : &dst->life) = GONE;
        tell(close_source, 1, first == 1);
        assert_int_equal(outcome_of(1), GOES_ON);
        src->life = dst->life = GONE;
        tell(close_source, 1, first == 0);
        assert_int_equal(outcome_of(1), ENDS);
        assert_int_equal(final_bytes, BYTES);
        /* For each hint each end once, and none for the counts, which the source's has told. */
        assert_int_equal(src->asked, 2);
        assert_int_equal(dst->asked, 2);
        assert_int_equal(flowd_liveness_reused(liveness), 0);
        liveness_fixture_close(state);
    }
}

/* Who had the socket is here, whatever addresses the host has by now. */
static void test_address_gone(void **state)
{
    struct fake_end *src, *dst;

    (void)state;
    announce(fixture.source, 1);
    set_ends(&(struct row){.src = WAITS, .dst = FAR}, 1, &src, &dst);
    src->moved = true;
    tell(close_source, 1, false);
    assert_int_equal(src->asked, 1);
    assert_int_equal(outcome_of(1), LINGERS);
}

/* A notification and sk_ops tell of the same close. */
static void test_told_twice(void **state)
{
    struct fake_end *src, *dst;

    (void)state;
    announce(follower, 1);
    set_ends(&(struct row){.src = WAITS, .dst = FAR}, 1, &src, &dst);
    tell(close_source, 1, false);
    tell(follower, 1, false);
    assert_int_equal(outcome_of(1), LINGERS);
    assert_int_equal(src->asked, 1);
    assert_int_equal(flowd_liveness_lingering(liveness), 1);
}

/* Of two ends here the destination's was told of first, and the source's by sk_ops alone. */
static void test_told_by_sockops_alone(void **state)
{
    struct fake_end *src, *dst;

    (void)state;
    fixture.first.at_end = note_counts;
    final_bytes = 0;
    announce(follower, 1);
    set_ends(&(struct row){.src = GONE, .dst = GONE}, 1, &src, &dst);
    tell(close_source, 1, true);
    assert_int_equal(outcome_of(1), LINGERS);
    tell(follower, 1, false);
    while (is_live(1))
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(final_bytes, BYTES);
}

/* Its ports are used again: the flow that waits is over, with what is known of it. */
static void test_lingering_ended(void **state)
{
    const struct flowd_flow_key key = sample_key(1);
    struct fake_end *src, *dst;

    (void)state;
    fixture.first.at_end = note_counts;
    final_bytes = 0;
    announce(follower, 1);
    set_ends(&(struct row){.src = WAITS, .dst = FAR}, 1, &src, &dst);
    flowd_liveness_end_lingering(liveness, flowd_hub_find_key(fixture.hub, &key));
    assert_int_equal(outcome_of(1), GOES_ON);
    tell(follower, 1, false);
    flowd_liveness_end_lingering(liveness, flowd_hub_find_key(fixture.hub, &key));
    assert_int_equal(outcome_of(1), ENDS);
    assert_int_equal(final_bytes, BYTES);
    assert_int_equal(src->asked, 1);
}

/* A look at a flow that lingers judges as its source wants it. */
static void test_look_at_followed(void **state)
{
    struct fake_end *src, *dst;

    (void)state;
    announce(follower, 1);
    set_ends(&(struct row){.src = WAITS, .dst = GONE}, 1, &src, &dst);
    tell(follower, 1, false);
    assert_int_equal(outcome_of(1), LINGERS);
    dst->life = THERE;
    while (src->asked < 2)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(outcome_of(1), ENDS);
    assert_int_equal(follower->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
}

/* An end that is announced asks for the counts where somebody wants them, and once. */
static void test_announced_end(void **state)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        struct fake_end *src, *dst;

        liveness_fixture_open(state);
        announce(fixture.source, 1);
        set_ends(&(struct row){.src = THERE, .dst = THERE}, 1, &src, &dst);
        if (wanted) {
            flowd_liveness_set_extensions(liveness, 3);
            flowd_liveness_want_last(liveness, true);
        }
        assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_END, 1, 2, NULL), FLOWD_ENDED);
        assert_int_equal(src->asked, wanted);
        assert_int_equal(fake_kernel.extensions, wanted ? 3 : 0);
        assert_int_equal(dst->asked, 0);
        liveness_fixture_close(state);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, liveness_fixture_open, liveness_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_former_counts),
        cmocka_unit_test(test_both_ends),
        TEST(test_address_gone),
        TEST(test_told_twice),
        TEST(test_told_by_sockops_alone),
        TEST(test_lingering_ended),
        TEST(test_look_at_followed),
        cmocka_unit_test(test_announced_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
