/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the list of objects that flowd-go 2.5 has, and leaves one of strings, as all other places
 * are written; whether they are places says who sends to them.
 */
#include "receivers.h"

#include <stdint.h>
#include <string.h>

#define KEY "fireflyReceivers"
#define PORT_DEFAULT 10514

const struct flowd_option firefly_receiver_options[] = {
    {.key = "address", .type = FLOWD_OPTION_STRING, .doc = "Host name or address."},
    {.key = "port",
     .type = FLOWD_OPTION_INTEGER,
     .min = 1,
     .max = UINT16_MAX,
     .default_json = "10514",
     .doc = "UDP port."},
    {.key = NULL},
};

/* The name of a member that does not belong there, or NULL. */
static const char *find_stranger(json_t *place)
{
    const char *key;
    json_t *value;

    json_object_foreach (place, key, value) {
        if (strcmp(key, "address") != 0 && strcmp(key, "port") != 0)
            return key;
    }
    return NULL;
}

/* Returns owned, or NULL with the mistake in report. */
static json_t *place_text(json_t *place, const char *path, struct flowd_options_report *report)
{
    const json_t *address = json_object_get(place, "address");
    const json_t *port = json_object_get(place, "port");
    const char *stranger = find_stranger(place);
    json_int_t number = port != NULL ? json_integer_value(port) : PORT_DEFAULT;

    if (stranger != NULL)
        flowd_messages_add(&report->errors,
                           "%s." KEY ": unknown key \"%s\", wants address and port", path,
                           stranger);
    else if (!json_is_string(address))
        flowd_messages_add(&report->errors, "%s." KEY ": address wants a string", path);
    else if (number < 1 || number > UINT16_MAX)
        flowd_messages_add(&report->errors, "%s." KEY ": port wants an integer in 1-65535", path);
    else
        return json_sprintf(strchr(json_string_value(address), ':') != NULL ? "[%s]:%d" : "%s:%d",
                            json_string_value(address), (int)number);
    return NULL;
}

void firefly_receivers_translate(json_t *object, const char *path,
                                 struct flowd_options_report *report)
{
    json_t *list = json_object_get(object, KEY);
    bool old = false;

    for (size_t i = 0; i < json_array_size(list);) {
        json_t *item = json_array_get(list, i);

        if (!json_is_object(item)) {
            i++;
            continue;
        }
        old = true;
        item = place_text(item, path, report);
        if (item != NULL)
            (void)json_array_set_new(list, i++, item);
        else
            (void)json_array_remove(list, i);
    }
    if (old)
        flowd_messages_add(&report->deprecations,
                           "%s." KEY ": objects are the old spelling of \"address:port\"", path);
}
