/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scanner counts, and what users see of it.
 */
#pragma once

#include <stdint.h>

struct flowd_counter_sink;

struct flowd_netlink_scans {
    uint64_t scans;
    uint64_t failed;
    uint64_t interrupted;
    uint64_t late;   /* scans that took longer than the period */
    uint64_t reused; /* addresses and ports of a known connection, with another socket */
    uint64_t missed; /* connections that a dump did not have although they were there */
    uint64_t seen;   /* connections in the last dump */
    uint64_t ignored;
    int64_t last_us; /* how long the last scan took */
};

/* Those, and what stands elsewhere than in the scanner. */
struct flowd_netlink_counts {
    struct flowd_netlink_scans scans;
    uint64_t started, ended, refused; /* flows */
    uint64_t known;                   /* connections */
    uint64_t networks, networks_in_kernel;
};

void flowd_netlink_counts_put(const struct flowd_netlink_counts *counts,
                              const struct flowd_counter_sink *sink);
