/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the program runs: the set of target interfaces, followed as they come, go, and change their
 * names.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "daemon/base/error.h"
#include "daemon/base/log.h"
#include "daemon/net/link_names.h"
#include "pins.h"
#include "place.h"
#include "program.h"

struct flowd_host;
struct flowd_counter_sink;
struct marker_interface;

struct marker_attach {
    const struct flowd_host *host;
    struct marker_program *program;
    const struct marker_pins *pins;
    const struct flowd_marker_config *config; /* the owner changes it on reload */
    bool kernel_tcx;                          /* the kernel has TCX */
    bool tcx;                                 /* how: else clsact */
    struct marker_interface *interfaces;      /* owned; in no order */
    size_t count;
    size_t capacity;
    size_t cursor; /* where verifying goes on */
};

enum marker_interface_state {
    MARKER_INTERFACE_WAITING,     /* it is not there */
    MARKER_INTERFACE_ATTACHED,    /* see place for whether packets reach the program */
    MARKER_INTERFACE_UNSUPPORTED, /* a link header that the program does not know */
    MARKER_INTERFACE_FAILED,      /* the kernel refused; tried again */
};

struct marker_interface {
    char name[FLOWD_LINK_NAME_SIZE]; /* as configured */
    int named;                       /* the index of what has this name now; 0: nothing */
    int index;                       /* 0 while waiting */
    enum marker_link_header link_header;
    enum marker_interface_state state;
    bool wanted;
    bool runs_spare;                   /* the link's program is the spare instance */
    struct marker_place place;         /* while attached */
    int link_fd;                       /* TCX; else -1 */
    bool qdisc_made;                   /* clsact: by flowd */
    struct flowd_log_lasting removals; /* of the program, by somebody */
    bool contested;                    /* it is removed again and again, which was said */
    struct flowd_error err;            /* why it failed */
};

/*
 * Chooses TCX or clsact as configured. Everything given is borrowed. Returns 0, or -EOPNOTSUPP if
 * TCX is asked for and the kernel has none.
 */
int marker_attach_init(struct marker_attach *attach, const struct flowd_host *host,
                       struct marker_program *program, const struct marker_pins *pins,
                       const struct flowd_marker_config *config, struct flowd_error *err);
/* Forgets the interfaces; what is attached by pins or filters stays. */
void marker_attach_fini(struct marker_attach *attach);

/*
 * Attaches to every target interface that is there, and detaches from what is none any more. An
 * earlier process's link or filter is taken over with its program replaced.
 */
void marker_attach_sync(struct marker_attach *attach);
/*
 * Looks whether what is attached is still there and where it stands in the chain, and mends what
 * can be mended. Interfaces that are in doubt come first, then those that were not looked at for
 * longest; a bounded number in one call. now_s is the loop's time.
 */
void marker_attach_verify(struct marker_attach *attach, double now_s);
/* Puts the interface with this index in doubt (0: all), until it is verified. */
void marker_attach_doubt(struct marker_attach *attach, int index);
/* Removes what an earlier process left on interfaces that are no targets; after the first sync. */
void marker_attach_sweep(struct marker_attach *attach);
/* Detaches from every interface. */
void marker_attach_detach_all(struct marker_attach *attach);

/* Whether the kernel refused an interface that is there: it is worth trying again. */
bool marker_attach_failing(const struct marker_attach *attach);

/*
 * Whether the program is on at least one interface, and sees its packets on at least one as far as
 * is known.
 */
bool marker_attach_any(const struct marker_attach *attach);
bool marker_attach_any_seeing(const struct marker_attach *attach);
/* Says why no interface's packets are marked. Returns 0 if one's are, or -EAGAIN. */
int marker_attach_ready(const struct marker_attach *attach, struct flowd_error *err);
/* Puts what became of packets, by interface; in the status they stand in the list "interfaces". */
void marker_attach_count(const struct marker_attach *attach, const struct flowd_counter_sink *sink);
