/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys at the top of the configuration that other programs' configurations have, accepted and
 * rewritten. Those of a section are its module's business (translate).
 */
#include "daemon/configuration.h"

const struct flowd_option flowd_old_options[] = {
    {.key = "stunServers",
     .type = FLOWD_OPTION_STRINGS,
     .instead = "backends.firefly.stun.stunServers",
     .doc = "The old place of backends.firefly.stun.stunServers."},
    {.key = NULL},
};

/* Configurations of flowd-go up to 2.2 have stunServers at the top. */
void flowd_configuration_translate(json_t *root, struct flowd_options_report *report)
{
    json_t *servers = json_object_get(root, "stunServers");
    json_t *firefly = json_object_get(json_object_get(root, "backends"), "firefly");
    json_t *stun;

    if (servers == NULL)
        return;
    if (json_is_object(firefly) && json_object_get(firefly, "stun") == NULL)
        json_object_set_new(firefly, "stun", json_object());
    stun = json_object_get(firefly, "stun");
    if (json_object_get(stun, "stunServers") != NULL)
        flowd_messages_add(&report->errors, "stunServers: is the old spelling of "
                                            "\"backends.firefly.stun.stunServers\", which is "
                                            "there too");
    else
        flowd_messages_add(&report->deprecations,
                           "stunServers: is the old spelling of "
                           "\"backends.firefly.stun.stunServers\"%s",
                           firefly == NULL ? "; without backends.firefly it has no effect" : "");
    if (json_is_object(stun) && json_object_get(stun, "stunServers") == NULL)
        json_object_set(stun, "stunServers", servers);
    json_object_del(root, "stunServers");
}
