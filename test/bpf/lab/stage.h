/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where packets are run: a loaded marker with the entry of a flow for TCP and one for UDP, a device
 * with an Ethernet header and one without, and the counters as they must stand.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lab/bpf_main.h"
#include "lab/combination.h"
#include "lab/device.h"
#include "lab/marker_run.h"
#include "lab/model.h"

#define STAGE_MTU 800u
#define STAGE_LINKS 2
#define STAGE_PRIORITY 2u /* the marker's; 1 is free for what runs before it */

struct stage {
    struct marker_program program;
    struct device devices[STAGE_LINKS]; /* by enum combination_link */
    struct flowd_marker_counters counted[STAGE_LINKS];
    uint64_t counted_no_flow;
    uint32_t identification; /* the last one used */
    uint16_t linear;         /* bytes that are to lie in linear memory; 0: the kernel chooses */
    char complaint[512];     /* why the last packet did not do as expected */
};

/* Whether UDP can be sent that the kernel or the device is still to cut. */
bool stage_cuts_datagrams(const struct stage *stage);

/* The mark of the flow's entries. */
extern const struct flowd_marker_mark stage_mark;

/* How the programs are to read the kernel, for those who run tests in both ways. */
extern bool stage_by_helper;
int stage_read_directly(void **state);
int stage_read_by_helper(void **state);
#define STAGE_BOTH_WAYS(test)                                                                      \
    cmocka_unit_test_setup(test, stage_read_directly),                                             \
        cmocka_unit_test_setup(test, stage_read_by_helper)

/* Enters a network namespace and makes the devices. Returns why that can't be, or NULL. */
const char *stage_open(struct stage *stage);
void stage_close(struct stage *stage);

/* As bpf_main(), with the stage open meanwhile; a skip where it can't be. */
#define stage_main(stage, tests, setup, teardown)                                                  \
    stage_main_run(stage, #tests, tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)

int stage_main_run(struct stage *stage, const char *name, const struct CMUnitTest *tests,
                   size_t count, CMFixtureFunction setup, CMFixtureFunction teardown);

/* Loads a marker in the place of the one before, with no entries. Returns 0 or -errno. */
int stage_load(struct stage *stage, const struct marker_program_settings *settings);
/* The same by what a model is told; hides the kernel's BTF if routes are not to be read. */
int stage_load_as_model(struct stage *stage, const struct model_settings *settings);
/* Adds the entries for the packets of recipe, whatever their protocol. Returns 0 or -errno. */
int stage_add_flow(struct stage *stage, const struct packet_recipe *recipe);

/*
 * Lets the packet of the recipe, cut off after cut bytes and to be cut into segments if there is a
 * segment's size, pass the program in one of the ways. Returns whether the verdict was to go on,
 * the bytes and segments that left were those expected, and exactly the expected counter moved.
 */
bool stage_run(struct stage *stage, enum combination_way way, const struct packet_recipe *recipe,
               size_t cut, unsigned segment, const struct model_result *expected);
/* The same with a whole packet of the flow, or of no flow if mark is NULL, as the model expects. */
bool stage_run_as_model(struct stage *stage, enum combination_way way,
                        const struct model_settings *settings, const struct packet_recipe *recipe,
                        unsigned segment, const struct flowd_marker_mark *mark);
/* Takes the counters as they are, after packets that were run without a check. */
void stage_forget_counters(struct stage *stage);
/* Whether nothing but what was checked has been counted, in any slot. */
bool stage_counters_complete(struct stage *stage);
