/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration maps by hand, what it may hold, and which addresses are asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <string.h>

#include "daemon/stun/public_address.h"
#include "daemon/stun/public_addresses.h"

static struct flowd_address address_of(const char *text)
{
    struct flowd_address address = {0};

    assert_int_equal(flowd_address_parse(text, strlen(text), &address), 0);
    return address;
}

static void read_settings(const char *text, struct flowd_public_settings *settings)
{
    struct flowd_options_report report = {0};
    json_t *object = json_loads(text, 0, NULL);

    flowd_options_read(flowd_public_options, "stun", object, NULL, settings, &report);
    assert_false(flowd_messages_any(&report.errors));
    json_decref(object);
}

static void check_shown(const struct flowd_public_addresses *addresses, const char *local,
                        const char *expected)
{
    struct flowd_address address = address_of(local);
    char text[FLOWD_ADDRESS_SIZE];

    flowd_address_format(address.family,
                         flowd_public_address_of(addresses, address.family, &address.addr), text);
    assert_string_equal(text, expected);
}

static void test_by_hand(void **state)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct flowd_public_addresses *addresses;
    struct flowd_public_settings settings = {0}, none = {0};

    (void)state;
    read_settings("{\"manualMapping\": {\"10.0.0.2\": \"192.0.2.2\", \"fd00::1\": "
                  "\"2001:db8::1\", \"10.0.0.1\": \"192.0.2.1\"}}",
                  &settings);
    assert_int_equal(flowd_public_addresses_new(loop, NULL, NULL, &addresses, NULL), 0);
    assert_int_equal(flowd_public_addresses_configure(addresses, &settings, NULL), 0);
    check_shown(addresses, "10.0.0.1", "192.0.2.1");
    check_shown(addresses, "10.0.0.2", "192.0.2.2");
    check_shown(addresses, "10.0.0.3", "10.0.0.3");
    check_shown(addresses, "fd00::1", "2001:db8::1");
    check_shown(addresses, "2001:db8::1", "2001:db8::1");
    assert_true(flowd_public_addresses_are_settled(addresses));
    assert_int_equal(flowd_public_addresses_configure(addresses, &none, NULL), 0);
    check_shown(addresses, "10.0.0.1", "10.0.0.1");
    flowd_public_addresses_free(addresses);
    flowd_options_fini(flowd_public_options, &settings);
    ev_loop_destroy(loop);
}

static void check_errors(const char *text, size_t expected)
{
    struct flowd_public_settings settings = {0};
    struct flowd_messages errors = {0};

    read_settings(text, &settings);
    flowd_public_check(&settings, "stun", &errors);
    if (errors.count != expected)
        fail_msg("%s: %zu errors", text, errors.count);
    flowd_messages_fini(&errors);
    flowd_options_fini(flowd_public_options, &settings);
}

static void test_settings(void **state)
{
    (void)state;
    check_errors("{}", 0);
    check_errors("{\"stunServers\": [\"stun.example.org\", \"192.0.2.1:19305\", "
                 "\"[2001:db8::1]:3478\", \"stun:stun.example.org:3478\"], "
                 "\"httpServices\": [\"https://ip.example.org/\"]}",
                 0);
    check_errors("{\"stunServers\": [\"stun.example.org:0\", \"a b\", \"\"]}", 3);
    check_errors("{\"httpServices\": [\"ip.example.org\", \"ftp://ip.example.org\"]}", 2);
    check_errors("{\"manualMapping\": {\"10.0.0.1\": \"2001:db8::1\", \"x\": \"192.0.2.1\", "
                 "\"10.0.0.2\": \"\"}}",
                 3);
    check_errors(
        "{\"manualMapping\": {\"fd00::1\": \"2001:db8::1\", \"fd00:0::1\": \"2001:db8::2\"}}", 1);
}

static void test_which_are_private(void **state)
{
    static const char *const private[] = {"10.1.2.3",   "172.16.0.1", "192.168.1.1",
                                          "100.64.0.1", "fd00::1",    "fc00::1"};
    static const char *const public[] = {"192.0.2.1", "172.32.0.1", "100.128.0.1", "2001:db8::1"};
    static const char *const neither[] = {"127.0.0.1", "169.254.1.1",     "0.0.0.0",
                                          "224.0.0.1", "255.255.255.255", "::1",
                                          "::",        "fe80::1",         "ff02::1"};

    (void)state;
    for (size_t i = 0; i < sizeof(private) / sizeof(private[0]); i++) {
        const struct flowd_address address = address_of(private[i]);

        assert_true(public_address_is_private(&address) && !public_address_is_public(&address));
    }
    for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++) {
        const struct flowd_address address = address_of(public[i]);

        assert_true(public_address_is_public(&address) && !public_address_is_private(&address));
    }
    for (size_t i = 0; i < sizeof(neither) / sizeof(neither[0]); i++) {
        const struct flowd_address address = address_of(neither[i]);

        assert_false(public_address_is_public(&address) || public_address_is_private(&address));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_which_are_private),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
