/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `flowd clean` for the marker. It needs neither a host nor a loop: it reads the pins and the
 * interfaces once. Links go first, then filters with the qdiscs that flowd made, then the maps and
 * directories.
 */
#include "clean.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/net/link_names.h"
#include "front.h"
#include "hook.h"
#include "pins.h"
#include "program.h"
#include "tcx.h"

#define PLACE_SIZE 80

struct cleaning {
    const struct marker_pins *pins;
    const struct flowd_strings *interfaces; /* empty: all */
    struct flowd_messages *removed;
};

/* Whether the interface is one of those that were asked for. */
static bool is_meant(const struct cleaning *cleaning, int index)
{
    for (size_t i = 0; i < cleaning->interfaces->count; i++)
        if ((int)flowd_link_names_index(cleaning->interfaces->items[i]) == index)
            return true;
    return cleaning->interfaces->count == 0;
}

/*
 * A pin's number is an index in the network namespace where the link was attached, in which another
 * interface has it here. Writes what the link is on; returns false if that is elsewhere.
 */
static bool describe(int fd, int index, char place[static PLACE_SIZE])
{
    struct marker_front front = {0};
    char name[IF_NAMESIZE] = "";
    int attached = fd >= 0 ? marker_tcx_index(fd) : 0;

    if (attached == 0) {
        snprintf(place, PLACE_SIZE, "interface %d, which is gone", index);
        return true;
    }
    if (marker_tcx_look(fd, attached, &front) == 0 &&
        if_indextoname((unsigned)attached, name) != NULL) {
        snprintf(place, PLACE_SIZE, "interface %s", name);
        return true;
    }
    snprintf(place, PLACE_SIZE, "an interface of another network namespace, index %d", attached);
    return false;
}

static void clean_link(void *context, int index)
{
    struct cleaning *cleaning = context;
    char place[PLACE_SIZE];
    int fd = marker_pins_get_link(cleaning->pins, index);
    bool here = describe(fd, index, place);

    if (fd >= 0)
        close(fd);
    if (!is_meant(cleaning, index) || (!here && cleaning->interfaces->count > 0))
        return;
    if (marker_hook_remove_link(cleaning->pins, index))
        flowd_messages_add(cleaning->removed, "%s/links/%d (%s)", cleaning->pins->path, index,
                           place);
}

static void forget_qdisc(void *context, int index)
{
    struct cleaning *cleaning = context;

    if (is_meant(cleaning, index))
        marker_pins_note_qdisc(cleaning->pins, index, false);
}

static void clean_path(void *context, const char *path)
{
    struct cleaning *cleaning = context;

    flowd_messages_add(cleaning->removed, "%s", path);
}

static int clean_filter(struct cleaning *cleaning, const char *name, int index,
                        struct flowd_error *err)
{
    bool qdisc = false;
    int result = marker_hook_remove_filter(cleaning->pins, index, true, &qdisc);

    if (result < 0)
        return flowd_fail_errno(err, -result, "interface %s: removing the filter", name);
    if (result > 0)
        flowd_messages_add(cleaning->removed, "filter of interface %s", name);
    if (qdisc)
        flowd_messages_add(cleaning->removed, "clsact qdisc of interface %s", name);
    return 0;
}

static int clean_named_filters(struct cleaning *cleaning, const struct flowd_strings *interfaces,
                               struct flowd_error *err)
{
    for (size_t i = 0; i < interfaces->count; i++) {
        unsigned index = flowd_link_names_index(interfaces->items[i]);
        int result;

        if (index == 0)
            return flowd_fail_errno(err, ENODEV, "interface %s", interfaces->items[i]);
        result = clean_filter(cleaning, interfaces->items[i], (int)index, err);
        if (result < 0)
            return result;
    }
    return 0;
}

static int clean_all_filters(struct cleaning *cleaning, struct flowd_error *err)
{
    struct if_nameindex *all = if_nameindex();
    int result = 0;

    if (all == NULL)
        return flowd_fail_errno(err, errno, "listing interfaces");
    for (const struct if_nameindex *at = all; at->if_index != 0 && result == 0; at++)
        result = clean_filter(cleaning, at->if_name, (int)at->if_index, err);
    if_freenameindex(all);
    return result;
}

int marker_clean(const struct flowd_marker_config *config, const struct flowd_strings *interfaces,
                 struct flowd_messages *removed, struct flowd_error *err)
{
    struct marker_pins pins;
    struct cleaning cleaning = {.pins = &pins, .interfaces = interfaces, .removed = removed};
    int result = marker_program_check_privileges(err);

    for (size_t i = 0; result == 0 && i < interfaces->count; i++)
        if (flowd_link_names_index(interfaces->items[i]) == 0)
            result = flowd_fail_errno(err, ENODEV, "interface %s", interfaces->items[i]);
    if (result < 0)
        return result;
    marker_program_route_messages();
    result = marker_pins_open(&pins, config->pin_path, MARKER_PINS_EXISTING, err);
    if (result < 0)
        return result;
    marker_pins_each_link(&pins, clean_link, &cleaning);
    result = interfaces->count > 0 ? clean_named_filters(&cleaning, interfaces, err)
                                   : clean_all_filters(&cleaning, err);
    if (result == 0) {
        marker_pins_each_qdisc(&pins, forget_qdisc, &cleaning);
        /* The maps belong to all interfaces. */
        if (interfaces->count == 0)
            marker_pins_clear(&pins, clean_path, &cleaning);
    }
    marker_pins_close(&pins);
    return result;
}
