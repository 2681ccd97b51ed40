/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each field of a sample becomes, and objects that have to fit a given room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tcp/tcp_field.h"

/* A text as a string, to be compared. */
static const char *string_of(struct flowd_text *text)
{
    flowd_text_char(text, '\0');
    return text->data;
}

static struct flowd_tcp_sample whole_sample(void)
{
    struct flowd_tcp_sample sample = {
        .state = TCP_ESTABLISHED, .info_length = sizeof(sample.info), .congestion = "cubic"};

    memset(&sample.info, 0, sizeof(sample.info));
    return sample;
}

/* clang-format off */
#define INFO(name_, member_, raw_, text_)                                                          \
    {                                                                                              \
        .name = (name_), .offset = offsetof(struct flowd_tcp_info, member_),                       \
        .size = sizeof(((struct flowd_tcp_info *)0)->member_), .raw = (raw_), .text = (text_)      \
    }
/* clang-format on */

/* A number as it stands in tcp_info and as it is written; NULL: it is not. */
static const struct {
    const char *name;
    size_t offset, size;
    uint64_t raw;
    const char *text;
} rows[] = {
    INFO("rtt", rtt, 43, "0.043"),
    INFO("rtt", rtt, 250000, "250"),
    INFO("rtt", rtt, 12345, "12.345"),
    INFO("rtt", rtt, 100500, "100.5"),
    INFO("rtt", rtt, 0, "0"),
    INFO("rtt", rtt, UINT32_MAX, "4294967.295"),
    INFO("rtt_var", rttvar, 1010, "1.01"),
    INFO("minrtt", min_rtt, 7, "0.007"),
    INFO("rto", rto, 204000, "204"),
    INFO("ato", ato, 40000, "40"),
    INFO("rcv_rtt", rcv_rtt, 1500, "1.5"),
    INFO("busy", busy_time, 1234567, "1234.567"),
    INFO("rwnd_limited", rwnd_limited, 1, "0.001"),
    INFO("sndbuf_limited", sndbuf_limited, 2000, "2"),
    INFO("lastsnd", last_data_sent, 96, "96"),
    INFO("lastrcv", last_data_recv, 97, "97"),
    INFO("lastack", last_ack_recv, 98, "98"),
    INFO("bytes_sent", bytes_sent, 1ull << 40, "1099511627776"),
    INFO("bytes_sent", bytes_sent, INT64_MAX, "9223372036854775807"),
    INFO("bytes_sent", bytes_sent, 1ull << 63, NULL),
    INFO("retrans", total_retrans, 3, "3"),
    INFO("retrans_out", retrans, 4, "4"),
    INFO("retransmits", retransmits, 255, "255"),
    INFO("cwnd", snd_cwnd, 10, "10"),
    INFO("mss", snd_mss, 1448, "1448"),
    INFO("delivery_rate", delivery_rate, 125, "1000"),
    INFO("pacing_rate", pacing_rate, UINT64_MAX, NULL),
    INFO("pacing_rate", pacing_rate, (1ull << 60) - 1, "9223372036854775800"),
    INFO("pacing_rate", pacing_rate, 1ull << 60, NULL),
    INFO("max_pacing_rate", max_pacing_rate, UINT64_MAX, NULL),
    INFO("max_pacing_rate", max_pacing_rate, 60000000, "480000000"),
    INFO("snd_wscale", wscale, 0x7a, "10"),
    INFO("rcv_wscale", wscale, 0x7a, "7"),
    INFO("app_limited", flags, 5, "1"),
    INFO("fastopen_client_fail", flags, 5, "2"),
    INFO("total_rto", total_rto, 65535, "65535"),
    INFO("accecn_opt_seen", accecn_opt_seen, 1, "1"),
};

static void expect_field(const char *name, const struct flowd_tcp_sample *sample,
                         const char *expected)
{
    const struct flowd_tcp_field *field = flowd_tcp_field_find(name);
    struct flowd_tcp_number number;
    struct flowd_text text = {0};

    assert_non_null(field);
    assert_int_equal(flowd_tcp_field_read(field, sample, &number), expected != NULL);
    if (expected != NULL) {
        flowd_tcp_number_write(&text, &number);
        assert_string_equal(string_of(&text), expected);
    }
    flowd_text_fini(&text);
}

static void test_info(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_tcp_sample sample = whole_sample();

        memcpy((char *)&sample.info + rows[i].offset, &rows[i].raw, rows[i].size);
        expect_field(rows[i].name, &sample, rows[i].text);
        /* A kernel whose tcp_info ends in the middle of it does not know it. */
        sample.info_length = (uint16_t)(rows[i].offset + rows[i].size - 1);
        expect_field(rows[i].name, &sample, NULL);
    }
}

static void test_other_parts(void **state)
{
    struct flowd_tcp_sample sample = whole_sample();

    (void)state;
    expect_field("skmem_sock_drop", &sample, NULL);
    expect_field("bbr_bw", &sample, NULL);
    for (unsigned i = 0; i < FLOWD_TCP_MEMORY_FIELDS; i++)
        sample.memory[i] = i + 1;
    sample.has = FLOWD_TCP_HAS_MEMORY;
    expect_field("skmem_rmem_alloc", &sample, "1");
    expect_field("skmem_sock_drop", &sample, "9");
    sample.bbr = (struct tcp_bbr_info){.bbr_bw_lo = 2,
                                       .bbr_bw_hi = 1,
                                       .bbr_min_rtt = 25,
                                       .bbr_pacing_gain = 739,
                                       .bbr_cwnd_gain = 512};
    sample.has = FLOWD_TCP_HAS_BBR;
    expect_field("bbr_bw", &sample, "34359738384");
    expect_field("bbr_mrtt", &sample, "0.025");
    expect_field("bbr_pacing_gain", &sample, "2.88671875");
    expect_field("bbr_cwnd_gain", &sample, "2");
    expect_field("vegas_rtt", &sample, NULL);
    sample.bbr.bbr_bw_hi = UINT32_MAX;
    expect_field("bbr_bw", &sample, NULL);
    sample.vegas = (struct tcpvegas_info){.tcpv_enabled = 1, .tcpv_rtt = 1500};
    sample.has = FLOWD_TCP_HAS_VEGAS;
    expect_field("vegas_enabled", &sample, "1");
    expect_field("vegas_rtt", &sample, "1.5");
    sample.dctcp = (struct tcp_dctcp_info){.dctcp_enabled = 1, .dctcp_ab_tot = 77};
    sample.has = FLOWD_TCP_HAS_DCTCP;
    expect_field("dctcp_enabled", &sample, "1");
    expect_field("dctcp_ab_tot", &sample, "77");
}

/* Ten segments of 1448 bytes in each round trip of 40 us. */
static void test_send_rate(void **state)
{
    struct flowd_tcp_sample sample = whole_sample();

    (void)state;
    expect_field("send", &sample, NULL);
    sample.info.rtt = 40;
    sample.info.snd_cwnd = 10;
    sample.info.snd_mss = 1448;
    expect_field("send", &sample, "2896000000");
    sample.info.snd_cwnd = sample.info.snd_mss = UINT32_MAX;
    sample.info.rtt = 1;
    expect_field("send", &sample, NULL);
    sample.info.rtt = 0;
    expect_field("send", &sample, NULL);
}

static void test_table(void **state)
{
    (void)state;
    assert_null(flowd_tcp_field_find("nothing"));
    assert_string_equal(flowd_tcp_fields[0].name, "rtt");
    for (size_t i = 0; i < flowd_tcp_field_count; i++) {
        const struct flowd_tcp_field *field = &flowd_tcp_fields[i];

        assert_ptr_equal(flowd_tcp_field_find(field->name), field);
        assert_true(field->sets & FLOWD_TCP_ALL);
        assert_true(field->doc[0] != '\0');
    }
}

/* Each name of flowd 1.1's fireflies once, and none twice. */
static void test_compatible_names(void **state)
{
    static const char *const names[] = {
        "rtt",
        "state",
        "cong",
        "opts",
        "pmtu",
        "retrans",
        "ato",
        "rto",
        "snd_wscale",
        "rcv_wscale",
        "snd_mss",
        "snd_cwnd",
        "snd_ssthresh",
        "rttvar",
        "rcv_rtt",
        "rcv_space",
        "last_data_sent",
        "rcv_ssthresh",
        "segs_in",
        "segs_out",
        "data_segs_in",
        "data_segs_out",
        "lost",
        "notsent_bytes",
        "rcv_mss",
        "pacing_rate",
        "retransmits",
        "min_rtt",
        "rwnd_limited",
        "max_pacing_rate",
        "probes",
        "reordering",
        "last_data_recv",
        "bytes_received",
        "fackets",
        "last_ack_recv",
        "last_ack_sent",
        "unacked",
        "sacked",
        "bytes_acked",
        "delivery_rate_app_limited",
        "delivery_rate",
        "sndbuf_limited",
        "ca_state",
        "busy_time",
        "total_retrans",
        "advmss",
        "backoff",
    };
    struct flowd_tcp_sample sample = whole_sample();
    struct flowd_text text = {0};
    json_t *object;

    (void)state;
    sample.info.rtt = 1500;
    sample.info.min_rtt = 1400;
    sample.info.busy_time = 77;
    sample.info.pacing_rate = UINT64_MAX;
    sample.info.delivery_rate = 1000;
    sample.info.retrans = 2;
    sample.info.total_retrans = 3;
    sample.state = TCP_CLOSE;
    flowd_tcp_sample_write(&text, &sample, FLOWD_TCP_COMPATIBLE, SIZE_MAX, true);
    object = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_object_get(object, names[i]) == NULL)
            fail_msg("\"%s\" is not there", names[i]);
    assert_int_equal(json_object_size(object), sizeof(names) / sizeof(names[0]));
    assert_true(json_real_value(json_object_get(object, "rtt")) == 1.5);
    assert_int_equal(json_integer_value(json_object_get(object, "min_rtt")), 1400);
    assert_int_equal(json_integer_value(json_object_get(object, "busy_time")), 77);
    assert_int_equal(json_integer_value(json_object_get(object, "pacing_rate")), INT64_MAX);
    assert_int_equal(json_integer_value(json_object_get(object, "delivery_rate")), 1000);
    assert_int_equal(json_integer_value(json_object_get(object, "retrans")), 2);
    assert_int_equal(json_integer_value(json_object_get(object, "total_retrans")), 3);
    assert_string_equal(json_string_value(json_object_get(object, "state")), "unconnected");
    json_decref(object);
    flowd_text_fini(&text);
}

static void test_options(void **state)
{
    struct flowd_tcp_sample sample = whole_sample();
    char buffer[FLOWD_TCP_OPTIONS_SIZE];
    size_t length;

    (void)state;
    flowd_tcp_options_format(&sample, buffer);
    assert_string_equal(buffer, "cubic");
    sample.info.options = 1 | 2 | 4;
    sample.info.wscale = 0x97;
    assert_int_equal(flowd_tcp_options_format(&sample, buffer), strlen("ts sack cubic wscale:7,9"));
    assert_string_equal(buffer, "ts sack cubic wscale:7,9");
    sample.info.options = 8 | 16 | 32;
    sample.congestion[0] = '\0';
    flowd_tcp_options_format(&sample, buffer);
    assert_string_equal(buffer, "ecn ecnseen fastopen");
    sample.info_length = 0;
    assert_int_equal(flowd_tcp_options_format(&sample, buffer), 0);
    sample.info_length = sizeof(sample.info);
    sample.info.options = 0xff;
    sample.info.wscale = 0xff;
    memset(sample.congestion, 'x', FLOWD_TCP_CONGESTION_SIZE - 1);
    length = flowd_tcp_options_format(&sample, buffer);
    assert_int_equal(length, strlen(buffer));
    assert_in_range(strlen(buffer), 50, FLOWD_TCP_OPTIONS_SIZE - 1);
}

static void test_state_names(void **state)
{
    (void)state;
    assert_string_equal(flowd_tcp_state_name(TCP_ESTABLISHED), "established");
    assert_string_equal(flowd_tcp_state_name(TCP_CLOSE), "closed");
    assert_string_equal(flowd_tcp_state_name(0), "unknown");
    assert_string_equal(flowd_tcp_state_name(200), "unknown");
}

static void test_object(void **state)
{
    struct flowd_tcp_sample sample = whole_sample();
    struct flowd_text text = {0};

    (void)state;
    sample.info_length = offsetof(struct flowd_tcp_info, rttvar);
    sample.info.rtt = 1500;
    sample.info.pmtu = 9000;
    assert_int_equal(flowd_tcp_sample_write(&text, &sample, FLOWD_TCP_LEAN, SIZE_MAX, true), 6);
    assert_string_equal(string_of(&text),
                        "{\"rtt\": 1.5, \"state\": \"established\", \"cong\": \"cubic\", "
                        "\"mss\": 0, \"lost\": 0, \"pmtu\": 9000}");
    flowd_text_clear(&text);
    sample.info_length = 0;
    sample.congestion[0] = '\0';
    assert_int_equal(flowd_tcp_sample_write(&text, &sample, FLOWD_TCP_ALL, SIZE_MAX, false), 1);
    assert_string_equal(string_of(&text), "{\"state\":\"established\"}");
    flowd_text_fini(&text);
}

/*
 * In any room the object is JSON, no longer than the room, and holds the first members of the whole
 * one: nothing is there that stands behind what was left out.
 */
static void test_room(void **state)
{
    static const unsigned sets[] = {FLOWD_TCP_LEAN, FLOWD_TCP_COMPATIBLE, FLOWD_TCP_ALL};
    struct flowd_tcp_sample sample = whole_sample();

    (void)state;
    memset(&sample.info, 0x12, sizeof(sample.info));
    sample.has = FLOWD_TCP_HAS_MEMORY | FLOWD_TCP_HAS_BBR;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        struct flowd_text whole = {0}, text = {0};
        unsigned last = 0;
        unsigned most = flowd_tcp_sample_write(&whole, &sample, sets[i], SIZE_MAX, true);

        for (size_t room = 2; room <= whole.length + 1; room++) {
            json_t *object;
            unsigned written;

            flowd_text_clear(&text);
            flowd_text_puts(&text, "before ");
            written = flowd_tcp_sample_write(&text, &sample, sets[i], room, true);
            assert_in_range(written, last, most);
            assert_in_range(text.length - 7, 2, room);
            /* All but the closing brace. */
            assert_memory_equal(text.data + 7, whole.data, text.length - 8);
            object = json_loadb(text.data + 7, text.length - 7, 0, NULL);
            assert_non_null(object);
            assert_int_equal(json_object_size(object), written);
            json_decref(object);
            last = written;
        }
        assert_int_equal(last, most);
        flowd_text_fini(&whole);
        flowd_text_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_other_parts),
        cmocka_unit_test(test_send_rate),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_compatible_names),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_state_names),
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
