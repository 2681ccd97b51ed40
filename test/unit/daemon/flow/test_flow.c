/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow labels against the published table, ids, keys, and the check of events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/flow/flow.h"

#define TEXT(literal) literal, sizeof(literal) - 1
#define ENTROPY_BITS 0xc0103u /* bits 19, 18, 8, 1 and 0 of a label */

static void test_labels_of_the_table(void **state)
{
    FILE *file = fopen(FLOWD_TEST_DATA "/flow_labels.csv", "re");
    unsigned experiment, activity, label, rows = 0;
    char line[128];

    (void)state;
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    while (fgets(line, sizeof(line), file) != NULL) {
        assert_int_equal(sscanf(line, "%u,%u,%x", &experiment, &activity, &label), 3);
        assert_int_equal(flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0), label);
        assert_int_equal(flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0xe0), label);
        assert_int_equal(flowd_flow_label((uint16_t)experiment, (uint8_t)activity, 0x1f),
                         label | ENTROPY_BITS);
        rows++;
    }
    fclose(file);
    assert_int_equal(rows, 120);
}

/* Built bit by bit from the definition, independently of how the code does it. */
static uint32_t label_by_definition(unsigned experiment, unsigned activity, unsigned entropy)
{
    unsigned bits[20];
    uint32_t label = 0;

    bits[0] = entropy >> 4 & 1;
    bits[1] = entropy >> 3 & 1;
    for (unsigned i = 0; i < 9; i++)
        bits[2 + i] = experiment >> i & 1;
    bits[11] = entropy >> 2 & 1;
    for (unsigned i = 0; i < 6; i++)
        bits[12 + i] = activity >> (5 - i) & 1;
    bits[18] = entropy >> 1 & 1;
    bits[19] = entropy & 1;
    for (unsigned i = 0; i < 20; i++)
        label = label << 1 | bits[i];
    return label;
}

static void test_every_label(void **state)
{
    (void)state;
    for (unsigned experiment = 0; experiment <= FLOWD_LABEL_EXPERIMENT_MAX; experiment++)
        for (unsigned activity = 0; activity <= FLOWD_ACTIVITY_MAX; activity++)
            for (unsigned entropy = 0; entropy < 32; entropy++)
                if (flowd_flow_label((uint16_t)experiment, (uint8_t)activity, (uint8_t)entropy) !=
                    label_by_definition(experiment, activity, entropy))
                    fail_msg("label of %u, %u, entropy %u", experiment, activity, entropy);
    assert_int_equal(flowd_scitag(2, 17), 145);
    assert_int_equal(flowd_scitag(1023, 63), FLOWD_SCITAG_MAX);
    assert_int_equal(flowd_scitag(1, 1), FLOWD_SCITAG_MIN);
}

static void test_ids(void **state)
{
    static const uint64_t ids[] = {1, 0x100000001, 0xdeadbeefcafef00d, UINT64_MAX};
    static const struct {
        const char *text;
        size_t length;
    } bad[] = {{TEXT("")},
               {TEXT("000000010000000")},
               {TEXT("00000001000000011")},
               {TEXT("00000001 0000001")},
               {TEXT("0x00000100000001")},
               {TEXT("000000010000000g")},
               {TEXT("00000001000000\00001")},
               {TEXT("DEADBEEFCAFEF00D")}};
    char text[FLOWD_FLOW_ID_SIZE];
    uint64_t id;

    (void)state;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        flowd_flow_id_format(ids[i], text);
        assert_int_equal(strlen(text), 16);
        assert_int_equal(flowd_flow_id_parse(text, 16, &id), 0);
        assert_true(id == ids[i]);
    }
    flowd_flow_id_format(0x100000001, text);
    assert_string_equal(text, "0000000100000001");
    id = 5;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (flowd_flow_id_parse(bad[i].text, bad[i].length, &id) != -EINVAL || id != 5)
            fail_msg("\"%s\" was taken for an id", bad[i].text);
}

static void test_words(void **state)
{
    enum flowd_event_state event_state;
    uint8_t protocol;

    (void)state;
    assert_int_equal(flowd_protocol_parse(TEXT("TcP"), &protocol), 0);
    assert_int_equal(protocol, IPPROTO_TCP);
    assert_int_equal(flowd_protocol_parse(TEXT("udp"), &protocol), 0);
    assert_int_equal(protocol, IPPROTO_UDP);
    assert_string_equal(flowd_protocol_name(IPPROTO_UDP), "udp");
    assert_string_equal(flowd_protocol_name(IPPROTO_TCP), "tcp");
    assert_int_equal(flowd_protocol_parse(TEXT("tcp6"), &protocol), -EINVAL);
    assert_int_equal(flowd_protocol_parse(TEXT("tc"), &protocol), -EINVAL);
    assert_int_equal(flowd_protocol_parse(TEXT("6"), &protocol), -EINVAL);
    assert_int_equal(protocol, IPPROTO_UDP);
    assert_int_equal(flowd_event_state_parse(TEXT("OnGoing"), &event_state), 0);
    assert_int_equal(event_state, FLOWD_EVENT_ONGOING);
    assert_int_equal(flowd_event_state_parse(TEXT("END"), &event_state), 0);
    assert_int_equal(event_state, FLOWD_EVENT_END);
    assert_int_equal(flowd_event_state_parse(TEXT("en"), &event_state), -EINVAL);
    assert_int_equal(flowd_event_state_parse(TEXT("ended"), &event_state), -EINVAL);
    assert_int_equal(flowd_event_state_parse(TEXT(""), &event_state), -EINVAL);
}

static struct flowd_event good_event(void)
{
    struct flowd_address src, dst;
    struct flowd_event event = {
        .key = {.src_port = 1094, .dst_port = 40000, .protocol = IPPROTO_TCP},
        .experiment = 2,
        .activity = 17};

    assert_int_equal(flowd_address_parse(TEXT("2001:db8::1"), &src), 0);
    assert_int_equal(flowd_address_parse(TEXT("2001:db8::2"), &dst), 0);
    assert_int_equal(flowd_flow_key_set_addresses(&event.key, &src, &dst), 0);
    return event;
}

static void test_keys(void **state)
{
    struct flowd_event event = good_event();
    struct flowd_flow_key other = event.key;
    struct flowd_address v4, v6;
    char text[FLOWD_FLOW_KEY_TEXT_SIZE];

    (void)state;
    flowd_flow_key_format(&event.key, text);
    assert_string_equal(text, "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000");
    assert_int_equal(flowd_flow_key_hash(&event.key, 1), flowd_flow_key_hash(&other, 1));
    assert_int_not_equal(flowd_flow_key_hash(&event.key, 1), flowd_flow_key_hash(&other, 2));
    other.dst_port++;
    assert_int_not_equal(flowd_flow_key_hash(&event.key, 1), flowd_flow_key_hash(&other, 1));
    other = flowd_flow_key_reverse(&event.key);
    flowd_flow_key_format(&other, text);
    assert_string_equal(text, "tcp [2001:db8::2]:40000 > [2001:db8::1]:1094");
    other = flowd_flow_key_reverse(&other);
    assert_memory_equal(&other, &event.key, sizeof(other));
    assert_int_equal(flowd_address_parse(TEXT("192.0.2.1"), &v4), 0);
    assert_int_equal(flowd_address_parse(TEXT("::1"), &v6), 0);
    other = event.key;
    assert_int_equal(flowd_flow_key_set_addresses(&other, &v4, &v6), -EINVAL);
    assert_memory_equal(&other, &event.key, sizeof(other));
    assert_int_equal(flowd_flow_key_set_addresses(&other, &v4, &v4), 0);
    other.protocol = IPPROTO_UDP;
    flowd_flow_key_format(&other, text);
    assert_string_equal(text, "udp 192.0.2.1:1094 > 192.0.2.1:40000");
}

static void assert_check(const struct flowd_event *event, int wanted, const char *message)
{
    struct flowd_error err = {.message = ""};

    assert_int_equal(flowd_event_check(event, &err), wanted);
    if (wanted < 0)
        assert_string_equal(err.message, message);
    assert_int_equal(flowd_event_check(event, NULL), wanted);
}

static void test_event_check(void **state)
{
    struct flowd_event event = good_event();

    (void)state;
    assert_check(&event, 0, "");
    event.experiment = FLOWD_EXPERIMENT_MAX;
    event.activity = FLOWD_ACTIVITY_MAX;
    event.key.protocol = IPPROTO_UDP;
    assert_check(&event, 0, "");
    event.experiment = 1024;
    assert_check(&event, -ERANGE, "experiment: 1024 is not in 0-1023");
    event = good_event();
    event.activity = 64;
    assert_check(&event, -ERANGE, "activity: 64 is not in 0-63");
    event = good_event();
    event.key.src_port = 0;
    assert_check(&event, -ERANGE, "srcPort: 0 is not in 1-65535");
    event = good_event();
    event.key.dst_port = 0;
    assert_check(&event, -ERANGE, "dstPort: 0 is not in 1-65535");
    event = good_event();
    event.key.protocol = IPPROTO_SCTP;
    assert_check(&event, -EINVAL, "protocol: 132 is neither tcp nor udp");
    event = good_event();
    event.key.family = AF_UNIX;
    assert_check(&event, -EINVAL, "family: neither IPv4 nor IPv6");
}

static void test_application_check(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        int result;
    } rows[] = {
        {TEXT(""), 0},
        {TEXT("fts 3.12"), 0},
        {TEXT("caf\xc3\xa9"), 0},
        {TEXT("1234567890123456789012345678901234567890123456789012345"), 0},
        {TEXT("12345678901234567890123456789012345678901234567890123456"), -ERANGE},
        {TEXT("a\nb"), -EINVAL},
        {TEXT("a\0b"), -EINVAL},
        {TEXT("a\x1b[2J"), -EINVAL},
        {TEXT("a\x7f"), -EINVAL},
        {TEXT("a\xff"), -EINVAL},
        {TEXT("caf\xc3"), -EINVAL},
        {TEXT("a\xc2\x85"
              "b"),
         -EINVAL}, /* U+0085, next line */
        {TEXT("a\xc2\x9b"
              "2J"),
         -EINVAL}, /* U+009B, which terminals take for ESC [ */
        {TEXT("a\xc2\xa0"
              "b"),
         0}, /* U+00A0 is no control character */
    };
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_event event = good_event();

        event.application = rows[i].bytes;
        event.application_length = rows[i].length;
        if (flowd_event_check(&event, NULL) != rows[i].result) {
            print_error("application row %zu gave %d\n", i, flowd_event_check(&event, NULL));
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_of_the_table),
        cmocka_unit_test(test_every_label),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_event_check),
        cmocka_unit_test(test_application_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
