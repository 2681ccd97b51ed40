/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel that the tests run on can't do. They leave out what needs it and say so in a line
 * that begins with "left out: ", which test/run takes for a skip and the kernel matrix compares
 * with the manual.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum kernel_lack {
    KERNEL_NO_OPTIONS,   /* the strategies that write extension headers can't be loaded */
    KERNEL_NO_DATAGRAMS, /* packet sockets and tun devices don't take UDP that is to be cut */
    KERNEL_NO_COOKIES,   /* sk_ops programs can't ask for a network namespace's cookie */
    KERNEL_NO_CALLBACKS, /* iterators over sockets can't give them callbacks */
    KERNEL_LINEAR,       /* packet sockets make each packet linear, as none is longer than a page */
    KERNEL_LACKS,
};

/* Bytes in a page: 4, 16 or 64 KiB. */
size_t kernel_page_size(void);
/* Whether bpf_check_mtu is there (Linux 5.12), which writing extension headers needs. */
bool kernel_writes_options(void);
/* Whether programs may make typed pointers of numbers (Linux 6.2), as libbpf finds out. */
bool kernel_reads_directly(void);
/*
 * How many of enum flowd_marker_strategy, from the first on, can be loaded: all 4, or the label
 * alone, which is said once.
 */
unsigned kernel_strategies(void);

/* Says that what is missing is left out, and how much that is, if it is not "". */
void kernel_leave_out(enum kernel_lack lack, const char *how_much);
