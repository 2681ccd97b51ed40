/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marks that a CPU remembers: that they are, and that none is used for another flow's packet or
 * after its entry was changed. What flowd does after it changed an entry (marker_run_void) is left
 * out where a test wants to see what is remembered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <cmocka.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lab/bpf_main.h"
#include "lab/marker_run.h"
#include "lab/packet.h"
#include "recent.h"

#define ONE 0xabcdeu
#define ANOTHER 0x54321u

enum { ADDRESSES, WITH_SOURCE, FORGETFUL, KINDS };

static struct marker_program programs[KINDS];

/* The label with which the recipe's packet leaves. */
static uint32_t sent(struct marker_program *program, const struct packet_recipe *recipe)
{
    static struct packet packet;
    static struct marker_run run;
    const uint8_t *header = run.bytes + 14;

    packet_compose(recipe, &packet);
    assert_int_equal(marker_run(program->program_fds[MARKER_ETHERNET_HEADER], packet.bytes,
                                packet.length, 1, &run),
                     0);
    assert_int_equal(run.verdict, -1);
    return (uint32_t)(header[1] & 0x0f) << 16 | (uint32_t)header[2] << 8 | header[3];
}

static void add(struct marker_program *program, const struct packet_recipe *recipe, uint32_t label)
{
    struct flowd_marker_key key = packet_key(recipe);
    struct flowd_marker_mark mark = {.label = label};

    assert_int_equal(marker_run_add(program, &key, &mark), 0);
}

/* Changes the entry, or deletes it with label 0, and leaves what is remembered as it is. */
static void change_silently(struct marker_program *program, const struct packet_recipe *recipe,
                            uint32_t label)
{
    struct flowd_marker_key key = packet_key(recipe);
    flowd_marker_word word =
        marker_run_word(program, &key, &(struct flowd_marker_mark){.label = label});

    assert_int_equal(label == 0 ? bpf_map_delete_elem(program->flows_fd, &key)
                                : bpf_map_update_elem(program->flows_fd, &key, &word, BPF_EXIST),
                     0);
}

static uint32_t slot_of(const struct packet_recipe *recipe)
{
    struct flowd_marker_key key = packet_key(recipe);

    return flowd_marker_recent_slot(flowd_marker_key_hash(&key));
}

static void use_cpu(size_t cpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    assert_int_equal(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
}

static int setup(void **state)
{
    (void)state;
    use_cpu(0);
    for (unsigned i = 0; i < KINDS; i++)
        if (marker_run_clear(&programs[i]) != 0)
            return -1;
    return 0;
}

/* Until its slot has another generation, and not longer. */
static void test_remembered_until_it_is_void(void **state)
{
    (void)state;
    for (unsigned i = ADDRESSES; i <= WITH_SOURCE; i++) {
        struct marker_program *program = &programs[i];

        add(program, &packet_plain, ONE);
        assert_int_equal(sent(program, &packet_plain), ONE);
        change_silently(program, &packet_plain, ANOTHER);
        assert_int_equal(sent(program, &packet_plain), ONE);
        program->shared->generations[(slot_of(&packet_plain) + 1) % FLOWD_MARKER_RECENT_SLOTS]++;
        assert_int_equal(sent(program, &packet_plain), ONE);
        program->shared->generations[slot_of(&packet_plain)]++;
        assert_int_equal(sent(program, &packet_plain), ANOTHER);
        change_silently(program, &packet_plain, 0);
        assert_int_equal(sent(program, &packet_plain), ANOTHER);
        program->shared->generations[slot_of(&packet_plain)]++;
        assert_int_equal(sent(program, &packet_plain), packet_plain.flow_label);
    }
}

/* That a flow is not there is not remembered: its first packet after its start is marked. */
static void test_nothing_is_remembered_of_no_flow(void **state)
{
    struct flowd_marker_key key = packet_key(&packet_plain);
    flowd_marker_word word =
        marker_run_word(&programs[0], &key, &(struct flowd_marker_mark){.label = ONE});

    (void)state;
    marker_run_bit(&programs[0], &key, true);
    assert_int_equal(sent(&programs[0], &packet_plain), packet_plain.flow_label);
    assert_int_equal(bpf_map_update_elem(programs[0].flows_fd, &key, &word, BPF_ANY), 0);
    assert_int_equal(sent(&programs[0], &packet_plain), ONE);
}

/* The bit of a flow that ended says "no" before anything that is remembered. */
static void test_bit_decides_first(void **state)
{
    struct flowd_marker_key key = packet_key(&packet_plain);

    (void)state;
    add(&programs[0], &packet_plain, ONE);
    assert_int_equal(sent(&programs[0], &packet_plain), ONE);
    marker_run_bit(&programs[0], &key, false);
    assert_int_equal(sent(&programs[0], &packet_plain), packet_plain.flow_label);
}

static void test_each_cpu_for_itself(void **state)
{
    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("there is one processor only\n");
        skip();
    }
    add(&programs[0], &packet_plain, ONE);
    assert_int_equal(sent(&programs[0], &packet_plain), ONE);
    change_silently(&programs[0], &packet_plain, ANOTHER);
    assert_int_equal(sent(&programs[0], &packet_plain), ONE);
    use_cpu(1);
    assert_int_equal(sent(&programs[0], &packet_plain), ANOTHER);
    use_cpu(0);
    assert_int_equal(sent(&programs[0], &packet_plain), ONE);
}

/* Flows that share a slot: the packets of each bear its own label, in whatever order they leave. */
static void check_neighbours(struct marker_program *program, const struct packet_recipe *one,
                             const struct packet_recipe *another)
{
    assert_int_equal(slot_of(one), slot_of(another));
    assert_int_equal(marker_run_clear(program), 0);
    add(program, one, ONE);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(sent(program, one), ONE);
        assert_int_equal(sent(program, another), packet_plain.flow_label);
    }
    add(program, another, ANOTHER);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(sent(program, one), ONE);
        assert_int_equal(sent(program, one), ONE);
        assert_int_equal(sent(program, another), ANOTHER);
    }
}

static void test_flows_in_one_slot(void **state)
{
    struct packet_recipe others[] = {packet_plain, packet_plain, packet_plain, packet_plain,
                                     packet_plain};
    char dst[64];

    (void)state;
    others[1].dst_port = 1;
    others[2].protocol = IPPROTO_UDP;
    for (unsigned i = 0; i < 3; i++)
        do
            others[i].src_port++;
        while (slot_of(&others[i]) != slot_of(&packet_plain));
    /* The same ports to another address; the network's half differs, or the host's. */
    for (unsigned i = 3; i < 5; i++) {
        others[i].dst = dst;
        for (unsigned n = 3; n == 3 || slot_of(&others[i]) != slot_of(&packet_plain); n++)
            snprintf(dst, sizeof(dst), i == 3 ? "2001:db8:0:%x::2" : "2001:db8:0:1::%x", n);
        check_neighbours(&programs[ADDRESSES], &packet_plain, &others[i]);
        check_neighbours(&programs[WITH_SOURCE], &packet_plain, &others[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        check_neighbours(&programs[ADDRESSES], &packet_plain, &others[i]);
        check_neighbours(&programs[WITH_SOURCE], &packet_plain, &others[i]);
    }
}

/* Where the source counts, it does for what is remembered too; elsewhere it does not. */
static void test_source_address(void **state)
{
    struct packet_recipe low = packet_plain;
    struct packet_recipe high = packet_plain;

    (void)state;
    low.src = "2001:db8::ffff";
    high.src = "2001:db9::1";
    check_neighbours(&programs[WITH_SOURCE], &packet_plain, &low);
    check_neighbours(&programs[WITH_SOURCE], &packet_plain, &high);

    add(&programs[ADDRESSES], &packet_plain, ONE);
    assert_int_equal(sent(&programs[ADDRESSES], &packet_plain), ONE);
    change_silently(&programs[ADDRESSES], &packet_plain, 0);
    assert_int_equal(sent(&programs[ADDRESSES], &low), ONE);
}

/* On the kernel of these tests it is, whichever way loads are kept in order. */
static void test_is_safe(void **state)
{
    struct utsname names;

    (void)state;
    assert_int_equal(uname(&names), 0);
    assert_int_equal(marker_recent_is_safe(), strstr(names.version, "PREEMPT_RT") == NULL);
}

/*
 * An entry whose memory has become another key's is none of this one's; the program is shown one by
 * the other key's value under this key.
 */
static void test_word_of_another_key(void **state)
{
    struct packet_recipe another = packet_plain;
    flowd_marker_word word;

    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        struct flowd_marker_key key = packet_key(&packet_plain);
        struct flowd_marker_key other;

        /* Only where the source counts it makes another key. */
        if (i == WITH_SOURCE)
            another.src = "2001:db8:86dd::2";
        else
            another.src_port++;
        other = packet_key(&another);
        word = marker_run_word(&programs[i], &other, &(struct flowd_marker_mark){.label = ONE});
        marker_run_bit(&programs[i], &key, true);
        assert_int_equal(bpf_map_update_elem(programs[i].flows_fd, &key, &word, BPF_ANY), 0);
        assert_int_equal(sent(&programs[i], &packet_plain), packet_plain.flow_label);
        add(&programs[i], &packet_plain, ONE);
        assert_int_equal(sent(&programs[i], &packet_plain), ONE);
        another = packet_plain;
    }
}

static void test_forgetful(void **state)
{
    (void)state;
    add(&programs[FORGETFUL], &packet_plain, ONE);
    assert_int_equal(sent(&programs[FORGETFUL], &packet_plain), ONE);
    change_silently(&programs[FORGETFUL], &packet_plain, ANOTHER);
    assert_int_equal(sent(&programs[FORGETFUL], &packet_plain), ANOTHER);
    change_silently(&programs[FORGETFUL], &packet_plain, 0);
    assert_int_equal(sent(&programs[FORGETFUL], &packet_plain), packet_plain.flow_label);
}

static int load_programs(void **state)
{
    const struct marker_program_settings settings[KINDS] = {
        [ADDRESSES] = {.entries_max = 16},
        [WITH_SOURCE] = {.entries_max = 16, .match_source = true},
        [FORGETFUL] = {.entries_max = 16, .forgetful = true},
    };
    int result = 0;

    (void)state;
    for (unsigned i = 0; i < KINDS && result == 0; i++)
        result = marker_run_load(&programs[i], &settings[i]);
    return result;
}

static int close_programs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KINDS; i++)
        marker_program_close(&programs[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_remembered_until_it_is_void, setup),
        cmocka_unit_test_setup(test_nothing_is_remembered_of_no_flow, setup),
        cmocka_unit_test_setup(test_bit_decides_first, setup),
        cmocka_unit_test_setup(test_each_cpu_for_itself, setup),
        cmocka_unit_test_setup(test_flows_in_one_slot, setup),
        cmocka_unit_test_setup(test_source_address, setup),
        cmocka_unit_test_setup(test_word_of_another_key, setup),
        cmocka_unit_test_setup(test_is_safe, setup),
        cmocka_unit_test_setup(test_forgetful, setup),
    };

    return bpf_main(tests, load_programs, close_programs);
}
