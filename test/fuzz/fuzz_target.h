/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each fuzz target has: libFuzzer's entry, and a check that stops the run.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a build without it would find nothing. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            __builtin_trap();                                                                      \
    } while (0)
