/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State files: the bytes become the records of a file whose header is good, most of them with a
 * right check word. Whatever they are, the table opens, its live flows are consistent, and it takes
 * and ends flows.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/flow/flow_record.h"
#include "daemon/flow/flow_table.h"
#include "daemon/flow/state_file_header.h"
#include "fuzz_target.h"

#define HEADER_SIZE 4096
#define RECORDS_MAX 64

static char directory[] = "/tmp/flowd-fuzz-XXXXXX";
static char path[64];

static void clean_up(void)
{
    (void)unlink(path);
    (void)rmdir(directory);
}

/* Leaves an empty state file, so that its header need not be known here. */
static void prepare(void)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    REQUIRE(mkdtemp(directory) != NULL);
    atexit(clean_up);
    snprintf(path, sizeof(path), "%s/flows.state", directory);
    REQUIRE(flowd_flow_table_open(directory, &table, &report, NULL) == 0);
    flowd_flow_table_close(table);
}

/* Most records get a right check word and are live: what is in them shall be looked at. */
static void seal(uint8_t *bytes)
{
    struct flowd_boot boot;
    struct flowd_flow flow;

    memcpy(&flow, bytes, sizeof(flow));
    if (flow.directions % 8 == 7)
        return;
    flowd_boot_read(&boot);
    flow.check = flowd_flow_record_check(&flow, flowd_flow_record_seed(boot.id));
    flow.state = FLOWD_FLOW_LIVE;
    memcpy(bytes, &flow, sizeof(flow));
}

static void write_records(const uint8_t *data, size_t size)
{
    uint8_t records[RECORDS_MAX * sizeof(struct flowd_flow)] = {0};
    uint64_t count = size / sizeof(struct flowd_flow);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (count > RECORDS_MAX)
        count = RECORDS_MAX;
    memcpy(records, data, count * sizeof(struct flowd_flow));
    for (size_t i = 0; i < count; i++)
        seal(records + i * sizeof(struct flowd_flow));
    REQUIRE(fd >= 0);
    REQUIRE(pwrite(fd, records, sizeof(records), HEADER_SIZE) == (ssize_t)sizeof(records));
    close(fd);
}

static void check_and_end_all(struct flowd_flow_table *table, size_t restored)
{
    struct flowd_flow *flow;
    size_t count = 0;

    REQUIRE(flowd_flow_table_count(table) == restored);
    while ((flow = flowd_flow_table_oldest(table)) != NULL) {
        REQUIRE(flow->state == FLOWD_FLOW_LIVE);
        REQUIRE(flowd_flow_table_find(table, &flow->key) == flow);
        REQUIRE(flowd_flow_table_find_id(table, flow->id) == flow);
        REQUIRE(memchr(flow->application, '\0', FLOWD_APPLICATION_SIZE) != NULL);
        flowd_flow_table_end(table, flow);
        flowd_flow_table_release(table, flow);
        count++;
    }
    REQUIRE(count == restored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow prototype = {.start_us = 1, .source = "fuzz"}, *flow;

    if (path[0] == '\0')
        prepare();
    write_records(data, size);
    REQUIRE(flowd_flow_table_open(directory, &table, &report, NULL) == 0);
    REQUIRE(report.set_aside[0] == '\0');
    check_and_end_all(table, report.restored);
    for (int i = 0; i < 3; i++) {
        prototype.key = (struct flowd_flow_key){.src_port = (uint16_t)(i + 1),
                                                .dst_port = 1,
                                                .family = AF_INET,
                                                .protocol = IPPROTO_TCP};
        REQUIRE(flowd_flow_table_add(table, &prototype, &flow) == 0);
    }
    flowd_flow_table_close(table);
    REQUIRE(flowd_flow_table_open(directory, &table, &report, NULL) == 0);
    REQUIRE(report.restored == 3 && report.damaged == 0);
    check_and_end_all(table, 3);
    flowd_flow_table_close(table);
    return 0;
}
