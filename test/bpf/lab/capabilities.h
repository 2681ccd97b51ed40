/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a part of a test with few capabilities.
 */
#pragma once

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

#define CAPABILITY(number) (UINT64_C(1) << (number))
/* All that marking needs, and no CAP_PERFMON. */
#define CAPABILITIES_MARKING (CAPABILITY(CAP_BPF) | CAPABILITY(CAP_NET_ADMIN))

/*
 * Runs the function in a child that keeps these capabilities only, and returns what it returns (0
 * to 99), or another number. Asserts that there is a child.
 */
int capabilities_in_child(uint64_t capabilities, int (*function)(void));

/*
 * Whether this kernel's verifier, for who lacks CAP_PERFMON, also follows branches that are never
 * taken, as the processor may, and refuses what it finds there (before Linux 6.17).
 */
bool capabilities_verifier_follows_all(void);
