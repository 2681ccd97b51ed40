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

#include "daemon/flow.h"
#include "marker_program.h"
#include "packet.h"

static struct marker_program program;

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

static void check_frame(const json_t *line)
{
    const char *in;
    const char *out;
    const json_t *vlan;
    int experiment;
    int activity;
    uint8_t before[PACKET_SIZE];
    uint8_t after[PACKET_SIZE];
    size_t length;
    struct flowd_marker_key key;
    struct marker_run run;

    assert_int_equal(json_unpack((json_t *)line, "{s:o, s:i, s:i, s:s, s:s}", "vlan", &vlan,
                                 "experiment", &experiment, "activity", &activity, "in", &in, "out",
                                 &out),
                     0);
    length = from_hex(in, before, sizeof(before));
    assert_int_equal(from_hex(out, after, sizeof(after)), length);
    key = frame_key(before, !json_is_null(vlan));
    assert_int_equal(marker_program_clear(&program), 0);
    assert_int_equal(
        marker_program_add(&program, &key,
                           flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0)),
        0);
    assert_int_equal(marker_run(program.program_fd, before, length, 1, &run), 0);
    assert_int_equal(run.verdict, -1);
    assert_int_equal(run.length, length);
    assert_memory_equal(run.bytes, after, length);
}

static void test_marked_packets(void **state)
{
    FILE *file = fopen(FLOWD_TEST_DATA "/marked_packets.jsonl", "re");
    char *text = NULL;
    size_t size = 0;
    unsigned checked = 0;
    unsigned tagged = 0;

    (void)state;
    assert_non_null(file);
    while (getline(&text, &size, file) > 0) {
        json_t *line = json_loads(text, 0, NULL);

        assert_non_null(line);
        if (strcmp(json_string_value(json_object_get(line, "strategy")), "label") == 0) {
            check_frame(line);
            checked++;
            tagged += !json_is_null(json_object_get(line, "vlan"));
        }
        json_decref(line);
    }
    free(text);
    fclose(file);
    assert_int_equal(checked, 14);
    assert_int_equal(tagged, 7);
}

static void check_label(unsigned experiment, unsigned activity, unsigned expected)
{
    const struct packet_recipe recipe = {.src = "2001:db8::1",
                                         .dst = "2001:db8::2",
                                         .src_port = 1094,
                                         .dst_port = 40000,
                                         .protocol = IPPROTO_UDP,
                                         .traffic_class = 0xa5,
                                         .flow_label = 0xfffff};
    struct flowd_marker_key key = packet_key(&recipe);
    uint32_t label = flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0);
    struct marker_run run;
    struct packet packet;

    assert_int_equal(label, expected);
    packet_compose(&recipe, &packet);
    assert_int_equal(marker_program_clear(&program), 0);
    assert_int_equal(marker_program_add(&program, &key, label), 0);
    assert_int_equal(marker_run(program.program_fd, packet.bytes, packet.length, 1, &run), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marked_packets),
        cmocka_unit_test(test_flow_labels),
    };
    const char *reason = marker_program_unavailable();
    int failed;

    if (reason != NULL) {
        fprintf(stderr, "skipped: %s\n", reason);
        return 77;
    }
    if (marker_program_load(&program, false, false, 16) < 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    marker_program_unload(&program);
    return failed;
}
