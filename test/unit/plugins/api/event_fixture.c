/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each text is copied to memory of just its size, so that a read or write beyond it is seen.
 */
#include "event_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/flow/registry_file.h"

struct event_fixture *event_fixture_new(event_reader *read, bool with_registry)
{
    struct event_fixture *fixture = malloc(sizeof(*fixture));
    struct flowd_error err;

    assert_non_null(fixture);
    *fixture = (struct event_fixture){.read = read, .registry = flowd_registry_new()};
    assert_non_null(fixture->registry);
    if (with_registry)
        assert_int_equal(
            flowd_registry_load(fixture->registry, FLOWD_TEST_DATA "/registry.json", NULL, &err),
            0);
    return fixture;
}

int event_fixture_tear_down(void **state)
{
    struct event_fixture *fixture = *state;

    flowd_registry_free(fixture->registry);
    flowd_text_fini(&fixture->reasons);
    free(fixture->text);
    free(fixture);
    return 0;
}

int event_fixture_read(struct event_fixture *fixture, const char *text)
{
    struct api_event_context context = {
        .registry = fixture->registry,
        .now_us = EVENT_NOW_US,
        .reasons = &fixture->reasons,
    };
    size_t length = strlen(text);
    int result;

    free(fixture->text);
    fixture->text = malloc(length > 0 ? length : 1);
    assert_non_null(fixture->text);
    memcpy(fixture->text, text, length);
    flowd_text_clear(&fixture->reasons);
    flowd_json_begin(&fixture->json, fixture->text, length);
    result = fixture->read(&fixture->json, &context, &fixture->item);
    return result == 0 ? flowd_json_finish(&fixture->json) : result;
}

static char *reason_text(const struct event_fixture *fixture, struct api_reason reason)
{
    char *text = calloc(1, reason.length + 1u);

    assert_non_null(text);
    assert_true(reason.at + reason.length <= fixture->reasons.length);
    if (reason.length > 0)
        memcpy(text, fixture->reasons.data + reason.at, reason.length);
    return text;
}

const struct flowd_event *event_fixture_take(struct event_fixture *fixture, const char *text)
{
    int result = event_fixture_read(fixture, text);

    if (result != 0)
        fail_msg("%s: %s", text, fixture->json.error);
    if (fixture->item.status != 0) {
        char *detail = reason_text(fixture, fixture->item.detail);

        print_error("%s: %s\n", text, detail);
        free(detail);
    }
    assert_int_equal(fixture->item.status, 0);
    return &fixture->item.event;
}

void event_fixture_check_start(const struct flowd_event *event)
{
    char address[INET6_ADDRSTRLEN];

    assert_int_equal(event->state, FLOWD_EVENT_START);
    assert_int_equal(event->key.protocol, IPPROTO_TCP);
    assert_int_equal(event->key.family, AF_INET6);
    assert_string_equal(inet_ntop(AF_INET6, &event->key.src, address, sizeof(address)),
                        "2001:db8::1");
    assert_string_equal(inet_ntop(AF_INET6, &event->key.dst, address, sizeof(address)),
                        "2001:db8::2");
    assert_int_equal(event->key.src_port, 1094);
    assert_int_equal(event->key.dst_port, 40000);
}

void event_fixture_refuse(struct event_fixture *fixture, const char *text, const char *field,
                          const char *words)
{
    int result = event_fixture_read(fixture, text);
    char *found_field, *detail;
    bool match;

    if (result != 0)
        fail_msg("%s: %s", text, fixture->json.error);
    if (fixture->item.status != 422)
        fail_msg("%s gives %d", text, fixture->item.status);
    found_field = reason_text(fixture, fixture->item.field);
    detail = reason_text(fixture, fixture->item.detail);
    match = strcmp(found_field, field) == 0 && strstr(detail, words) != NULL;
    if (!match)
        print_error("%s: field \"%s\", detail \"%s\"\n", text, found_field, detail);
    free(found_field);
    free(detail);
    assert_true(match);
}

void event_fixture_reject(struct event_fixture *fixture, const char *text, const char *field,
                          const char *words)
{
    if (event_fixture_read(fixture, text) != -EBADMSG)
        fail_msg("%s is taken for JSON", text);
    assert_non_null(fixture->json.error);
    if (strstr(fixture->json.error, words) == NULL)
        fail_msg("%s: %s", text, fixture->json.error);
    if (field == NULL) {
        assert_null(fixture->json.error_field);
    } else {
        assert_non_null(fixture->json.error_field);
        assert_string_equal(fixture->json.error_field, field);
    }
}
