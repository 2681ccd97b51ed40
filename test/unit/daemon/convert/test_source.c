/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which program a configuration is for, and what of it draws a note.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/convert/source.h"

static void test_syntax(void **state)
{
    static const struct {
        const char *text;
        enum flowd_source_syntax syntax;
    } rows[] = {
        {"{}", FLOWD_SYNTAX_JSON},
        {"\n  {\"a\": 1}", FLOWD_SYNTAX_JSON},
        {"# PLUGIN='x'\n\nPLUGIN = 'np_api'", FLOWD_SYNTAX_PYTHON},
        {"PLUGIN='np_api'", FLOWD_SYNTAX_PYTHON},
        {"---\nplugins:\n  api: {}", FLOWD_SYNTAX_YAML},
        {"# PLUGIN=1\npidPath: x", FLOWD_SYNTAX_YAML},
        {"", FLOWD_SYNTAX_YAML},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(flowd_source_syntax_of(rows[i].text, strlen(rows[i].text)),
                         rows[i].syntax);
}

static bool has_note(const struct flowd_messages *notes, const char *words)
{
    for (size_t i = 0; i < notes->count; i++)
        if (strstr(notes->lines[i], words) != NULL)
            return true;
    return false;
}

static void test_notes(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"backends:\n  firefly: {prependSyslog: false}", "prependSyslog"},
        {"backends:\n  firefly: {enrich: true}", "milliseconds"},
        {"backends:\n  firefly:\n    stun: {}", "stunServers"},
        {"backends:\n  firefly:\n    stun: {httpResolution: true}", "httpResolution"},
        {"backends:\n  prometheus: {}", "one port"},
        {"backends:\n  ebpf: {programPath: /x}", "/x"},
        {"plugins:\n  namedPipe: {}", "pipePath"},
        {"plugins:\n  namedPipe: {pipePath: /run/flowd-go/np}", "/run/flowd-go/np"},
        {"plugins:\n  perfsonar: {activityID: 5}", "activityID"},
        {"plugins:\n  firefly: {fireflyReceivers: [{port: 5}]}", "entry 1 has no address"},
        {"pidPath: /run/flowd-go/pid", "pidPath"},
        {"pidPath: /run/flowd-go.pid", "\"/run/flowd-go.pid\" has to be there"},
        {"workDir: .", "workDir"},
        {"PLUGIN='nobody'", "nobody"},
        {"BACKEND='udp_firefly, nobody'", "nobody"},
        {"NOBODY=1", "NOBODY: has no equivalent"},
        {"PLUGIN='iperf'", "iperf"},
        {"PLUGIN='np_api'\nUDP_FIREFLY_IP6_SRC='2001:db8::1'", "manualMapping"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_messages notes = {0};
        struct flowd_error err;
        json_t *root = flowd_source_convert(rows[i].text, strlen(rows[i].text), &notes, &err);

        assert_true(json_is_object(root));
        if (!has_note(&notes, rows[i].words))
            fail_msg("%s: no note has \"%s\"", rows[i].text, rows[i].words);
        flowd_messages_fini(&notes);
        json_decref(root);
    }
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"{", "{\"a\":1,\"a\":2}", "[1]", "word", "a: [", "1"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct flowd_messages notes = {0};
        struct flowd_error err = {.message = ""};

        assert_null(flowd_source_convert(texts[i], strlen(texts[i]), &notes, &err));
        assert_true(err.message[0] != '\0');
        flowd_messages_fini(&notes);
    }
}

/* flowd's own configuration keeps what it has. */
static void test_own(void **state)
{
    static const char text[] = "{\"flows\": {}, \"backends\": {\"prometheus\": {}}}";
    struct flowd_messages notes = {0};
    json_t *wanted = json_loads(text, 0, NULL);
    json_t *found = flowd_source_convert(text, strlen(text), &notes, NULL);

    (void)state;
    assert_true(json_equal(found, wanted));
    assert_int_equal(notes.count, 1);
    flowd_messages_fini(&notes);
    json_decref(found);
    json_decref(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
