/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "host[:port]" as users write it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/resolver/host_port.h"

#define DEFAULT_PORT 10514
#define LABEL_63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61
#define LABEL_61 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy"

static const struct {
    const char *text;
    int result;
    const char *host;
    uint16_t port;
} cases[] = {
    {"collector.example.org", 0, "collector.example.org", DEFAULT_PORT},
    {"collector.example.org:514", 0, "collector.example.org", 514},
    {"collector", 0, "collector", DEFAULT_PORT},
    {"collector.example.org.", 0, "collector.example.org.", DEFAULT_PORT},
    {"a-b_c.example.org:65535", 0, "a-b_c.example.org", 65535},
    {"4th.example.org", 0, "4th.example.org", DEFAULT_PORT},
    {"192.0.2.1", 0, "192.0.2.1", DEFAULT_PORT},
    {"192.0.2.1:1", 0, "192.0.2.1", 1},
    {"2001:db8::1", 0, "2001:db8::1", DEFAULT_PORT},
    {"[2001:db8::1]", 0, "2001:db8::1", DEFAULT_PORT},
    {"[2001:db8::1]:514", 0, "2001:db8::1", 514},
    {LABEL_63 ".org", 0, LABEL_63 ".org", DEFAULT_PORT},
    {NAME_253, 0, NAME_253, DEFAULT_PORT},
    {NAME_253 ".:99", 0, NAME_253 ".", 99},
    {"", -EINVAL, "", 0},
    {".", -EINVAL, "", 0},
    {":514", -EINVAL, "", 0},
    {"a..b", -EINVAL, "", 0},
    {".a", -EINVAL, "", 0},
    {"-a", -EINVAL, "", 0},
    {"a-", -EINVAL, "", 0},
    {"a b", -EINVAL, "", 0},
    {"a/b", -EINVAL, "", 0},
    {"m\xc3\xbc.example.org", -EINVAL, "", 0},
    {LABEL_63 "x.org", -EINVAL, "", 0},
    {NAME_253 "x", -EINVAL, "", 0},
    {"192.0.2.300", -EINVAL, "", 0},
    {"192.0.2", -EINVAL, "", 0},
    {"10514", -EINVAL, "", 0},
    {"[collector.example.org]:514", -EINVAL, "", 0},
    {"collector.example.org:", -EINVAL, "", 0},
    {"collector.example.org:http", -EINVAL, "", 0},
    {"collector.example.org:0", -ERANGE, "", 0},
    {"collector.example.org:65536", -ERANGE, "", 0},
    {"192.0.2.1:65536", -ERANGE, "", 0},
    {"2001:db8::1:", -EINVAL, "", 0},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flowd_host_port found = {.host = "as it was", .port = 7};
        int result = flowd_host_port_parse(cases[i].text, DEFAULT_PORT, &found);

        if (result != cases[i].result)
            print_error("%s: %d\n", cases[i].text, result);
        assert_int_equal(result, cases[i].result);
        assert_string_equal(found.host, result == 0 ? cases[i].host : "as it was");
        assert_int_equal(found.port, result == 0 ? cases[i].port : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
