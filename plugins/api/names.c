/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/registry: the names of experiments and activities that are accepted and shown, all of
 * them or one experiment's.
 */
#include <errno.h>
#include <string.h>

#include "api.h"
#include "daemon/flow/registry.h"

#define VALUE_SIZE 256
static const char json_media_type[] = "application/json";

/* The one parameter. Returns 0 or -EINVAL. */
static int read_name(struct flowd_http_slice query, char name[static VALUE_SIZE], bool *given,
                     struct flowd_error *err)
{
    struct flowd_http_slice key, value;

    *given = false;
    while (flowd_http_query_next(&query, &key, &value) > 0) {
        if (key.length != strlen("name") || memcmp(key.data, "name", key.length) != 0)
            return flowd_fail(err, EINVAL, "%.*s: is not a parameter of this request",
                              api_shown(key.length), key.data);
        if (*given)
            return flowd_fail(err, EINVAL, "name: is given twice");
        if (flowd_http_percent_decode(value, name, VALUE_SIZE) < 0)
            return flowd_fail(err, EINVAL, "name: is not properly percent-encoded, or too long");
        *given = true;
    }
    return 0;
}

/* Appends the experiment, if it has a name. Returns whether it has. */
static bool write_experiment(struct flowd_text *text, const struct flowd_registry *registry,
                             uint16_t experiment, bool first)
{
    const char *name = flowd_registry_experiment_name(registry, experiment);
    const char *separator = "";

    if (name == NULL)
        return false;
    flowd_text_printf(text, "%s{\"experiment\":%u,\"experimentName\":", first ? "" : ",",
                      experiment);
    flowd_text_json(text, name, strlen(name));
    flowd_text_puts(text, ",\"activities\":[");
    for (unsigned activity = 0; activity <= FLOWD_ACTIVITY_MAX; activity++) {
        name = flowd_registry_activity_name(registry, experiment, (uint8_t)activity);
        if (name == NULL)
            continue;
        flowd_text_printf(text, "%s{\"activity\":%u,\"activityName\":", separator, activity);
        flowd_text_json(text, name, strlen(name));
        flowd_text_char(text, '}');
        separator = ",";
    }
    flowd_text_puts(text, "]}");
    return true;
}

static void begin(struct flowd_text *text, const struct flowd_registry *registry)
{
    const char *origin = flowd_registry_origin(registry);

    flowd_text_char(text, '{');
    if (origin[0] != '\0') {
        flowd_text_puts(text, "\"origin\":");
        flowd_text_json(text, origin, strlen(origin));
        flowd_text_puts(text, ",\"age\":");
        flowd_text_u64(text, (uint64_t)flowd_registry_age_us(registry) / 1000000);
        flowd_text_char(text, ',');
    }
    flowd_text_puts(text, "\"experiments\":[");
}

/* One experiment, by name or number. Returns 0, or -ENOENT with the reason. */
static int write_one(struct flowd_text *text, const struct flowd_registry *registry,
                     const char *name, struct flowd_error *err)
{
    uint16_t experiment;

    if (flowd_registry_read_experiment(registry, name, strlen(name), &experiment, err) < 0)
        return -ENOENT;
    return write_experiment(text, registry, experiment, true)
               ? 0
               : flowd_fail(err, ENOENT, "experiment: %u has no name in the registry", experiment);
}

void api_registry_get(struct api *api, struct flowd_http_exchange *exchange,
                      const struct flowd_http_request *request)
{
    const struct flowd_registry *registry = api->context->registry;
    struct flowd_text *text = flowd_http_body(exchange);
    struct flowd_error err;
    char name[VALUE_SIZE];
    bool given, first = true;

    if (read_name(request->query, name, &given, &err) < 0) {
        flowd_http_answer_problem(exchange, 400, NULL, NULL, err.message);
        return;
    }
    begin(text, registry);
    if (given && write_one(text, registry, name, &err) < 0) {
        flowd_http_answer_problem(exchange, 404, NULL, "name", err.message);
        return;
    }
    for (unsigned i = 0; !given && i <= FLOWD_EXPERIMENT_MAX; i++)
        if (write_experiment(text, registry, (uint16_t)i, first))
            first = false;
    flowd_text_puts(text, "]}");
    flowd_http_answer(exchange, 200, json_media_type, NULL);
}
