/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marker program and its maps in the kernel: loaded, or loaded onto the maps that an earlier
 * process left pinned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "ebpf/marker.h"
#include "kernel_btf.h"
#include "pins.h"
#include "table.h"

/* What packets begin with on an interface; there is one program for each. */
enum marker_link_header { MARKER_ETHERNET_HEADER, MARKER_NO_LINK_HEADER };
#define MARKER_LINK_HEADERS 2

struct marker_program_settings {
    enum flowd_marker_strategy strategy;
    enum flowd_marker_encoding encoding;
    bool match_source;
    bool match_all;                   /* packets of no flow bear the general mark */
    struct flowd_marker_mark general; /* its label without entropy */
    unsigned mss_reduction;           /* bytes, 0..FLOWD_MARKER_ADDED_MAX */
    bool plain;                       /* label: leave unusual packets as they are */
    bool by_helper;                   /* the kernel is read as before Linux 6.2 */
    bool without_mmap;                /* write the flow map by system calls, as where maps can't be
                                         mapped */
    bool debug;
    uint32_t entries_max;
};

struct marker_program {
    int program_fds[MARKER_LINK_HEADERS]; /* -1: not needed so far */
    uint32_t ids[MARKER_LINK_HEADERS];    /* the programs' */
    int spare_fds[MARKER_LINK_HEADERS];   /* -1: not needed so far */
    int flows_fd;
    int bitmap_fd;
    int shared_fd;
    int counters_fd;
    int fragments_fd;
    bool adopted;       /* the maps are the pinned ones */
    bool replaces;      /* there are pinned maps, which can't be used */
    const char *faulty; /* the pin that is no map of flowd's; NULL: none */
    const char *fault;  /* why it is none */
    /* Why the programs can't read the MTU of a packet's route; NULL: they can, or need not. */
    const char *no_path_mtu;
    enum marker_reading reading;
    struct marker_program_settings settings;
};

/* What nothing was loaded into. */
/* clang-format off */
#define MARKER_PROGRAM_CLOSED                                                                      \
    {                                                                                              \
        .program_fds = {-1, -1}, .spare_fds = {-1, -1}, .flows_fd = -1, .bitmap_fd = -1,           \
        .shared_fd = -1, .counters_fd = -1, .fragments_fd = -1,                                    \
    }
/* clang-format on */

/*
 * Loads the program for Ethernet and the maps. Pinned maps of the same layout are used; else there
 * are new ones, which the caller pins with marker_program_pin() once they are filled. Returns 0 or
 * -errno: -EPERM with the capability that is missing.
 */
int marker_program_load(struct marker_program *program,
                        const struct marker_program_settings *settings,
                        const struct marker_pins *pins, struct flowd_error *err);
/* Closes what this process holds; attached programs and pinned maps live on. */
void marker_program_close(struct marker_program *program);

/*
 * The program for devices whose packets begin so: loaded, over the same maps, when it is asked for
 * first. Returns its file descriptor (borrowed) or -errno.
 */
int marker_program_get(struct marker_program *program, enum marker_link_header header,
                       struct flowd_error *err);
/*
 * A second instance of a program, over the same maps: TCX takes no program twice at one hook. It is
 * loaded when it is asked for first. Returns its file descriptor (borrowed) or -errno.
 */
int marker_program_spare(struct marker_program *program, enum marker_link_header header);

/* The maps of which a table is made, which borrows their file descriptors. */
struct marker_table_maps marker_program_maps(const struct marker_program *program);

/* Puts the maps in the place of whatever is pinned. Returns 0 or -errno. */
int marker_program_pin(const struct marker_program *program, const struct marker_pins *pins);

/* Sums one slot of the counter map over the CPUs. Returns 0 or -errno. */
int marker_program_counters(const struct marker_program *program, uint32_t slot,
                            struct flowd_marker_counters *counters);

/* 0, or -EPERM with the capabilities that this process lacks. */
int marker_program_check_privileges(struct flowd_error *err);

/* Sends what libbpf says to flowd's log, at debug level. */
void marker_program_route_messages(void);
