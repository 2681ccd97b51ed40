/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program against reference data: frames before and after an independent marker, byte for byte,
 * and flow labels on which two independent implementations agree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "daemon/flow/flow.h"
#include "lab/bpf_main.h"
#include "lab/kernel_lacks.h"
#include "lab/marker_run.h"
#include "lab/packet.h"

#define FRAME_SIZE 256

/* Of the strategy that is tested. */
static struct marker_program program = MARKER_PROGRAM_CLOSED;

static size_t from_hex(const char *text, uint8_t *bytes, size_t size)
{
    size_t length = strlen(text) / 2;

    assert_true(strlen(text) % 2 == 0 && length <= size);
    for (size_t i = 0; i < length; i++) {
        unsigned byte;

        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    return length;
}

/* The key of a TCP frame, with or without one VLAN tag. */
static struct flowd_marker_key frame_key(const uint8_t *frame, bool tagged)
{
    const uint8_t *header = frame + (tagged ? 18 : 14);
    struct flowd_marker_key key = {.protocol = header[6]};

    memcpy(key.src, header + 8, 16);
    memcpy(key.dst, header + 24, 16);
    memcpy(&key.ports, header + 40, 4);
    return key;
}

/* Loads the program of the strategy in the place of the one before. */
static void load(enum flowd_marker_strategy strategy, enum flowd_marker_encoding encoding)
{
    marker_run_close(&program);
    assert_int_equal(
        marker_run_load(&program, &(struct marker_program_settings){.strategy = strategy,
                                                                    .encoding = encoding,
                                                                    .entries_max = 16}),
        0);
}

static void check_frame(const json_t *line)
{
    const char *in;
    const char *out;
    const json_t *vlan;
    int experiment;
    int activity;
    uint8_t before[FRAME_SIZE];
    uint8_t after[FRAME_SIZE];
    size_t length;
    size_t length_after;
    struct flowd_marker_key key;
    struct marker_run run;

    assert_int_equal(json_unpack((json_t *)line, "{s:o, s:i, s:i, s:s, s:s}", "vlan", &vlan,
                                 "experiment", &experiment, "activity", &activity, "in", &in, "out",
                                 &out),
                     0);
    length = from_hex(in, before, sizeof(before));
    length_after = from_hex(out, after, sizeof(after));
    key = frame_key(before, !json_is_null(vlan));
    assert_int_equal(marker_run_clear(&program), 0);
    assert_int_equal(
        marker_run_add(&program, &key,
                       &(struct flowd_marker_mark){
                           .label = flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0),
                           .experiment = (uint16_t)experiment,
                           .activity = (uint8_t)activity}),
        0);
    assert_int_equal(
        marker_run(program.program_fds[MARKER_ETHERNET_HEADER], before, length, 1, &run), 0);
    assert_int_equal(run.verdict, -1);
    assert_int_equal(run.length, length_after);
    assert_memory_equal(run.bytes, after, length_after);
}

/* Every line, in the order of the strategies: how many of each there are is known. */
static void test_marked_packets(void **state)
{
    static const struct {
        const char *name;
        enum flowd_marker_strategy strategy;
        unsigned lines;
    } strategies[] = {
        {"label", FLOWD_MARKER_LABEL, 14},
        {"hopByHop", FLOWD_MARKER_HOP_BY_HOP, 7},
        {"destination", FLOWD_MARKER_DESTINATION, 7},
        {"hopByHopDestination", FLOWD_MARKER_HOP_BY_HOP_DESTINATION, 7},
    };
    FILE *file = fopen(FLOWD_TEST_DATA "/marked_packets.jsonl", "re");
    char *text = NULL;
    size_t size = 0;
    unsigned lines = 0;
    unsigned tagged = 0;
    unsigned checked = 0;

    (void)state;
    assert_non_null(file);
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        unsigned before = checked;

        load(strategies[s].strategy, FLOWD_MARKER_SCITAGS);
        rewind(file);
        for (lines = 0; getline(&text, &size, file) > 0; lines++) {
            json_t *line = json_loads(text, 0, NULL);

            assert_non_null(line);
            if (strcmp(json_string_value(json_object_get(line, "strategy")), strategies[s].name) ==
                0) {
                check_frame(line);
                checked++;
                tagged += !json_is_null(json_object_get(line, "vlan"));
            }
            json_decref(line);
        }
        assert_int_equal(checked - before, strategies[s].lines);
    }
    free(text);
    fclose(file);
    if (kernel_strategies() == 1)
        return;
    assert_int_equal(checked, lines);
    assert_int_equal(tagged, 7);
}

static const struct packet_recipe udp = {.src = "2001:db8::1",
                                         .dst = "2001:db8::2",
                                         .src_port = 1094,
                                         .dst_port = 40000,
                                         .protocol = IPPROTO_UDP,
                                         .traffic_class = 0xa5,
                                         .flow_label = 0xfffff};

/* The option that the label becomes, in the encoding of 2024, as text: type, length, data. */
static void option_2024(uint32_t label, char text[static 2 * PACKET_OPTION_SIZE + 1])
{
    struct flowd_marker_key key = packet_key(&udp);
    struct packet packet;
    struct marker_run run;

    packet_compose(&udp, &packet);
    /* The other members are not for this encoding. */
    assert_int_equal(marker_run_add(&program, &key,
                                    &(struct flowd_marker_mark){
                                        .label = label, .experiment = 0xffff, .activity = 0xff}),
                     0);
    assert_int_equal(marker_run(program.program_fds[MARKER_ETHERNET_HEADER], packet.bytes,
                                packet.length, 1, &run),
                     0);
    assert_int_equal(run.length, packet.length + 8);
    /* Behind the IPv6 header: what follows, and that the header is 8 bytes long. */
    assert_int_equal(run.bytes[packet.transport], IPPROTO_UDP);
    assert_int_equal(run.bytes[packet.transport + 1], 0);
    for (unsigned i = 0; i < PACKET_OPTION_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", run.bytes[packet.transport + 2 + i]);
}

static void test_2024_option(void **state)
{
    static const enum flowd_marker_strategy strategies[] = {FLOWD_MARKER_HOP_BY_HOP,
                                                            FLOWD_MARKER_DESTINATION};
    char text[2 * PACKET_OPTION_SIZE + 1];
    char expected[sizeof(text)];

    (void)state;
    if (!kernel_writes_options()) {
        kernel_leave_out(KERNEL_NO_OPTIONS, "");
        skip();
    }
    for (unsigned s = 0; s < 2; s++) {
        load(strategies[s], FLOWD_MARKER_2024);
        option_2024(0x3fefd, text);
        assert_string_equal(text, "1f0403fefd00");
        option_2024(0xffffc, text);
        assert_string_equal(text, "1f040ffffc00");
        /* Each bit alone, each bit missing, and numbers that share no pattern with them. */
        for (unsigned i = 0; i < 1000; i++) {
            uint32_t label = i < 20   ? 1u << i
                             : i < 40 ? 0xfffffu ^ 1u << (i - 20)
                                      : i * 0x9e3779b1u >> 12;

            option_2024(label, text);
            snprintf(expected, sizeof(expected), "1f04%06x00", label);
            assert_string_equal(text, expected);
        }
    }
}

static void check_label(unsigned experiment, unsigned activity, unsigned expected)
{
    struct flowd_marker_key key = packet_key(&udp);
    uint32_t label = flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0);
    struct marker_run run;
    struct packet packet;

    assert_int_equal(label, expected);
    packet_compose(&udp, &packet);
    assert_int_equal(marker_run_add(&program, &key, &(struct flowd_marker_mark){.label = label}),
                     0);
    assert_int_equal(marker_run(program.program_fds[MARKER_ETHERNET_HEADER], packet.bytes,
                                packet.length, 1, &run),
                     0);
    assert_int_equal(run.verdict, -1);
    packet_set_label(&packet, expected);
    assert_memory_equal(run.bytes, packet.bytes, packet.length);
}

static void test_flow_labels(void **state)
{
    FILE *file = fopen(FLOWD_TEST_DATA "/flow_labels.csv", "re");
    char line[80];
    unsigned checked = 0;

    (void)state;
    load(FLOWD_MARKER_LABEL, FLOWD_MARKER_SCITAGS);
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    assert_string_equal(line, "experiment,activity,label_entropy_zero\n");
    while (fgets(line, sizeof(line), file)) {
        unsigned experiment;
        unsigned activity;
        unsigned label;

        assert_int_equal(sscanf(line, "%u,%u,0x%x", &experiment, &activity, &label), 3);
        check_label(experiment, activity, label);
        checked++;
    }
    fclose(file);
    assert_true(checked > 80);
}

static int close_program(void **state)
{
    (void)state;
    marker_run_close(&program);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marked_packets),
        cmocka_unit_test(test_2024_option),
        cmocka_unit_test(test_flow_labels),
    };

    return bpf_main(tests, NULL, close_program);
}
