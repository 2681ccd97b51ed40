/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header page: written for this boot and version, read and judged at the start.
 *
 * The boot id is in it, because a reboot ends every connection, and the time at which the host
 * started, for when the boot id can't be read.
 */
#include "daemon/flow/state_file_header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/timestamp.h"
#include "daemon/flow/flow.h"
#include "daemon/flow/flow_record.h"

#define FORMAT 2
#define FORMER_FORMAT 1
#define FORMER_RECORD_SIZE 160
/* A clock that is disciplined moves less in the life of a flow; a reboot takes longer. */
#define SAME_START_US 2000000

struct header {
    char magic[8];
    uint32_t format;
    uint32_t record_size;
    int64_t started_us; /* the host */
    char boot_id[FLOWD_BOOT_ID_SIZE];
    char zero[3];
    uint32_t check; /* of all before it */
    uint32_t zero2;
};
static_assert(sizeof(struct header) == 72, "the header is part of the format");

struct former_header {
    char magic[8];
    uint32_t format;
    uint32_t record_size;
    uint64_t records;
    char boot_id[FLOWD_BOOT_ID_SIZE];
};

/* They differ in more bits than damage to one byte can change. */
static const char magic[8] = "flowdS2";
static const char former_magic[8] = "flowdST";

void flowd_boot_read(struct flowd_boot *boot)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, boot->id, sizeof(boot->id) - 1) : -1;
    bool whole = length == FLOWD_BOOT_ID_SIZE - 1;

    boot->error = length < 0 ? -errno : whole ? 0 : -EIO;
    boot->id[whole ? FLOWD_BOOT_ID_SIZE - 1 : 0] = '\0';
    boot->started_us = flowd_timestamp_now_us() - flowd_timestamp_boot_us();
    if (fd >= 0)
        close(fd);
}

/* FNV-1a. */
static uint32_t check_of(const struct header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < offsetof(struct header, check); i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

static enum flowd_state_verdict judge_former(const struct former_header *header,
                                             const struct flowd_boot *boot, const char **why)
{
    if (header->format != FORMER_FORMAT || header->record_size != FORMER_RECORD_SIZE) {
        *why = "it was written by another version of flowd";
        return FLOWD_STATE_DOUBTFUL;
    }
    if (boot->error < 0)
        return FLOWD_STATE_UNKNOWN;
    return strncmp(header->boot_id, boot->id, FLOWD_BOOT_ID_SIZE) == 0 ? FLOWD_STATE_FORMER
                                                                       : FLOWD_STATE_REBOOTED;
}

/* The header is whole. */
static enum flowd_state_verdict judge_boot(const struct header *header,
                                           const struct flowd_boot *boot, const char **why)
{
    if (header->boot_id[0] != '\0' && boot->error == 0)
        return strncmp(header->boot_id, boot->id, FLOWD_BOOT_ID_SIZE) == 0 ? FLOWD_STATE_OURS
                                                                           : FLOWD_STATE_REBOOTED;
    if (llabs(header->started_us - boot->started_us) <= SAME_START_US)
        return FLOWD_STATE_OURS;
    if (boot->error < 0)
        return FLOWD_STATE_UNKNOWN;
    *why = "it does not say of which boot it is";
    return FLOWD_STATE_DOUBTFUL;
}

enum flowd_state_verdict flowd_state_header_judge(const void *header, size_t size,
                                                  const struct flowd_boot *boot, const char **why)
{
    const struct header *ours = header;

    if (size < FLOWD_STATE_HEADER_SIZE) {
        *why = "it is shorter than its header";
        return FLOWD_STATE_DOUBTFUL;
    }
    if (memcmp(ours->magic, former_magic, sizeof(former_magic)) == 0)
        return judge_former(header, boot, why);
    if (ours->check == check_of(ours) && memcmp(ours->magic, magic, sizeof(magic)) == 0) {
        if (ours->format == FORMAT && ours->record_size == sizeof(struct flowd_flow))
            return judge_boot(ours, boot, why);
        *why = "it was written by another version of flowd";
        return FLOWD_STATE_DOUBTFUL;
    }
    /* Without a boot id there is nothing that records could be tried with. */
    if (boot->error < 0)
        return FLOWD_STATE_UNKNOWN;
    *why = memcmp(ours->magic, magic, sizeof(magic)) == 0 ? "its header is damaged"
                                                          : "it is no state file of flowd";
    return FLOWD_STATE_DOUBTFUL;
}

const char *flowd_state_header_boot_id(const void *header)
{
    return ((const struct header *)header)->boot_id;
}

void flowd_state_header_write(void *header, const struct flowd_boot *boot)
{
    struct header fresh = {
        .format = FORMAT, .record_size = sizeof(struct flowd_flow), .started_us = boot->started_us};

    memcpy(fresh.magic, magic, sizeof(magic));
    memcpy(fresh.boot_id, boot->id, sizeof(fresh.boot_id));
    fresh.check = check_of(&fresh);
    memcpy(header, &fresh, sizeof(fresh));
}
