/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory under pinPath: where maps and links outlive the process, and the lock that lets one
 * daemon at a time use it.
 *
 *     PATH/flows PATH/bitmap PATH/shared PATH/counters PATH/fragments   the maps
 *     PATH/links/IFINDEX                     one TCX link each
 *     PATH/qdisc/IFINDEX                     an empty directory: flowd made this interface's clsact
 *
 * Interfaces are named by index because bpffs takes no dots in names, and names of VLAN devices
 * have them.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/error.h"

#define MARKER_PIN_FLOWS "flows"
#define MARKER_PIN_BITMAP "bitmap"
#define MARKER_PIN_SHARED "shared"
#define MARKER_PIN_COUNTERS "counters"
#define MARKER_PIN_FRAGMENTS "fragments"

struct marker_pins {
    char *path;    /* owned; NULL: there are no pins and every call below does nothing */
    int directory; /* holds the lock; -1 without pins */
};

enum marker_pins_mode {
    MARKER_PINS_CREATE, /* makes the directory if it is missing */
    MARKER_PINS_EXISTING,
};

/*
 * Opens and locks path. Where it is not on a bpffs, or empty, or missing (MARKER_PINS_EXISTING),
 * the result is "no pins": 0 with pins->path NULL. Returns 0, -EBUSY if a running flowd has it, or
 * another -errno.
 */
int marker_pins_open(struct marker_pins *pins, const char *path, enum marker_pins_mode mode,
                     struct flowd_error *err);
/* Releases the lock; what is pinned stays. */
void marker_pins_close(struct marker_pins *pins);

/*
 * Looks whether the maps' pins are there. Returns 0 (also without pins), -ENOENT, or the -errno for
 * which that can't be told: with few capabilities root can't look into another user's directory.
 */
int marker_pins_look(const struct marker_pins *pins);
/* Makes and locks the directory again if it is not the one that was opened. Returns 0 or -errno. */
int marker_pins_reopen(struct marker_pins *pins, struct flowd_error *err);

/* The object pinned as name: a file descriptor (owned), or -errno (-ENOENT without pins). */
int marker_pins_get(const struct marker_pins *pins, const char *name);
/* Pins fd as name, in place of what is there. Returns 0 or -errno. */
int marker_pins_put(const struct marker_pins *pins, const char *name, int fd);

/* The same for the link of an interface. */
int marker_pins_get_link(const struct marker_pins *pins, int index);
int marker_pins_put_link(const struct marker_pins *pins, int index, int fd);
/* Removes what a crash in the midst of putting a link left. */
void marker_pins_drop_fresh_link(const struct marker_pins *pins, int index);
void marker_pins_remove_link(const struct marker_pins *pins, int index);
/* Whether the link's pin is there; true without pins, and where that can't be told. */
bool marker_pins_has_link(const struct marker_pins *pins, int index);

/* That flowd made the clsact qdisc of an interface. */
void marker_pins_note_qdisc(const struct marker_pins *pins, int index, bool made);
bool marker_pins_made_qdisc(const struct marker_pins *pins, int index);

/* Calls visit with the index of each pinned link, or of each noted qdisc. */
void marker_pins_each_link(const struct marker_pins *pins, void (*visit)(void *context, int index),
                           void *context);
void marker_pins_each_qdisc(const struct marker_pins *pins, void (*visit)(void *context, int index),
                            void *context);

/*
 * Removes every pin and the directories, and the lock with them. The callers remove links first:
 * taking a link's pin away detaches it. Calls removed (may be NULL) with the path of each.
 */
void marker_pins_clear(struct marker_pins *pins, void (*removed)(void *context, const char *path),
                       void *context);
