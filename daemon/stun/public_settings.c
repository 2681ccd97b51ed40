/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says of public addresses: its rows, what is wrong in them, and how a
 * server is written there. Needs no loop and asks nobody.
 */
#include <stddef.h>
#include <string.h>

#include "public_addresses.h"
#include "public_mapping.h"
#include "public_server.h"
#include "stun_message.h"

#define MANUAL_MAX 1024
#define AT(field) offsetof(struct flowd_public_settings, field)

const struct flowd_option flowd_public_options[] = {
    {.key = "manualMapping",
     .type = FLOWD_OPTION_PAIRS,
     .offset = AT(manual),
     .default_json = "{}",
     .doc = "Public addresses by address: {\"10.0.0.1\": \"192.0.2.1\"}; nobody is asked for them.",
     .reload = true},
    {.key = "stunServers",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(servers),
     .default_json = "[]",
     .doc = "STUN servers, \"host:port\" (3478), that are asked for the others in this order.",
     .reload = true},
    {.key = "httpServices",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(services),
     .default_json = "[]",
     .doc = "URLs that answer with the address they are asked from; asked after the STUN servers.",
     .reload = true},
    {.key = NULL},
};

/* "host[:port]", or a stun URI (RFC 7064), as flowd-go had them. */
int public_server_parse(const char *text, struct flowd_host_port *place)
{
    static const char scheme[] = "stun:";

    if (strncmp(text, scheme, sizeof(scheme) - 1) == 0)
        text += sizeof(scheme) - 1;
    return flowd_host_port_parse(text, FLOWD_STUN_PORT, place);
}

/* JSON's keys differ, the addresses do not. */
static void report_twice(const struct flowd_address *address, const char *path,
                         struct flowd_messages *errors)
{
    char text[FLOWD_ADDRESS_SIZE];

    flowd_address_format(address->family, &address->addr, text);
    flowd_messages_add(errors, "%s.manualMapping: has %s twice, in two spellings", path, text);
}

static void check_manual(const struct flowd_pairs *pairs, const char *path,
                         struct flowd_messages *errors)
{
    struct public_mappings mappings;
    struct public_mapping mapping;

    for (size_t i = 0; i < pairs->count; i++)
        if (public_mapping_parse(&pairs->items[i], &mapping) < 0)
            flowd_messages_add(errors,
                               "%s.manualMapping: found \"%s\": \"%s\", wants two addresses of one "
                               "family",
                               path, pairs->items[i].name, pairs->items[i].value);
    if (pairs->count > MANUAL_MAX)
        flowd_messages_add(errors, "%s.manualMapping: has %zu members, at most %d are allowed",
                           path, pairs->count, MANUAL_MAX);
    if (public_mappings_read(&mappings, pairs) < 0) {
        errors->out_of_memory = true;
        return;
    }
    for (size_t i = 1; i < mappings.count; i++)
        if (public_mapping_compare(&mappings.items[i - 1].local, &mappings.items[i].local) == 0)
            report_twice(&mappings.items[i].local, path, errors);
    public_mappings_fini(&mappings);
}

void flowd_public_check(const struct flowd_public_settings *settings, const char *path,
                        struct flowd_messages *errors)
{
    struct flowd_host_port place;

    check_manual(&settings->manual, path, errors);
    for (size_t i = 0; i < settings->servers.count; i++)
        if (public_server_parse(settings->servers.items[i], &place) < 0)
            flowd_messages_add(errors,
                               "%s.stunServers: found \"%s\", wants a host name or an address, "
                               "with or without a port in 1-65535",
                               path, settings->servers.items[i]);
    for (size_t i = 0; i < settings->services.count; i++)
        if (strncmp(settings->services.items[i], "http://", 7) != 0 &&
            strncmp(settings->services.items[i], "https://", 8) != 0)
            flowd_messages_add(errors, "%s.httpServices: found \"%s\", wants a http or https URL",
                               path, settings->services.items[i]);
}
