/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See stage.h.
 */
#include "lab/stage.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lab/without_btf.h"

/* Not the numbers of their counters' slots. */
static const int interface_indexes[STAGE_LINKS] = {
    [LINK_ETHERNET] = FLOWD_MARKER_INTERFACE_SLOTS + 3,
    [LINK_NONE] = 2 * FLOWD_MARKER_INTERFACE_SLOTS + 6,
};

/* Of which counters are read in one call. */
#define CPUS_MAX 64
/* What kernels say that have no such call for maps of each CPU (ENOTSUPP, up to Linux 5.12). */
#define NOT_SUPPORTED 524

/* What the packets and all their bits could be mistaken for is none of these. */
bool stage_by_helper;

const struct flowd_marker_mark stage_mark = {
    .label = 0x9c5a3, .experiment = 0x01a7, .activity = 0x2b};

static bool complain(struct stage *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool complain(struct stage *stage, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(stage->complaint, sizeof(stage->complaint), format, arguments);
    va_end(arguments);
    return false;
}

int stage_read_directly(void **state)
{
    (void)state;
    stage_by_helper = false;
    return 0;
}

int stage_read_by_helper(void **state)
{
    (void)state;
    stage_by_helper = true;
    return 0;
}

const char *stage_open(struct stage *stage)
{
    const char *reason;

    memset(stage, 0, sizeof(*stage));
    stage->program = (struct marker_program)MARKER_PROGRAM_CLOSED;
    for (unsigned i = 0; i < STAGE_LINKS; i++)
        stage->devices[i].tun_fd = stage->devices[i].packet_fd = -1;
    reason = device_enter_namespace();
    for (unsigned i = 0; i < STAGE_LINKS && reason == NULL; i++)
        if (device_open(&stage->devices[i], i == LINK_ETHERNET, interface_indexes[i], STAGE_MTU) <
            0)
            reason = "no tun or tap device can be made";
    return reason;
}

bool stage_cuts_datagrams(const struct stage *stage)
{
    bool all = true;

    for (unsigned i = 0; i < STAGE_LINKS; i++)
        all = all && stage->devices[i].datagrams;
    return all;
}

void stage_close(struct stage *stage)
{
    marker_run_close(&stage->program);
    for (unsigned i = 0; i < STAGE_LINKS; i++)
        device_close(&stage->devices[i]);
}

int stage_main_run(struct stage *stage, const char *name, const struct CMUnitTest *tests,
                   size_t count, CMFixtureFunction setup, CMFixtureFunction teardown)
{
    const char *reason = marker_run_unavailable();
    int failed;

    if (reason == NULL)
        reason = stage_open(stage);
    if (reason != NULL)
        return bpf_main_skip(reason);
    failed = bpf_main_run(name, tests, count, setup, teardown);
    stage_close(stage);
    return failed;
}

static enum marker_link_header header_of(unsigned link)
{
    return link == LINK_ETHERNET ? MARKER_ETHERNET_HEADER : MARKER_NO_LINK_HEADER;
}

int stage_load(struct stage *stage, const struct marker_program_settings *settings)
{
    struct flowd_error err;
    int result;

    marker_run_close(&stage->program);
    result = marker_run_load(&stage->program, settings);
    for (unsigned i = 0; i < STAGE_LINKS && result == 0; i++) {
        int fd = marker_program_get(&stage->program, header_of(i), &err);

        result = fd < 0 ? fd : device_attach(&stage->devices[i], fd, STAGE_PRIORITY);
    }
    memset(stage->counted, 0, sizeof(stage->counted));
    stage->counted_no_flow = 0;
    return result;
}

int stage_load_as_model(struct stage *stage, const struct model_settings *settings)
{
    const struct marker_program_settings program = {
        .strategy = settings->strategy,
        .encoding = settings->encoding,
        .by_helper = settings->by_helper,
        .match_all = settings->general != NULL,
        .general = settings->general != NULL ? *settings->general : (struct flowd_marker_mark){0},
        .entries_max = 16,
    };
    int result;

    if (!settings->routes_read && without_btf_begin() < 0)
        return -errno;
    result = stage_load(stage, &program);
    if (!settings->routes_read && without_btf_end() < 0)
        return -errno;
    if (result == 0 && settings->strategy != FLOWD_MARKER_LABEL &&
        (stage->program.no_path_mtu == NULL) != settings->routes_read)
        return -EINVAL;
    return result;
}

int stage_add_flow(struct stage *stage, const struct packet_recipe *recipe)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
    int result = 0;

    for (unsigned i = 0; i < sizeof(protocols) && result == 0; i++) {
        struct flowd_marker_key key = packet_key(recipe);

        key.protocol = protocols[i];
        result = marker_run_add(&stage->program, &key, &stage_mark);
    }
    return result;
}

static uint32_t slot_of(enum combination_link link)
{
    return (uint32_t)interface_indexes[link] % FLOWD_MARKER_INTERFACE_SLOTS;
}

/*
 * As marker_program_counters(), with one call for the counters of a slot instead of one for each.
 * The slot must not be the first: a batch begins behind the key that it is given.
 */
static int read_counters(const struct stage *stage, uint32_t slot,
                         struct flowd_marker_counters *counters)
{
    static bool no_batches;
    uint64_t copies[FLOWD_MARKER_VERDICTS * CPUS_MAX];
    uint32_t keys[FLOWD_MARKER_VERDICTS];
    uint32_t before = flowd_marker_counter(slot, 0) - 1;
    uint32_t last;
    uint32_t count = FLOWD_MARKER_VERDICTS;
    unsigned cpus = (unsigned)libbpf_num_possible_cpus();

    if (cpus > CPUS_MAX || no_batches)
        return marker_program_counters(&stage->program, slot, counters);
    if (bpf_map_lookup_batch(stage->program.counters_fd, &before, &last, keys, copies, &count,
                             NULL) < 0 &&
        errno != ENOENT) {
        no_batches = errno == NOT_SUPPORTED;
        return no_batches ? marker_program_counters(&stage->program, slot, counters) : -errno;
    }
    for (unsigned verdict = 0; verdict < FLOWD_MARKER_VERDICTS; verdict++) {
        counters->packets[verdict] = 0;
        for (unsigned cpu = 0; cpu < cpus; cpu++)
            counters->packets[verdict] += copies[verdict * cpus + cpu];
    }
    return count == FLOWD_MARKER_VERDICTS ? 0 : -EIO;
}

/* Notes the verdict as expected and compares the counters of the link and the shared ones. */
static bool check_counters(struct stage *stage, enum combination_link link,
                           enum flowd_marker_verdict verdict)
{
    struct flowd_marker_counters *expected = &stage->counted[link];
    struct flowd_marker_counters counted;
    struct flowd_marker_counters shared;
    bool right = true;

    if (verdict == FLOWD_MARKER_NO_FLOW)
        stage->counted_no_flow++;
    else
        expected->packets[verdict]++;
    if (read_counters(stage, slot_of(link), &counted) < 0 ||
        read_counters(stage, FLOWD_MARKER_SHARED_SLOT, &shared) < 0)
        return complain(stage, "the counters can't be read");
    for (unsigned i = 0; i < FLOWD_MARKER_VERDICTS; i++)
        if (counted.packets[i] > expected->packets[i])
            right = complain(stage, "verdict %u instead of %u", i, verdict);
    for (unsigned i = 0; i < FLOWD_MARKER_VERDICTS && right; i++)
        if (counted.packets[i] < expected->packets[i])
            right = complain(stage, "verdict %u was not counted", verdict);
    for (unsigned i = 0; i < FLOWD_MARKER_VERDICTS && right; i++)
        if (shared.packets[i] != (i == FLOWD_MARKER_NO_FLOW ? stage->counted_no_flow : 0))
            right = complain(stage, "verdict %u expected, shared counter %u is %llu", verdict, i,
                             (unsigned long long)shared.packets[i]);
    /* One wrong packet is one complaint. */
    *expected = counted;
    stage->counted_no_flow = shared.packets[FLOWD_MARKER_NO_FLOW];
    return right;
}

void stage_forget_counters(struct stage *stage)
{
    struct flowd_marker_counters shared = {{0}};

    for (unsigned i = 0; i < STAGE_LINKS; i++)
        marker_program_counters(&stage->program, slot_of(i), &stage->counted[i]);
    marker_program_counters(&stage->program, FLOWD_MARKER_SHARED_SLOT, &shared);
    stage->counted_no_flow = shared.packets[FLOWD_MARKER_NO_FLOW];
}

bool stage_counters_complete(struct stage *stage)
{
    for (uint32_t slot = 0; slot < FLOWD_MARKER_COUNTER_SLOTS; slot++) {
        struct flowd_marker_counters counted;
        struct flowd_marker_counters expected = {0};

        if (slot == slot_of(LINK_ETHERNET))
            expected = stage->counted[LINK_ETHERNET];
        if (slot == slot_of(LINK_NONE))
            expected = stage->counted[LINK_NONE];
        if (slot == FLOWD_MARKER_SHARED_SLOT)
            expected.packets[FLOWD_MARKER_NO_FLOW] = stage->counted_no_flow;
        if (marker_program_counters(&stage->program, slot, &counted) < 0 ||
            memcmp(&counted, &expected, sizeof(counted)) != 0)
            return complain(stage, "slot %u counted something else", slot);
    }
    return true;
}

static bool check_bytes(struct stage *stage, const uint8_t *bytes, size_t length,
                        const uint8_t *expected, size_t expected_length)
{
    size_t at = 0;

    if (length != expected_length)
        return complain(stage, "%zu bytes expected, %zu came", expected_length, length);
    while (at < length && bytes[at] == expected[at])
        at++;
    return at == length || complain(stage, "byte %zu of %zu is %02x, not %02x", at, length,
                                    bytes[at], expected[at]);
}

static bool test_run(struct stage *stage, const struct packet *packet, size_t cut,
                     enum combination_link link, const struct packet *expected,
                     size_t expected_length)
{
    struct marker_run run;
    int result = marker_run_on(stage->program.program_fds[header_of(link)],
                               (uint32_t)interface_indexes[link], packet->bytes, cut, &run);

    if (result != 0)
        return complain(stage, "BPF_PROG_TEST_RUN: %d", result);
    if (run.verdict != -1)
        return complain(stage, "the program returned %d", run.verdict);
    return check_bytes(stage, run.bytes, run.length, expected->bytes, expected_length);
}

static struct virtio_net_hdr virtio_header(const struct packet_recipe *recipe,
                                           const struct packet *packet, unsigned segment,
                                           uint16_t linear)
{
    struct virtio_net_hdr header = {.gso_type = VIRTIO_NET_HDR_GSO_NONE};

    header.hdr_len = linear;
    if (segment == 0)
        return header;
    header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header.gso_type = recipe->ipv4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    if (recipe->protocol == IPPROTO_UDP)
        header.gso_type = 5; /* VIRTIO_NET_HDR_GSO_UDP_L4 */
    header.gso_size = (uint16_t)segment;
    if (linear == 0)
        header.hdr_len = (uint16_t)packet->payload;
    header.csum_start = (uint16_t)packet->transport;
    header.csum_offset = (uint16_t)packet_checksum_offset(recipe);
    return header;
}

/* One segment that the kernel cut: right if it is what the recipe makes of its part. */
static bool check_segment(struct stage *stage, const struct virtio_net_hdr *header, uint8_t *bytes,
                          size_t length, const struct packet_recipe *recipe)
{
    struct packet_recipe whole = *recipe;
    struct packet packet;
    size_t checksum;

    whole.partial_checksum = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    packet_compose(&whole, &packet);
    if (!whole.partial_checksum) {
        if (!packet_checksum_right(&whole, &packet, bytes, length))
            return complain(stage, "a segment's checksum is wrong");
        checksum = packet.transport + packet_checksum_offset(&whole);
        memset(bytes + checksum, 0, 2);
    }
    return check_bytes(stage, bytes, length, packet.bytes, packet.length);
}

/* Segments that the kernel cut, because the device does not; the first one is in bytes. */
static bool check_segments(struct stage *stage, const struct device *device,
                           struct virtio_net_hdr *header, uint8_t *bytes, long length,
                           const struct model_result *expected)
{
    struct packet_recipe part = expected->recipe;
    unsigned total = expected->recipe.payload_length;

    for (unsigned start = 0; start < total; start += expected->segment, part.identification++) {
        unsigned rest = total - start;

        if (start > 0)
            length = device_receive(device, header, bytes, PACKET_SIZE);
        if (length < 0)
            return complain(stage, "no segment from byte %u on left the device", start);
        part.payload_start = (uint16_t)start;
        part.payload_length = (uint16_t)(rest < expected->segment ? rest : expected->segment);
        if (!check_segment(stage, header, bytes, (size_t)length, &part))
            return false;
    }
    return true;
}

static bool device_run(struct stage *stage, const struct packet *packet, size_t cut,
                       const struct virtio_net_hdr *sent, enum combination_link link,
                       const struct packet *leaving, size_t leaving_length,
                       const struct model_result *expected)
{
    static uint8_t bytes[PACKET_SIZE];
    const struct device *device = &stage->devices[link];
    struct virtio_net_hdr header;
    long length;

    if (device_send(device, sent, packet->bytes, cut) < 0)
        return complain(stage, "the packet could not be sent: %m");
    length = device_receive(device, &header, bytes, sizeof(bytes));
    if (length < 0)
        return complain(stage, "no packet left the device");
    if (expected->segment > 0 && header.gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return check_segments(stage, device, &header, bytes, length, expected);
    if (header.gso_type != sent->gso_type || header.gso_size != expected->segment)
        return complain(stage, "segments of type %u and %u bytes, not %u and %u", header.gso_type,
                        header.gso_size, sent->gso_type, expected->segment);
    if (expected->segment > 0 && header.csum_start != leaving->transport)
        return complain(stage, "the transport header is taken to be at %u", header.csum_start);
    return check_bytes(stage, bytes, (size_t)length, leaving->bytes, leaving_length);
}

bool stage_run(struct stage *stage, enum combination_way way, const struct packet_recipe *recipe,
               size_t cut, unsigned segment, const struct model_result *expected)
{
    static struct packet packet;
    static struct packet leaving;
    enum combination_link link = recipe->no_link_header ? LINK_NONE : LINK_ETHERNET;
    struct virtio_net_hdr header;
    size_t length;
    bool right;

    packet_compose(recipe, &packet);
    packet_compose(&expected->recipe, &leaving);
    length = leaving.length - (packet.length - cut);
    if (way == WAY_TEST_RUN) {
        right = test_run(stage, &packet, cut, link, &leaving, length);
    } else {
        header = virtio_header(recipe, &packet, segment, stage->linear);
        right = device_run(stage, &packet, cut, &header, link, &leaving, length, expected);
    }
    /* Counters that moved for a wrong packet must not blame the next one. */
    if (!right) {
        char complaint[sizeof(stage->complaint)];

        memcpy(complaint, stage->complaint, sizeof(complaint));
        check_counters(stage, link, expected->verdict);
        memcpy(stage->complaint, complaint, sizeof(complaint));
        return false;
    }
    return check_counters(stage, link, expected->verdict);
}

bool stage_run_as_model(struct stage *stage, enum combination_way way,
                        const struct model_settings *settings, const struct packet_recipe *recipe,
                        unsigned segment, const struct flowd_marker_mark *mark)
{
    const struct model_packet packet = {.recipe = recipe, .segment = segment};
    struct model_result expected = model_expect(settings, &packet, mark);
    static struct packet composed;

    packet_compose(recipe, &composed);
    return stage_run(stage, way, recipe, composed.length, segment, &expected);
}
