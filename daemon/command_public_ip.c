/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `flowd public-ip`: asks as the firefly backend would, on a loop of its own, and prints a line for
 * each address of this host: the address, how it is seen from outside, and who says so.
 */
#include <errno.h>
#include <ev.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/configuration.h"
#include "daemon/fetch/fetch.h"
#include "daemon/stun/public_address.h"
#include "daemon/stun/public_addresses.h"

#define SETTINGS_PATH "backends.firefly.stun"
#define LOOK_S 0.1

/* The settings that the configuration has. False: there is none that can be read. */
static bool read_settings(const struct flowd_command_line *line,
                          struct flowd_public_settings *settings)
{
    struct flowd_configuration *configuration = flowd_command_configuration(line);
    struct flowd_options_report report = {0};
    json_t *root, *backends;

    if (configuration == NULL)
        return false;
    root = flowd_configuration_json(configuration);
    backends = json_object_get(root, "backends");
    flowd_options_read(flowd_public_options, SETTINGS_PATH,
                       json_object_get(json_object_get(backends, "firefly"), "stun"), NULL,
                       settings, &report);
    json_decref(root);
    flowd_configuration_free(configuration);
    flowd_messages_fini(&report.errors);
    flowd_messages_fini(&report.deprecations);
    return true;
}

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    if (flowd_public_addresses_are_settled(timer->data))
        ev_break(loop, EVBREAK_ALL);
}

static void print_line(FILE *out, const char *address, const char *public, const char *how)
{
    fprintf(out, "%-39s  %-39s  %s\n", address, public, how);
}

/* Prints what was found out. Returns whether each address is known. */
static bool print_asked(FILE *out, const json_t *addresses)
{
    bool all = true;
    json_t *entry;
    size_t index;

    json_array_foreach (addresses, index, entry) {
        const char *address = json_string_value(json_object_get(entry, "address"));
        const char *public = json_string_value(json_object_get(entry, "public"));
        const char *by = json_string_value(json_object_get(entry, "by"));
        const char *via = json_string_value(json_object_get(entry, "via"));
        const char *error = json_string_value(json_object_get(entry, "error"));
        char how[2 * PUBLIC_VIA_SIZE];

        if (address == NULL)
            continue;
        snprintf(how, sizeof(how), "%s%s%s", by != NULL ? by : "", via != NULL ? " " : "",
                 via != NULL ? via : "");
        all &= public != NULL;
        print_line(out, address, public != NULL ? public : "-",
                   public != NULL  ? how
                   : error != NULL ? error
                                   : "nobody is asked: set "
                                     "" SETTINGS_PATH);
    }
    return all;
}

/* Whether the line of the address was printed with those that were asked for. */
static bool is_among(const json_t *addresses, const char *text)
{
    json_t *entry;
    size_t index;

    json_array_foreach (addresses, index, entry) {
        const char *address = json_string_value(json_object_get(entry, "address"));

        if (address != NULL && strcmp(address, text) == 0)
            return true;
    }
    return false;
}

/* Addresses that need no other: they stand for themselves. Returns whether one would need one. */
static bool print_others(FILE *out, const json_t *asked)
{
    struct ifaddrs *interfaces = NULL;
    bool any_private = false;

    if (getifaddrs(&interfaces) < 0)
        return false;
    for (const struct ifaddrs *at = interfaces; at != NULL; at = at->ifa_next) {
        struct flowd_address address;
        char text[FLOWD_ADDRESS_SIZE];

        if (!public_address_read(at->ifa_addr, &address))
            continue;
        flowd_address_format(address.family, &address.addr, text);
        if (is_among(asked, text))
            continue;
        if (public_address_is_private(&address)) {
            print_line(out, text, "-", "nobody is asked: set " SETTINGS_PATH);
            any_private = true;
        } else if (public_address_is_public(&address)) {
            print_line(out, text, text, "is public itself");
        }
    }
    freeifaddrs(interfaces);
    return any_private;
}

static enum flowd_exit print_all(const struct flowd_command_line *line,
                                 const struct flowd_public_addresses *addresses)
{
    json_t *asked = flowd_public_addresses_json(addresses);
    bool all = print_asked(line->out, asked);

    all &= !print_others(line->out, asked);
    json_decref(asked);
    return all ? FLOWD_EXIT_OK : FLOWD_EXIT_FAILED;
}

enum flowd_exit flowd_command_public_ip(const struct flowd_command_line *line)
{
    struct flowd_public_settings settings = {0};
    struct flowd_public_addresses *addresses = NULL;
    struct flowd_fetcher *fetcher;
    struct ev_loop *loop;
    struct ev_timer look;
    struct flowd_error err;
    enum flowd_exit exit_status = FLOWD_EXIT_FAILED;

    if (!read_settings(line, &settings))
        return FLOWD_EXIT_USAGE;
    loop = ev_loop_new(EVFLAG_AUTO);
    fetcher = loop != NULL ? flowd_fetcher_new(loop) : NULL;
    if (fetcher == NULL) {
        flowd_fail(&err, ENOMEM, "no event loop");
        fprintf(line->errors, "flowd: %s\n", err.message);
    } else if (flowd_public_addresses_new(loop, NULL, fetcher, &addresses, &err) < 0 ||
               flowd_public_addresses_configure(addresses, &settings, &err) < 0) {
        fprintf(line->errors, "flowd: %s\n", err.message);
    } else {
        ev_timer_init(&look, on_look, 0, LOOK_S);
        look.data = addresses;
        ev_timer_start(loop, &look);
        if (isatty(fileno(line->errors)))
            fprintf(line->errors, "flowd: asking; a STUN server that is silent takes 40 s\n");
        ev_run(loop, 0);
        ev_timer_stop(loop, &look);
        exit_status = print_all(line, addresses);
    }
    flowd_public_addresses_free(addresses);
    flowd_fetcher_free(fetcher);
    if (loop != NULL)
        ev_loop_destroy(loop);
    flowd_options_fini(flowd_public_options, &settings);
    return exit_status;
}
