/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration keys of flowd-go's metrics, accepted and translated. It served those of each of
 * its enrichers on a port of its own; here one port has all of them.
 */
#include <stdint.h>

#include "prometheus.h"

const struct flowd_option prometheus_old_options[] = {
    {.key = "netlinkPort",
     .type = FLOWD_OPTION_INTEGER,
     .min = 0,
     .max = UINT16_MAX,
     .instead = "port",
     .doc = "An old spelling of port; 0 has no effect."},
    {.key = "skopsPort",
     .type = FLOWD_OPTION_INTEGER,
     .min = 0,
     .max = UINT16_MAX,
     .instead = "port",
     .doc = "An old spelling of port, without effect beside netlinkPort; 0 has no effect."},
    {.key = NULL},
};

static bool is_port(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) <= UINT16_MAX;
}

void prometheus_translate(json_t *object, const char *path, struct flowd_options_report *report)
{
    /* The one before counts. */
    static const char *const keys[] = {"netlinkPort", "skopsPort"};
    bool given = json_object_get(object, "port") != NULL;
    const char *taken = NULL;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        json_t *value = json_object_get(object, keys[i]);

        if (value == NULL)
            continue;
        if (!is_port(value)) {
            flowd_messages_add(&report->errors, "%s.%s: wants an integer in 0-%d", path, keys[i],
                               UINT16_MAX);
        } else if (json_integer_value(value) == 0) {
            /* flowd-go's way to have the other port only. */
            flowd_messages_add(&report->deprecations, "%s.%s: 0 has no effect", path, keys[i]);
        } else if (given) {
            flowd_messages_add(&report->errors,
                               "%s.%s: is the old spelling of \"port\", which is there too", path,
                               keys[i]);
        } else if (taken != NULL) {
            flowd_messages_add(&report->deprecations,
                               "%s.%s: has no effect beside %s: one port has all metrics", path,
                               keys[i], taken);
        } else {
            flowd_messages_add(&report->deprecations, "%s.%s: is the old spelling of \"port\"",
                               path, keys[i]);
            if (json_object_set(object, "port", value) == 0)
                taken = keys[i];
        }
        json_object_del(object, keys[i]);
    }
}
