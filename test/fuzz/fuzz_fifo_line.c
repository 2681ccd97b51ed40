/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifo lines: an event that is taken passes the hub's check; a refusal has a reason.
 */
#include <string.h>

#include "daemon/flow/registry_file.h"
#include "fuzz_target.h"
#include "line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flowd_registry *registry;
    struct flowd_event event;
    struct flowd_error err = {.message = ""};
    int result;

    if (registry == NULL) {
        registry = flowd_registry_new();
        REQUIRE(registry != NULL);
        REQUIRE(flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", NULL, &err) == 0);
    }
    err.message[0] = '\0';
    result = flowd_fifo_line_parse((const char *)data, size, registry, &event, &err);
    REQUIRE(result <= 1);
    if (result == 1)
        REQUIRE(flowd_event_check(&event, &err) == 0);
    else if (result < 0)
        REQUIRE(err.message[0] != '\0' && strlen(err.message) < FLOWD_ERROR_SIZE);
    return 0;
}
