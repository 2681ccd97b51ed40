/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of the pins. They are files that somebody may remove; a crash would then end the
 * marking. What stays wrong with them is said once.
 */
#include "pins_care.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/base/log.h"
#include "pins.h"
#include "program.h"

#define PERIOD_S 5.0

void marker_pins_care_look(struct marker_pins_care *care, struct marker_pins *pins,
                           const struct marker_program *program, double now_s)
{
    struct flowd_error err = {.message = "?"};
    int found, result;
    bool told;

    if (now_s - care->looked_s < PERIOD_S)
        return;
    care->looked_s = now_s;
    found = result = marker_pins_look(pins);
    if (found == -ENOENT) {
        result = marker_pins_reopen(pins, &err);
        if (result == 0) {
            result = marker_program_pin(program, pins);
            if (result < 0)
                flowd_fail_errno(&err, -result, "%s", pins->path);
        }
    }
    told = found == care->found && result == care->error;
    if (found == -ENOENT && result == 0) {
        flowd_log(flowd_log_lasting(&care->removals, FLOWD_LOG_WARNING), "marker",
                  "somebody removed the pins in %s; pinned again", pins->path);
    } else if (found == -ENOENT) {
        flowd_log(told ? FLOWD_LOG_DEBUG : FLOWD_LOG_WARNING, "marker",
                  "somebody removed the pins, and they can't be made again: %s", err.message);
    } else if (result < 0) {
        flowd_log(told ? FLOWD_LOG_DEBUG : FLOWD_LOG_WARNING, "marker",
                  "the pins in %s can't be looked at: %s; flowd goes on without them (are they "
                  "another user's?)",
                  pins->path, strerror(-result));
    } else if (care->error != 0) {
        flowd_info("marker", "the pins in %s are there again", pins->path);
    }
    care->found = found;
    care->error = result;
}
