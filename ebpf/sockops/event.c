/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes the records of the ring buffer (ebpf/sockops.h) into the flow key and the TCP sample that
 * the rest of flowd knows. Pure functions over bytes.
 */
#include "ebpf/sockops/event.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "ebpf/sockops.h"

#define NS_PER_US 1000

static_assert(sizeof(struct flowd_sockops_info) == sizeof(struct flowd_tcp_info),
              "both are the kernel's struct tcp_info");
static_assert(sizeof(struct flowd_sockops_tuple) == sizeof(struct flowd_flow_key) &&
                  offsetof(struct flowd_sockops_tuple, local_port) ==
                      offsetof(struct flowd_flow_key, src_port) &&
                  offsetof(struct flowd_sockops_tuple, family) ==
                      offsetof(struct flowd_flow_key, family),
              "a tuple is laid out as a flow key");
static_assert(FLOWD_SOCKOPS_MEMORY_FIELDS == FLOWD_TCP_MEMORY_FIELDS, "the same order");
static_assert(FLOWD_SOCKOPS_CONGESTION_SIZE == FLOWD_TCP_CONGESTION_SIZE, "the same size");

static void take_sample(const struct flowd_sockops_record *record, struct flowd_tcp_sample *sample)
{
    sample->info_length = record->head.info_length;
    sample->has = FLOWD_TCP_HAS_MEMORY;
    memcpy(&sample->info, &record->info, sizeof(sample->info));
    memcpy(sample->memory, record->memory, sizeof(sample->memory));
    memcpy(sample->congestion, record->congestion, sizeof(sample->congestion));
    sample->congestion[sizeof(sample->congestion) - 1] = '\0';
}

int flowd_sockops_event_decode(const void *bytes, size_t length, int64_t clock_us,
                               struct flowd_sockops_event *out)
{
    static const enum flowd_sockops_happening happenings[] = {
        [FLOWD_SOCKOPS_ESTABLISHED] = FLOWD_SOCKOPS_BEGINS,
        [FLOWD_SOCKOPS_SAMPLE] = FLOWD_SOCKOPS_GOES_ON,
        [FLOWD_SOCKOPS_CLOSED] = FLOWD_SOCKOPS_ENDS,
    };
    struct flowd_sockops_event event = {0};
    struct flowd_sockops_record record;
    size_t wanted;

    if (length < sizeof(record.head))
        return -EINVAL;
    memcpy(&record.head, bytes, sizeof(record.head));
    wanted = record.head.info_length > 0 ? sizeof(record) : sizeof(record.head);
    if (length < wanted || record.head.kind > FLOWD_SOCKOPS_CLOSED ||
        record.head.info_length > sizeof(record.info))
        return -EINVAL;
    memcpy(&record, bytes, wanted);
    event.happening = happenings[record.head.kind];
    memcpy(&event.key, &record.head.tuple, sizeof(event.key));
    event.sample.taken_us = (int64_t)(record.head.taken_ns / NS_PER_US) + clock_us;
    event.sample.cookie = record.head.cookie;
    event.sample.interface = record.head.interface;
    event.sample.state = record.head.state;
    if (record.head.info_length > 0)
        take_sample(&record, &event.sample);
    *out = event;
    return 0;
}
