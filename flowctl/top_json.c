/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One refresh of `flowctl top` for programs, as a JSON document: whole numbers of bytes, bits a
 * second and ms. What is not known of a flow is left out.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/flow/flow.h"
#include "top_view.h"

static void put_text(struct flowd_text *text, const char *name, const char *value)
{
    flowd_text_printf(text, "\"%s\":", name);
    flowd_text_json(text, value, strlen(value));
    flowd_text_char(text, ',');
}

static void put_time(struct flowd_text *text, const char *name, int64_t time_us)
{
    char buffer[FLOWD_TIMESTAMP_SIZE];

    flowd_timestamp_format(time_us, buffer);
    put_text(text, name, buffer);
}

static void put_row(struct flowd_text *text, const struct top_row *row)
{
    char id[FLOWD_FLOW_ID_SIZE];

    flowd_flow_id_format(row->id, id);
    flowd_text_char(text, '{');
    put_text(text, "id", id);
    put_text(text, "protocol", row->protocol);
    put_text(text, "src", row->src.address);
    flowd_text_printf(text, "\"srcPort\":%u,", row->src.port);
    put_text(text, "dst", row->dst.address);
    flowd_text_printf(text, "\"dstPort\":%u,", row->dst.port);
    if (row->rated)
        flowd_text_printf(
            text, "\"sentRate\":%.0f,\"receivedRate\":%.0f,\"retransmissionsLast\":%" PRIu64 ",",
            row->sent_rate, row->received_rate, row->retransmissions_last);
    if (row->sampled) {
        put_time(text, "sampleTime", row->taken_us);
        flowd_text_printf(
            text, "\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"retransmissions\":%" PRIu64 ",",
            row->sent, row->received, row->retransmissions);
    }
    if (row->rtt_ms >= 0)
        flowd_text_printf(text, "\"rtt\":%.3f,", row->rtt_ms);
    flowd_text_printf(text, "\"experiment\":%u,\"activity\":%u}", row->experiment, row->activity);
}

void top_view_json(struct flowd_text *text, const struct top_rows *rows, int64_t now_us)
{
    flowd_text_char(text, '{');
    put_time(text, "time", now_us);
    flowd_text_printf(text, "\"live\":%zu,\"sentRate\":%.0f,\"receivedRate\":%.0f,\"flows\":[",
                      rows->count, rows->sent_rate, rows->received_rate);
    for (size_t i = 0; i < rows->count; i++) {
        if (i > 0)
            flowd_text_char(text, ',');
        put_row(text, rows->sorted[i]);
    }
    flowd_text_puts(text, "]}\n");
}
