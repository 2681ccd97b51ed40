/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registries: what is taken gives each number that it names a name, by which that number, or
 * nothing, is found again; what is refused leaves the former names.
 */
#include <errno.h>
#include <string.h>

#include "daemon/flow/flow.h"
#include "daemon/flow/registry.h"
#include "fuzz_target.h"

static void check_experiment(const struct flowd_registry *registry, uint16_t experiment)
{
    const char *name = flowd_registry_experiment_name(registry, experiment);
    uint16_t found = 0;
    int result;

    if (name == NULL)
        return;
    result = flowd_registry_experiment(registry, name, strlen(name), &found);
    REQUIRE(result == -ENOTUNIQ || (result == 0 && found == experiment));
    for (unsigned i = 0; i <= FLOWD_ACTIVITY_MAX; i++) {
        const char *its = flowd_registry_activity_name(registry, experiment, (uint8_t)i);
        uint8_t activity = 0;

        if (its == NULL)
            continue;
        result = flowd_registry_activity(registry, experiment, its, strlen(its), &activity);
        REQUIRE(result == -ENOTUNIQ || (result == 0 && activity == i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char former[] = "{\"experiments\": [{\"expName\": \"former\", \"expId\": 7}]}";
    struct flowd_registry *registry = flowd_registry_new();
    struct flowd_messages skipped = {0};
    struct flowd_error err = {.message = ""};
    int result;

    REQUIRE(registry != NULL);
    REQUIRE(flowd_registry_read(registry, former, sizeof(former) - 1, &skipped, NULL) == 0);
    result = flowd_registry_read(registry, (const char *)data, size, &skipped, &err);
    if (result < 0) {
        REQUIRE(err.message[0] != '\0' && flowd_registry_count(registry) == 1);
        REQUIRE(strcmp(flowd_registry_experiment_name(registry, 7), "former") == 0);
    }
    for (unsigned i = 0; i <= FLOWD_EXPERIMENT_MAX; i++)
        check_experiment(registry, (uint16_t)i);
    flowd_messages_fini(&skipped);
    flowd_registry_free(registry);
    return 0;
}
