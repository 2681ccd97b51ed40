/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fireflies byte for byte, and the longest one there can be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <netinet/tcp.h>
#include <string.h>

#include "daemon/firefly/firefly.h"
#include "daemon/tcp/tcp_field.h"

#define NOW 1767225661500000 /* 2026-01-01T00:01:01.5Z */
#define START 1767225600000000

static struct flowd_flow make_flow(const char *src, const char *dst, uint8_t protocol)
{
    struct flowd_flow flow = {.key = {.src_port = 1094, .dst_port = 40000, .protocol = protocol},
                              .start_us = START,
                              .experiment = 2,
                              .activity = 17};
    struct flowd_address from, to;

    assert_int_equal(flowd_address_parse(src, strlen(src), &from), 0);
    assert_int_equal(flowd_address_parse(dst, strlen(dst), &to), 0);
    assert_int_equal(flowd_flow_key_set_addresses(&flow.key, &from, &to), 0);
    return flow;
}

static const struct {
    const char *src, *dst, *application, *hostname; /* hostname NULL: no header */
    uint8_t protocol;
    enum flowd_event_state state;
    const char *text;
} rows[] = {
    {"2001:db8::1", "2001:db8::2", "", "storage.example.org", IPPROTO_TCP, FLOWD_EVENT_START,
     "<134>1 2026-01-01T00:01:01.500000+00:00 storage.example.org flowd - firefly-json - "
     "{\"version\": 1, \"flow-lifecycle\": {\"state\": \"start\", \"current-time\": "
     "\"2026-01-01T00:01:01.500000+00:00\", \"start-time\": \"2026-01-01T00:00:00.000000+00:00\"}, "
     "\"flow-id\": {\"afi\": \"ipv6\", \"src-ip\": \"2001:db8::1\", \"dst-ip\": \"2001:db8::2\", "
     "\"protocol\": \"tcp\", \"src-port\": 1094, \"dst-port\": 40000}, \"context\": "
     "{\"experiment-id\": 2, \"activity-id\": 17, \"application\": \"flowd v" FLOWD_VERSION "\"}}"},
    {"192.0.2.1", "198.51.100.2", "fts 3", NULL, IPPROTO_UDP, FLOWD_EVENT_END,
     "{\"version\": 1, \"flow-lifecycle\": {\"state\": \"end\", \"current-time\": "
     "\"2026-01-01T00:01:01.500000+00:00\", \"start-time\": \"2026-01-01T00:00:00.000000+00:00\", "
     "\"end-time\": \"2026-01-01T00:01:01.000000+00:00\"}, \"flow-id\": {\"afi\": \"ipv4\", "
     "\"src-ip\": \"192.0.2.1\", \"dst-ip\": \"198.51.100.2\", \"protocol\": \"udp\", "
     "\"src-port\": "
     "1094, \"dst-port\": 40000}, \"context\": {\"experiment-id\": 2, \"activity-id\": 17, "
     "\"application\": \"fts 3\"}}"},
    {"192.0.2.1", "198.51.100.2", "a\"b\\c \xc3\xa9", "-", IPPROTO_TCP, FLOWD_EVENT_ONGOING,
     "<134>1 2026-01-01T00:01:01.500000+00:00 - flowd - firefly-json - "
     "{\"version\": 1, \"flow-lifecycle\": {\"state\": \"ongoing\", \"current-time\": "
     "\"2026-01-01T00:01:01.500000+00:00\", \"start-time\": \"2026-01-01T00:00:00.000000+00:00\"}, "
     "\"flow-id\": {\"afi\": \"ipv4\", \"src-ip\": \"192.0.2.1\", \"dst-ip\": \"198.51.100.2\", "
     "\"protocol\": \"tcp\", \"src-port\": 1094, \"dst-port\": 40000}, \"context\": "
     "{\"experiment-id\": 2, \"activity-id\": 17, \"application\": \"a\\\"b\\\\c \xc3\xa9\"}}"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct flowd_firefly_header header = {.syslog = rows[i].hostname != NULL,
                                                    .hostname = rows[i].hostname};
        struct flowd_flow flow = make_flow(rows[i].src, rows[i].dst, rows[i].protocol);
        struct flowd_text text = {0};

        if (rows[i].state == FLOWD_EVENT_END)
            flow.end_us = START + 61000000;
        strcpy(flow.application, rows[i].application);
        flowd_firefly_encode(&text, &header, &flow, rows[i].state, NULL, NOW);
        flowd_text_char(&text, '\0');
        assert_string_equal(text.data, rows[i].text);
        flowd_text_fini(&text);
    }
}

/* All of it at its longest, but the application; hostname takes 256 bytes. */
static struct flowd_flow make_longest_flow(char *hostname)
{
    struct flowd_flow flow = make_flow("1111:1111:1111:1111:1111:1111:1111:1111",
                                       "2222:2222:2222:2222:2222:2222:2222:2222", IPPROTO_TCP);

    memset(hostname, 'h', 255);
    hostname[255] = '\0';
    flow.key.src_port = flow.key.dst_port = 65535;
    flow.experiment = 1023;
    flow.activity = 63;
    flow.end_us = NOW;
    return flow;
}

static json_t *object_of(const struct flowd_text *text)
{
    const char *object = memchr(text->data, '{', text->length);
    json_t *root;

    assert_non_null(object);
    root = json_loadb(object, text->length - (size_t)(object - text->data), JSON_REJECT_DUPLICATES,
                      NULL);
    assert_non_null(root);
    return root;
}

/* Everything at its longest; the object is still JSON and the datagram is still small enough. */
static void test_longest(void **state)
{
    char hostname[256];
    const struct flowd_firefly_header header = {.syslog = true, .hostname = hostname};
    struct flowd_flow flow = make_longest_flow(hostname);
    struct flowd_text text = {0};

    (void)state;
    /* Control characters, which the hub refuses, would be the longest of all. */
    memset(flow.application, 0x01, FLOWD_APPLICATION_SIZE - 1);
    flowd_firefly_encode(&text, &header, &flow, FLOWD_EVENT_END, NULL, NOW);
    assert_in_range(text.length, 900, FLOWD_FIREFLY_SIZE_MAX);
    json_decref(object_of(&text));
    flowd_text_fini(&text);
}

static void test_statistics(void **state)
{
    const struct flowd_firefly_header header = {0};
    struct flowd_flow flow = make_flow("192.0.2.1", "198.51.100.2", IPPROTO_TCP);
    struct flowd_tcp_sample sample = {.state = TCP_ESTABLISHED,
                                      .info_length = offsetof(struct flowd_tcp_info, segs_out),
                                      .congestion = "cubic"};
    struct flowd_firefly_statistics statistics = {
        .sample = &sample, .set = FLOWD_TCP_LEAN, .size_max = FLOWD_FIREFLY_SIZE_MAX};
    struct flowd_text text = {0};

    (void)state;
    memset(&sample.info, 0, sizeof(sample.info));
    sample.info.rtt = 1500;
    sample.info.bytes_acked = 1001;
    sample.info.bytes_received = 70;
    flowd_firefly_encode(&text, &header, &flow, FLOWD_EVENT_ONGOING, &statistics, NOW);
    flowd_text_char(&text, '\0');
    assert_non_null(strstr(text.data,
                           "\"}, \"usage\": {\"received\": 70, \"sent\": 1001}, \"netlink\": "
                           "{\"rtt\": 1.5, \"state\": \"established\", \"cong\": \"cubic\", "));
    /* A kernel that does not count bytes: what is not known is not said to be 0. */
    sample.info_length = offsetof(struct flowd_tcp_info, rttvar);
    flowd_text_clear(&text);
    flowd_firefly_encode(&text, &header, &flow, FLOWD_EVENT_ONGOING, &statistics, NOW);
    flowd_text_char(&text, '\0');
    assert_null(strstr(text.data, "usage"));
    assert_non_null(strstr(text.data, "\"netlink\": {\"rtt\": 1.5, "));
    flowd_text_fini(&text);
}

/*
 * The longest flow with the longest numbers: within the limit whatever the set, with the usage and
 * the round-trip time; and without a limit nothing is left out.
 */
static void test_longest_statistics(void **state)
{
    static const unsigned sets[] = {FLOWD_TCP_LEAN, FLOWD_TCP_COMPATIBLE, FLOWD_TCP_ALL};
    char hostname[256];
    const struct flowd_firefly_header header = {.syslog = true, .hostname = hostname};
    struct flowd_flow flow = make_longest_flow(hostname);
    struct flowd_tcp_sample sample = {.info_length = sizeof(sample.info),
                                      .has = FLOWD_TCP_HAS_MEMORY | FLOWD_TCP_HAS_BBR,
                                      .congestion = "fifteen-letters"};

    (void)state;
    memset(flow.application, 'a', FLOWD_APPLICATION_SIZE - 1);
    memset(&sample.info, 0x0d, sizeof(sample.info));
    memset(sample.memory, 0xff, sizeof(sample.memory));
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        struct flowd_firefly_statistics statistics = {
            .sample = &sample, .set = sets[i], .size_max = FLOWD_FIREFLY_SIZE_MAX};
        struct flowd_text text = {0}, whole = {0};
        json_t *root, *netlink;
        unsigned most;

        flowd_firefly_encode(&text, &header, &flow, FLOWD_EVENT_END, &statistics, NOW);
        assert_in_range(text.length, 1100, FLOWD_FIREFLY_SIZE_MAX);
        root = object_of(&text);
        netlink = json_object_get(root, "netlink");
        assert_non_null(json_object_get(netlink, "rtt"));
        assert_int_equal(json_object_size(json_object_get(root, "usage")), 2);
        json_decref(root);
        most = flowd_tcp_sample_write(&whole, &sample, sets[i], SIZE_MAX, true);
        flowd_text_clear(&text);
        statistics.size_max = FLOWD_FIREFLY_SIZE_UDP;
        flowd_firefly_encode(&text, &header, &flow, FLOWD_EVENT_END, &statistics, NOW);
        root = object_of(&text);
        assert_int_equal(json_object_size(json_object_get(root, "netlink")), most);
        json_decref(root);
        flowd_text_fini(&text);
        flowd_text_fini(&whole);
    }
}

/* The largest usage and application (control characters) leave room for the round-trip time. */
static void test_least_room(void **state)
{
    char hostname[256];
    const struct flowd_firefly_header header = {.syslog = true, .hostname = hostname};
    struct flowd_flow flow = make_longest_flow(hostname);
    struct flowd_tcp_sample sample = {.info_length = sizeof(sample.info)};
    const struct flowd_firefly_statistics statistics = {
        .sample = &sample, .set = FLOWD_TCP_ALL, .size_max = FLOWD_FIREFLY_SIZE_MAX};
    struct flowd_text text = {0};
    json_t *root;

    (void)state;
    memset(flow.application, 0x01, FLOWD_APPLICATION_SIZE - 1);
    memset(&sample.info, 0x7f, sizeof(sample.info));
    sample.info.bytes_retrans = 0;
    flowd_firefly_encode(&text, &header, &flow, FLOWD_EVENT_END, &statistics, NOW);
    assert_in_range(text.length, 1000, FLOWD_FIREFLY_SIZE_MAX);
    root = object_of(&text);
    assert_non_null(json_object_get(json_object_get(root, "netlink"), "rtt"));
    json_decref(root);
    flowd_text_fini(&text);
}

static void test_hostname(void **state)
{
    char name[256], small[4];

    (void)state;
    flowd_firefly_hostname(name, sizeof(name));
    assert_in_range(strlen(name), 1, 255);
    for (const char *c = name; *c != '\0'; c++)
        assert_in_range(*c, '!', '~');
    flowd_firefly_hostname(small, sizeof(small));
    assert_in_range(strlen(small), 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),      cmocka_unit_test(test_longest),
        cmocka_unit_test(test_statistics), cmocka_unit_test(test_longest_statistics),
        cmocka_unit_test(test_least_room), cmocka_unit_test(test_hostname),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
