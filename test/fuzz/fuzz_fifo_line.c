/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifo lines: they mean what they mean by the rules as they are told (line_by_words.h), an event
 * that is taken passes the hub's check, and a refusal has a reason.
 */
#include <string.h>

#include "daemon/flow/registry_file.h"
#include "fuzz_target.h"
#include "line_by_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flowd_registry *registry;
    struct flowd_event event = {0}, expected = {0};
    struct flowd_error err = {.message = ""}, expected_err = {.message = ""};
    int result;

    if (registry == NULL) {
        registry = flowd_registry_new();
        REQUIRE(registry != NULL);
        REQUIRE(flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", NULL, &err) == 0);
    }
    err.message[0] = '\0';
    result = flowd_fifo_line_parse((const char *)data, size, registry, &event, &err);
    REQUIRE(result <= 1);
    REQUIRE(parse_by_words((const char *)data, size, registry, &expected, &expected_err) == result);
    REQUIRE(strcmp(err.message, expected_err.message) == 0);
    REQUIRE(memcmp(&event.key, &expected.key, sizeof(event.key)) == 0);
    REQUIRE(event.state == expected.state && event.experiment == expected.experiment &&
            event.activity == expected.activity);
    if (result == 1)
        REQUIRE(flowd_event_check(&event, &err) == 0);
    else if (result < 0)
        REQUIRE(err.message[0] != '\0' && strlen(err.message) < FLOWD_ERROR_SIZE);
    return 0;
}
