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
#include "lab/hub_fixture.h"
#include "lab/sample_flow.h"

#define COOKIE 7u       /* of the socket that is gone */
#define OTHER_COOKIE 8u /* of one that has its ports by now */
#define BYTES 1000u

static struct hub_fixture fixture;
static struct flowd_context context;
static struct flowd_liveness *liveness;
static struct flowd_source *close_source;
static struct flowd_source *follower; /* its flows follow the sockets of their source */

static int open_judge(void **state)
{
    (void)state;
    hub_fixture_open(&fixture, "", 100);
    fixture.first.quiet = fixture.second.quiet = true;
    fixture.first.at_end = NULL;
    context = (struct flowd_context){.loop = fixture.loop, .hub = fixture.hub};
    fake_kernel_reset();
    liveness = flowd_liveness_new(&context);
    assert_non_null(liveness);
    close_source = flowd_hub_source(fixture.hub, "close");
    follower = flowd_hub_source(fixture.hub, "follower");
    assert_true(close_source != NULL && follower != NULL);
    follower->follows_sockets = true;
    return 0;
}

static int close_judge(void **state)
{
    (void)state;
    flowd_liveness_free(liveness);
    hub_fixture_close(&fixture);
    return 0;
}

static void announce(struct flowd_source *source, uint32_t number)
{
    const struct flowd_event event = sample_event(number);

    assert_int_equal(flowd_hub_submit(fixture.hub, source, &event, NULL, NULL), FLOWD_STARTED);
}

static bool is_live(uint32_t number)
{
    const struct flowd_flow_key key = sample_key(number);
    const struct flowd_flow *flow = flowd_hub_find_key(fixture.hub, &key);

    return flow != NULL && flow->state == FLOWD_FLOW_LIVE;
}

/* The flow's source's socket is gone, or its destination's. */
static void tell(struct flowd_source *source, uint32_t number, bool of_destination)
{
    const struct flowd_flow_key key = sample_key(number);
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(&key);
    const struct flowd_tcp_sample sample = {
        .state = TCP_CLOSE, .cookie = COOKIE, .info.bytes_sent = of_destination ? 1 : BYTES};

    flowd_liveness_closed(liveness, source, of_destination ? &reverse : &key, &sample);
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
    {"no answer", .src = -EAGAIN, .dst = FAR, .outcome = ENDS, .src_asked = 1},
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
    {"other end does not answer", .src = GONE, .dst = -EAGAIN, .outcome = ENDS, .src_asked = 1,
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

        open_judge(state);
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
        close_judge(state);
    }
}

static uint64_t final_bytes;

static void note_counts(const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *sample = flowd_hub_sample_of(fixture.hub, flow);

    final_bytes = sample != NULL ? sample->info.bytes_sent : 0;
}

/* A connection between two sockets of this host: either end may close first. */
static void test_both_ends(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct fake_end *src, *dst;

        open_judge(state);
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
        close_judge(state);
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

        open_judge(state);
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
        close_judge(state);
    }
}

static struct flowd_doubt doubt_by(struct flowd_source *source)
{
    return (struct flowd_doubt){.before_us = INT64_MAX, .source = source, .later = source};
}

static void turn(void)
{
    ev_run(fixture.loop, EVRUN_NOWAIT);
}

/* After a restart everybody doubts: each flow is asked for once, and its own source's comes first.
 */
static void test_doubts_at_once(void **state)
{
    struct flowd_source *recovered = flowd_hub_source(fixture.hub, "recovery");
    struct flowd_doubt all = doubt_by(recovered);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    flowd_liveness_doubt(liveness, &all);
    flowd_liveness_doubt(liveness, &own);
    turn();
    assert_false(flowd_liveness_is_walking(liveness));
    assert_false(all.open || own.open);
    assert_int_equal(fake_kernel.asked, 2);
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    assert_int_equal(all.found, 1);
    assert_int_equal(own.found, 1);
    assert_int_equal(recovered->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
    assert_int_equal(follower->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
}

/* A doubt that comes while another one waits for answers does not wait with it. */
static void test_doubt_while_another_waits(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    fake_kernel.life = -EAGAIN;
    flowd_liveness_doubt(liveness, &all);
    turn();
    assert_true(all.open);
    turn();
    assert_int_equal(fake_kernel.asked, 2);
    fake_kernel.life = GONE;
    flowd_liveness_doubt(liveness, &own);
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    assert_false(all.open || own.open);
}

/* Who goes takes his doubt along. */
static void test_doubt_forgotten(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    flowd_liveness_doubt(liveness, &all);
    flowd_liveness_doubt(liveness, &own);
    flowd_liveness_forget_doubt(liveness, &all);
    turn();
    assert_true(is_live(1));
    assert_false(is_live(3));
    flowd_liveness_doubt(liveness, &own);
    flowd_liveness_forget_doubt(liveness, &own);
    assert_false(flowd_liveness_is_walking(liveness));
}

/* What a walk finds lingering ends later, and with another source than what it finds gone. */
static void test_doubt_finds_lingering(void **state)
{
    for (int forgotten = 0; forgotten < 2; forgotten++) {
        struct flowd_source *recovered;
        struct flowd_doubt all;

        open_judge(state);
        recovered = flowd_hub_source(fixture.hub, "recovery");
        all = doubt_by(recovered);
        all.later = close_source;
        announce(fixture.source, 1);
        fake_kernel.life = WAITS;
        flowd_liveness_doubt(liveness, &all);
        turn();
        assert_int_equal(flowd_liveness_lingering(liveness), 1);
        if (forgotten)
            flowd_liveness_forget_doubt(liveness, &all);
        fake_kernel.life = GONE;
        while (flowd_liveness_lingering(liveness) > 0)
            ev_run(fixture.loop, EVRUN_ONCE);
        assert_int_equal(is_live(1), forgotten);
        assert_int_equal(close_source->events[FLOWD_EVENT_END][FLOWD_ENDED], !forgotten);
        assert_int_equal(recovered->events[FLOWD_EVENT_END][FLOWD_ENDED], 0);
        close_judge(state);
    }
}

/* And with him the flows that linger for him: nobody is to end them. */
static void test_lingering_forgotten(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    fake_kernel.life = WAITS;
    tell(close_source, 1, false);
    tell(follower, 3, false);
    assert_int_equal(flowd_liveness_lingering(liveness), 2);
    flowd_liveness_forget_doubt(liveness, &all);
    assert_int_equal(flowd_liveness_lingering(liveness), 1);
    fake_kernel.life = GONE;
    while (flowd_liveness_lingering(liveness) > 0)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_true(is_live(1));
    assert_false(is_live(3));
}

/*
 * Except where its source has been told of the close itself, which nobody tells it again: the flow
 * lingers on for that one.
 */
static void test_lingering_handed_on(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(follower, 1);
    announce(follower, 3);
    fake_kernel.life = WAITS;
    tell(close_source, 1, false);
    tell(follower, 1, false);
    flowd_liveness_forget_doubt(liveness, &all);
    assert_int_equal(flowd_liveness_lingering(liveness), 1);
    fake_kernel.life = GONE;
    while (flowd_liveness_lingering(liveness) > 0)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_false(is_live(1));
    assert_int_equal(follower->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
    fake_kernel.life = WAITS;
    tell(close_source, 3, false);
    flowd_liveness_forget_doubt(liveness, &all);
    flowd_liveness_forget_doubt(liveness, &own);
    assert_int_equal(flowd_liveness_lingering(liveness), 0);
    assert_true(is_live(3));
}

/* All that asks has one budget in a turn of the loop; samples, which have their own pace, none. */
static void test_budget(void **state)
{
    const struct flowd_flow_key key = sample_key(1);
    const struct flowd_sock_diag_query query = {.key = &key, .local_is_src = true};
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_tcp_socket socket;

    (void)state;
    announce(fixture.source, 1);
    announce(fixture.source, 3);
    fake_kernel.weight = FLOWD_LIVENESS_PER_TURN;
    assert_false(flowd_liveness_turn_over(liveness));
    assert_int_equal(flowd_liveness_find(liveness, &query, &socket), -ENOENT);
    assert_true(flowd_liveness_turn_over(liveness));
    turn();
    assert_false(flowd_liveness_turn_over(liveness));
    flowd_liveness_doubt(liveness, &all);
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 1);
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

static void take_nothing(void *asked, size_t index, int error,
                         const struct flowd_tcp_socket *socket)
{
    (void)asked;
    (void)index;
    (void)error;
    (void)socket;
}

/* Samples of all flows, which have a pace of their own, leave the budget to the others. */
static void test_samples_are_not_in_the_budget(void **state)
{
    const struct flowd_flow_key key = sample_key(1);
    const struct flowd_sock_diag_query query = {.key = &key, .local_is_src = true};

    (void)state;
    for (unsigned i = 0; i <= FLOWD_LIVENESS_PER_TURN; i++)
        flowd_liveness_sample(liveness, &query, 1, take_nothing, NULL);
    assert_false(flowd_liveness_turn_over(liveness));
    for (unsigned i = 0; i < FLOWD_LIVENESS_PER_TURN; i++)
        flowd_liveness_ask(liveness, &query, 1, take_nothing, NULL);
    assert_true(flowd_liveness_turn_over(liveness));
}

static void spend(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
    liveness->spent = FLOWD_LIVENESS_PER_TURN;
}

/* Walks and scans that use the budget up, turn by turn, do not keep flows that are due waiting. */
static void test_look_where_walks_take_all(void **state)
{
    struct ev_timer always;

    (void)state;
    announce(fixture.source, 1);
    fake_kernel.life = WAITS;
    tell(close_source, 1, false);
    fake_kernel.life = GONE;
    ev_timer_init(&always, spend, 0, 0.001);
    ev_set_priority(&always, EV_MAXPRI);
    ev_timer_start(fixture.loop, &always);
    for (unsigned i = 0; i < 1000 && is_live(1); i++)
        ev_run(fixture.loop, EVRUN_ONCE);
    ev_timer_stop(fixture.loop, &always);
    assert_false(is_live(1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_judge, close_judge)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_both_ends),
        TEST(test_address_gone),
        TEST(test_told_twice),
        TEST(test_told_by_sockops_alone),
        TEST(test_lingering_ended),
        TEST(test_look_at_followed),
        cmocka_unit_test(test_announced_end),
        TEST(test_doubts_at_once),
        TEST(test_doubt_while_another_waits),
        TEST(test_doubt_forgotten),
        cmocka_unit_test(test_doubt_finds_lingering),
        TEST(test_lingering_forgotten),
        TEST(test_lingering_handed_on),
        TEST(test_budget),
        TEST(test_samples_are_not_in_the_budget),
        TEST(test_look_where_walks_take_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
