/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every combination of strategy, encoding, packet and device that can exist is run and compared
 * with the model: the verdict, the bytes that leave, and the counters. A combination that nobody
 * runs needs a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lab/combination.h"
#include "lab/marker_run.h"
#include "lab/model.h"
#include "lab/stage.h"
#include "lab/stride.h"
#include "lab/without_btf.h"

#define COMPLAINTS_MAX 10u

static struct stage stage;
static bool lacking[KERNEL_LACKS];               /* what this kernel lacks */
static enum { NOT_RUN, RUN, PASSED_OVER } * ran; /* by combination */

static struct model_settings settings_of(const struct combination *combination)
{
    return (struct model_settings){
        .strategy = combination->value[COMBINATION_STRATEGY],
        .encoding = combination->value[COMBINATION_ENCODING],
        .routes_read = combination->value[COMBINATION_ROUTES] != ROUTES_UNKNOWN,
        .by_helper = combination->value[COMBINATION_ROUTES] == ROUTES_READ_BY_HELPER,
        .mtu = STAGE_MTU,
    };
}

/* Loads the program of the combination, with the flow's entries, unless it is loaded already. */
static void load_for(const struct combination *combination, struct model_settings *loaded)
{
    struct model_settings wanted = settings_of(combination);
    struct combination plain = {{0}};
    struct packet_recipe recipe;
    unsigned segment;
    size_t cut;

    if (wanted.strategy == loaded->strategy && wanted.encoding == loaded->encoding &&
        wanted.routes_read == loaded->routes_read && wanted.by_helper == loaded->by_helper &&
        stage.program.flows_fd >= 0)
        return;
    if (stage.program.flows_fd >= 0 && !stage_counters_complete(&stage))
        fail_msg("%s", stage.complaint);
    assert_int_equal(stage_load_as_model(&stage, &wanted), 0);
    combination_packet(&plain, 0, (const uint8_t[PACKET_OPTION_SIZE]){0}, 0, STAGE_MTU, &recipe,
                       &cut, &segment);
    assert_int_equal(stage_add_flow(&stage, &recipe), 0);
    *loaded = wanted;
}

/* The first fragment of the flow's datagram, which later ones are known by. */
static bool run_first_fragment(const struct model_settings *settings,
                               const struct packet_recipe *later)
{
    struct packet_recipe first = *later;

    memset(first.tags, 0, sizeof(first.tags));
    first.no_link_header = false;
    first.chain[0] = PACKET_FRAGMENT_FIRST;
    first.chain_length = 1;
    return stage_run_as_model(&stage, WAY_TEST_RUN, settings, &first, 0, &stage_mark);
}

static bool run_combination(const struct combination *combination, enum combination_way way,
                            enum flowd_marker_verdict *verdict)
{
    struct model_settings settings = settings_of(combination);
    struct packet_recipe recipe;
    struct model_packet packet = {.recipe = &recipe,
                                  .cut = combination->value[COMBINATION_CUT],
                                  .datagram_known = combination->value[COMBINATION_FRAGMENT] ==
                                                    FRAGMENT_LATER_KNOWN};
    uint8_t option[PACKET_OPTION_SIZE];
    struct model_result expected;
    size_t cut;

    model_option(settings.encoding, &stage_mark, option);
    combination_packet(combination, stage_mark.label, option, ++stage.identification, STAGE_MTU,
                       &recipe, &cut, &packet.segment);
    expected = model_expect(&settings, &packet, &stage_mark);
    *verdict = expected.verdict;
    if (packet.datagram_known && !run_first_fragment(&settings, &recipe))
        return false;
    return stage_run(&stage, way, &recipe, cut, packet.segment, &expected);
}

static void test_every_combination(void **state)
{
    struct model_settings loaded = {0};
    size_t counts[WAYS] = {0};
    size_t verdicts[FLOWD_MARKER_VERDICTS] = {0};
    struct stride stride = {0};
    unsigned complaints = 0;

    (void)state;
    for (size_t i = 0; i < combination_total(); i++) {
        struct combination combination = combination_at(i);
        enum combination_way way = combination_way(&combination);
        enum flowd_marker_verdict verdict;

        if (way == WAY_NOT || combination_impossible(&combination, NULL) != NULL ||
            combination_left_out(&combination, lacking) != KERNEL_LACKS)
            continue;
        ran[i] = PASSED_OVER;
        if (!stride_takes(&stride))
            continue;
        load_for(&combination, &loaded);
        if (!run_combination(&combination, way, &verdict)) {
            print_error("%s: %s\n", combination_text(&combination), stage.complaint);
            if (++complaints == COMPLAINTS_MAX)
                break;
        }
        ran[i] = RUN;
        counts[way]++;
        verdicts[verdict]++;
    }
    if (complaints > 0)
        fail();
    assert_true(stage_counters_complete(&stage));
    stride_say(&stride, "combinations");
    print_message("%zu by BPF_PROG_TEST_RUN, %zu through devices\n", counts[WAY_TEST_RUN],
                  counts[WAY_DEVICE]);
    /* The table reaches what it is for: every verdict but two that need other set-ups. */
    for (unsigned i = 0; i < FLOWD_MARKER_VERDICTS && !lacking[KERNEL_NO_OPTIONS]; i++)
        if (i != FLOWD_MARKER_NO_FLOW && i != FLOWD_MARKER_ERROR)
            assert_true(verdicts[i] > 0);
}

/* Each lack keeps some combinations from being run; how many is said. */
static void say_left_out(const size_t counts[static KERNEL_LACKS])
{
    for (unsigned lack = 0; lack < KERNEL_LACKS; lack++) {
        char how_many[64];

        assert_int_equal(lacking[lack], counts[lack] > 0);
        if (!lacking[lack])
            continue;
        snprintf(how_many, sizeof(how_many), "%zu combinations", counts[lack]);
        kernel_leave_out(lack, how_many);
    }
}

/*
 * The meta-test: each combination was run, or there is a reason why it can't exist, or this kernel
 * lacks what it needs (or it was passed over, where that is asked for). Each value of each
 * dimension is in a case, and each reason is needed.
 */
static void test_no_combination_is_missing(void **state)
{
    size_t *used = calloc(combination_rules(), sizeof(*used));
    bool covered[COMBINATION_DIMENSIONS][32] = {{false}};
    size_t left_out[KERNEL_LACKS + 1] = {0};
    unsigned complaints = 0;

    (void)state;
    assert_non_null(used);
    for (size_t i = 0; i < combination_total() && complaints < COMPLAINTS_MAX; i++) {
        struct combination combination = combination_at(i);
        enum kernel_lack lack;
        unsigned rule;

        if (combination_impossible(&combination, &rule) != NULL) {
            used[rule]++;
            continue;
        }
        lack = combination_left_out(&combination, lacking);
        left_out[lack]++;
        if (ran[i] == RUN || lack != KERNEL_LACKS) {
            for (unsigned d = 0; d < COMBINATION_DIMENSIONS; d++)
                covered[d][combination.value[d]] = true;
        } else if (ran[i] != PASSED_OVER) {
            print_error("%s: no case\n", combination_text(&combination));
            complaints++;
        }
    }
    assert_int_equal(complaints, 0);
    for (unsigned d = 0; d < COMBINATION_DIMENSIONS; d++)
        for (unsigned value = 0; value < combination_values(d); value++)
            if (!covered[d][value])
                fail_msg("%s is in no case", combination_value_text(d, value));
    for (unsigned rule = 0; rule < combination_rules(); rule++)
        assert_true(used[rule] > 0);
    say_left_out(left_out);
    free(used);
}

static int look_what_is_lacking(void **state)
{
    (void)state;
    lacking[KERNEL_NO_OPTIONS] = !kernel_writes_options();
    lacking[KERNEL_NO_DATAGRAMS] = !stage_cuts_datagrams(&stage);
    ran = calloc(combination_total(), sizeof(*ran));
    return ran != NULL ? 0 : -1;
}

static int forget_what_ran(void **state)
{
    (void)state;
    free(ran);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_no_combination_is_missing),
    };
    const char *reason = marker_run_unavailable();

    if (reason == NULL)
        reason = without_btf_unavailable();
    if (reason != NULL)
        return bpf_main_skip(reason);
    return stage_main(&stage, tests, look_what_is_lacking, forget_what_ran);
}
