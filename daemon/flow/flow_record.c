/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow records, judged one by one: the check word over what stays the same while a flow lives, and
 * the checks of the members that it does not cover. Pure functions.
 */
#include "daemon/flow/flow_record.h"

#include <string.h>

/* Another number for each layout of the record. */
#define FORMAT_SEED UINT64_C(0x32666c6f77645354)
/* 9999-12-31T23:59:59.999999Z, the last moment that a timestamp can show. */
#define TIME_MAX_US INT64_C(253402300799999999)
#define ENTROPY_ALL 0x1f

/* A bijection of the hash for each word, so no change of a single word can go unseen in 64 bits. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0xd6e8feb86659fd93);
    return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const char *at = bytes;

    for (; size > 0; at += sizeof(uint64_t)) {
        size_t length = size < sizeof(uint64_t) ? size : sizeof(uint64_t);
        uint64_t word = 0;

        memcpy(&word, at, length);
        hash = mix(hash, word);
        size -= length;
    }
    return hash;
}

uint64_t flowd_flow_record_seed(const char *boot_id)
{
    return mix_bytes(FORMAT_SEED, boot_id, strlen(boot_id));
}

uint32_t flowd_flow_record_check(const struct flowd_flow *flow, uint64_t seed)
{
    uint64_t tag =
        (uint64_t)flow->flow_label << 32 | (uint64_t)flow->experiment << 16 | flow->activity;
    uint64_t hash = mix_bytes(seed, &flow->key, sizeof(flow->key));
    uint32_t check;

    hash = mix(hash, flow->id);
    hash = mix(hash, (uint64_t)flow->start_us);
    hash = mix(hash, tag);
    hash = mix_bytes(hash, flow->source, sizeof(flow->source));
    hash = mix_bytes(hash, flow->application, sizeof(flow->application));
    check = (uint32_t)mix(hash, sizeof(*flow));
    return check != 0 ? check : 1;
}

/* The names of modules and of their like. */
static bool is_source(const char source[static FLOWD_SOURCE_SIZE])
{
    size_t length = strnlen(source, FLOWD_SOURCE_SIZE);

    for (size_t i = 0; i < length; i++) {
        char c = source[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '_' && c != '.')
            return false;
    }
    return length > 0 && length < FLOWD_SOURCE_SIZE;
}

static bool label_follows(const struct flowd_flow *flow)
{
    uint32_t entropy = flowd_flow_label(0, 0, ENTROPY_ALL);

    if (flow->experiment > FLOWD_LABEL_EXPERIMENT_MAX)
        return flow->flow_label == 0;
    return (flow->flow_label & ~entropy) == flowd_flow_label(flow->experiment, flow->activity, 0);
}

bool flowd_flow_record_ok(const struct flowd_flow *flow, uint32_t number)
{
    struct flowd_event event = {.key = flow->key,
                                .experiment = flow->experiment,
                                .activity = flow->activity,
                                .application = flow->application,
                                .application_length =
                                    strnlen(flow->application, FLOWD_APPLICATION_SIZE)};

    return flowd_event_check(&event, NULL) == 0 && flow->key.zero == 0 &&
           (flow->id & UINT32_MAX) == number + 1u && flow->id >> 32 != 0 &&
           is_source(flow->source) && label_follows(flow) && flow->start_us > 0 &&
           flow->start_us <= TIME_MAX_US;
}

bool flowd_flow_record_is_live(const struct flowd_flow *flow, uint32_t number, uint64_t seed)
{
    return flow->state != FLOWD_FLOW_FREE && flow->state != FLOWD_FLOW_ENDED &&
           flow->check == flowd_flow_record_check(flow, seed) && flowd_flow_record_ok(flow, number);
}
