/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of what a sample holds, a row for each quantity with its names and unit, and the
 * function that writes one as JSON or text.
 */
#include "daemon/tcp/tcp_field.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

/* Where a field stands. */
enum part { INFO, MEMORY, BBR, VEGAS, DCTCP, SEND_RATE, BBR_BANDWIDTH };

#define LEAN (FLOWD_TCP_LEAN | FLOWD_TCP_ALL)
#define LEAN_METRIC (LEAN | FLOWD_TCP_METRIC)
#define METRIC (FLOWD_TCP_METRIC | FLOWD_TCP_ALL)
#define ALL FLOWD_TCP_ALL
/* The second column: what flowd 1.1 and flowd-go call it in fireflies. */
#define SAME "="
#define NONE NULL

#define SIZE(type, member) sizeof(((type *)0)->member)
/* clang-format off */
#define ROW(name_, peer_, sets_, counter_, part_, type, member, factor_, decimals_, as_is_, doc_)  \
    {                                                                                              \
        .name = (name_), .compatible = (peer_), .sets = (sets_), .counter = (counter_),            \
        .part = (part_), .size = SIZE(type, member), .factor = (factor_), .decimals = (decimals_), \
        .as_is = (as_is_), .offset = offsetof(type, member), .doc = (doc_)                         \
    }
#define INFO_ROW(name, peer, sets, counter, member, factor, decimals, as_is, doc)                  \
    ROW(name, peer, sets, counter, INFO, struct flowd_tcp_info, member, factor, decimals, as_is,   \
        doc)
#define GAUGE(name, peer, sets, member, doc)                                                       \
    INFO_ROW(name, peer, sets, false, member, 1, 0, false, doc)
#define COUNTER(name, peer, sets, member, doc)                                                     \
    INFO_ROW(name, peer, sets, true, member, 1, 0, false, doc)
/* The kernel counts us, users read ms. */
#define TIME(name, peer, sets, member, doc)                                                        \
    INFO_ROW(name, peer, sets, false, member, 1, 3, false, doc)
/* The same, but flowd 1.1's fireflies had the kernel's us. */
#define TIME_US(name, peer, sets, member, doc)                                                     \
    INFO_ROW(name, peer, sets, false, member, 1, 3, true, doc)
/* The kernel counts bytes, as flowd 1.1's fireflies do; users read bits. */
#define RATE(name, peer, sets, member, doc)                                                        \
    INFO_ROW(name, peer, sets, false, member, 8, 0, true, doc)
#define BITS(name_, peer_, member, shift_, mask_, doc_)                                            \
    {                                                                                              \
        .name = (name_), .compatible = (peer_), .sets = ALL, .part = INFO, .size = 1,              \
        .shift = (shift_), .mask = (mask_), .factor = 1,                                           \
        .offset = offsetof(struct flowd_tcp_info, member), .doc = (doc_)                           \
    }
#define SOCKET_MEMORY(name_, index, doc_)                                                          \
    {                                                                                              \
        .name = (name_), .sets = METRIC, .part = MEMORY, .size = 4, .factor = 1,                   \
        .offset = offsetof(struct flowd_tcp_sample, memory) + 4 * (index), .doc = (doc_)           \
    }
#define SPECIAL(name, part, member, decimals, doc)                                                 \
    ROW(name, NONE, ALL, false, part, struct flowd_tcp_sample, member, 1, decimals, false, doc)
/* The kernel counts 1/256, which is 0.00390625. */
#define GAIN(name, member, doc)                                                                    \
    ROW(name, NONE, ALL, false, BBR, struct flowd_tcp_sample, member, 390625, 8, false, doc)
#define COMPUTED(name_, sets_, part_, factor_, doc_)                                               \
    {                                                                                              \
        .name = (name_), .sets = (sets_), .part = (part_), .factor = (factor_), .doc = (doc_)      \
    }

const struct flowd_tcp_field flowd_tcp_fields[] = {
    TIME("rtt", SAME, LEAN_METRIC, rtt, "Smoothed round-trip time in ms"),
    TIME_US("minrtt", "min_rtt", LEAN_METRIC, min_rtt, "Smallest round-trip time of late in ms"),
    COUNTER("bytes_sent", NONE, LEAN_METRIC, bytes_sent, "Payload bytes sent, with those sent again"),
    COUNTER("bytes_acked", SAME, LEAN_METRIC, bytes_acked, "Bytes that the other end has acknowledged"),
    COUNTER("bytes_received", SAME, LEAN_METRIC, bytes_received, "Bytes received in order"),
    GAUGE("retrans", "total_retrans", LEAN_METRIC, total_retrans, "Segments sent again"),
    COUNTER("bytes_retrans", NONE, LEAN, bytes_retrans, "Payload bytes sent again"),
    GAUGE("cwnd", "snd_cwnd", LEAN_METRIC, snd_cwnd, "Congestion window in segments"),
    GAUGE("mss", "snd_mss", LEAN_METRIC, snd_mss, "Largest payload of a segment sent, in bytes"),
    RATE("delivery_rate", SAME, LEAN_METRIC, delivery_rate, "Rate at which data arrived of late in bits/s"),
    RATE("pacing_rate", SAME, LEAN_METRIC, pacing_rate, "Rate that sending is held to in bits/s"),
    TIME("rtt_var", "rttvar", LEAN_METRIC, rttvar, "Mean deviation of the round-trip time in ms"),
    GAUGE("lost", SAME, LEAN, lost, "Segments taken for lost"),
    GAUGE("pmtu", SAME, LEAN_METRIC, pmtu, "Path MTU in bytes"),
    TIME_US("busy", "busy_time", LEAN_METRIC, busy_time, "Time with data to send in ms"),
    TIME_US("rwnd_limited", SAME, LEAN_METRIC, rwnd_limited, "Time in which the receiver's window held sending up, in ms"),
    TIME_US("sndbuf_limited", SAME, LEAN, sndbuf_limited, "Time in which the send buffer held sending up, in ms"),
    TIME("rto", SAME, METRIC, rto, "Retransmission timeout in ms"),
    TIME("ato", SAME, METRIC, ato, "Delayed acknowledgement timeout in ms"),
    GAUGE("rcvmss", "rcv_mss", METRIC, rcv_mss, "Largest payload of a segment received, in bytes"),
    GAUGE("ssthresh", "snd_ssthresh", METRIC, snd_ssthresh, "Slow start threshold in segments"),
    GAUGE("retrans_out", "retrans", ALL, retrans, "Segments sent again and under way"),
    GAUGE("retransmits", SAME, ALL, retransmits, "Timeouts of the oldest segment"),
    GAUGE("notsent", "notsent_bytes", ALL, notsent_bytes, "Bytes that wait to be sent"),
    GAUGE("unacked", SAME, ALL, unacked, "Segments under way"),
    GAUGE("sacked", SAME, ALL, sacked, "Segments selectively acknowledged"),
    GAUGE("lastsnd", "last_data_sent", METRIC, last_data_sent, "Time since data was sent in ms"),
    GAUGE("lastrcv", "last_data_recv", METRIC, last_data_recv, "Time since data was received in ms"),
    GAUGE("lastack", "last_ack_recv", METRIC, last_ack_recv, "Time since an acknowledgement was received in ms"),
    TIME("rcv_rtt", SAME, ALL, rcv_rtt, "Round-trip time that the receiver reckons with in ms"),
    BITS("snd_wscale", SAME, wscale, 0, 0x0f, "Window scale of the other end"),
    BITS("rcv_wscale", SAME, wscale, 4, 0x0f, "Window scale of this end"),
    GAUGE("reordering", SAME, ALL, reordering, "Reordering that is allowed for in segments"),
    GAUGE("backoff", SAME, ALL, backoff, "Times that the retransmission timeout was doubled"),
    GAUGE("ca_state", SAME, ALL, ca_state, "Congestion state: 0 open, 1 disorder, 2 reduced, 3 recovery, 4 loss"),
    GAUGE("probes", SAME, ALL, probes, "Window probes without an answer"),
    BITS("app_limited", "delivery_rate_app_limited", flags, 0, 1, "Whether the application sends less than it could"),
    RATE("max_pacing_rate", SAME, ALL, max_pacing_rate, "Rate that the application limits sending to in bits/s"),
    GAUGE("last_ack_sent", SAME, ALL, last_ack_sent, "Not kept by Linux"),
    GAUGE("fackets", SAME, ALL, fackets, "Segments up to the highest one selectively acknowledged"),
    COUNTER("segs_out", SAME, METRIC, segs_out, "Segments sent"),
    COUNTER("segs_in", SAME, METRIC, segs_in, "Segments received"),
    GAUGE("rcv_space", SAME, METRIC, rcv_space, "Receive buffer tuning in bytes"),
    GAUGE("advmss", SAME, METRIC, advmss, "Segment size announced to the other end, in bytes"),
    COUNTER("data_segs_out", SAME, METRIC, data_segs_out, "Segments sent with payload"),
    COUNTER("data_segs_in", SAME, METRIC, data_segs_in, "Segments received with payload"),
    GAUGE("rcv_ssthresh", SAME, METRIC, rcv_ssthresh, "Receive window clamp in bytes"),
    COMPUTED("send", METRIC, SEND_RATE, 1, "A window for each round trip, in bits/s"),
    GAUGE("delivered", NONE, METRIC, delivered, "Segments that arrived"),
    GAUGE("snd_wnd", NONE, METRIC, snd_wnd, "Window that the other end announced in bytes"),
    SOCKET_MEMORY("skmem_rmem_alloc", 0, "Memory of received packets in bytes"),
    SOCKET_MEMORY("skmem_rcv_buf", 1, "Most memory of received packets in bytes"),
    SOCKET_MEMORY("skmem_wmem_allow", 2, "Memory of packets under way in bytes"),
    SOCKET_MEMORY("skmem_snd_buf", 3, "Most memory of packets to be sent in bytes"),
    SOCKET_MEMORY("skmem_fwd_alloc", 4, "Memory set aside in bytes"),
    SOCKET_MEMORY("skmem_wmem_queued", 5, "Memory of packets to be sent in bytes"),
    SOCKET_MEMORY("skmem_opt_mem", 6, "Memory of socket options in bytes"),
    SOCKET_MEMORY("skmem_back_log", 7, "Backlog of packets not handled yet"),
    SOCKET_MEMORY("skmem_sock_drop", 8, "Packets dropped by the socket"),
    COMPUTED("bbr_bw", ALL, BBR_BANDWIDTH, 8, "Bandwidth that BBR reckons with in bits/s"),
    SPECIAL("bbr_mrtt", BBR, bbr.bbr_min_rtt, 3, "Smallest round-trip time that BBR reckons with in ms"),
    GAIN("bbr_pacing_gain", bbr.bbr_pacing_gain, "BBR's pacing gain"),
    GAIN("bbr_cwnd_gain", bbr.bbr_cwnd_gain, "BBR's window gain"),
    SPECIAL("vegas_enabled", VEGAS, vegas.tcpv_enabled, 0, "Whether Vegas is in control"),
    SPECIAL("vegas_rttcnt", VEGAS, vegas.tcpv_rttcnt, 0, "Round-trip times that Vegas measured"),
    SPECIAL("vegas_rtt", VEGAS, vegas.tcpv_rtt, 3, "Round-trip time that Vegas reckons with in ms"),
    SPECIAL("vegas_minrtt", VEGAS, vegas.tcpv_minrtt, 3, "Smallest round-trip time that Vegas knows in ms"),
    SPECIAL("dctcp_enabled", DCTCP, dctcp.dctcp_enabled, 0, "Whether DCTCP is in control"),
    SPECIAL("dctcp_ce_state", DCTCP, dctcp.dctcp_ce_state, 0, "Whether the last packet bore a congestion mark"),
    SPECIAL("dctcp_alpha", DCTCP, dctcp.dctcp_alpha, 0, "DCTCP's share of marked bytes in 1/1024"),
    SPECIAL("dctcp_ab_ecn", DCTCP, dctcp.dctcp_ab_ecn, 0, "Bytes acknowledged with a congestion mark"),
    SPECIAL("dctcp_ab_tot", DCTCP, dctcp.dctcp_ab_tot, 0, "Bytes acknowledged"),
    COUNTER("reord_seen", NONE, ALL, reord_seen, "Times that reordering was seen"),
    COUNTER("dsack_dups", NONE, ALL, dsack_dups, "Segments that the other end had twice"),
    COUNTER("rcv_ooopack", NONE, ALL, rcv_ooopack, "Segments received out of order"),
    COUNTER("delivered_ce", NONE, ALL, delivered_ce, "Segments that arrived with a congestion mark"),
    GAUGE("rcv_wnd", NONE, ALL, rcv_wnd, "Window announced to the other end in bytes"),
    COUNTER("rehash", NONE, ALL, rehash, "Times that the flow's path hash was changed"),
    BITS("fastopen_client_fail", NONE, flags, 1, 3, "Why Fast Open failed"),
    COUNTER("total_rto", NONE, ALL, total_rto, "Retransmission timeouts"),
    COUNTER("total_rto_recoveries", NONE, ALL, total_rto_recoveries, "Recoveries from retransmission timeouts"),
    COUNTER("total_rto_time", NONE, ALL, total_rto_time, "Time spent in recovery from timeouts in ms"),
    COUNTER("received_ce", NONE, ALL, received_ce, "Packets received with a congestion mark"),
    COUNTER("delivered_e1_bytes", NONE, ALL, delivered_e1_bytes, "Bytes that arrived marked ECT(1)"),
    COUNTER("delivered_e0_bytes", NONE, ALL, delivered_e0_bytes, "Bytes that arrived marked ECT(0)"),
    COUNTER("delivered_ce_bytes", NONE, ALL, delivered_ce_bytes, "Bytes that arrived with a congestion mark"),
    COUNTER("received_e1_bytes", NONE, ALL, received_e1_bytes, "Bytes received marked ECT(1)"),
    COUNTER("received_e0_bytes", NONE, ALL, received_e0_bytes, "Bytes received marked ECT(0)"),
    COUNTER("received_ce_bytes", NONE, ALL, received_ce_bytes, "Bytes received with a congestion mark"),
    GAUGE("accecn_fail_mode", NONE, ALL, accecn_fail_mode, "Why accurate ECN failed"),
    GAUGE("accecn_opt_seen", NONE, ALL, accecn_opt_seen, "Whether the accurate ECN option was seen"),
};
/* clang-format on */
const size_t flowd_tcp_field_count = sizeof(flowd_tcp_fields) / sizeof(flowd_tcp_fields[0]);
static_assert(sizeof(flowd_tcp_fields) / sizeof(flowd_tcp_fields[0]) <= FLOWD_TCP_FIELDS_MAX,
              "room for each where there is something for all of them");

const struct flowd_tcp_field *flowd_tcp_field_find(const char *name)
{
    for (size_t i = 0; i < flowd_tcp_field_count; i++)
        if (strcmp(flowd_tcp_fields[i].name, name) == 0)
            return &flowd_tcp_fields[i];
    return NULL;
}

/* The part that the field's offset counts from; NULL: the sample does not have the field. */
static const void *part_of(const struct flowd_tcp_field *field,
                           const struct flowd_tcp_sample *sample)
{
    static const uint8_t has[] = {[MEMORY] = FLOWD_TCP_HAS_MEMORY,
                                  [BBR] = FLOWD_TCP_HAS_BBR,
                                  [VEGAS] = FLOWD_TCP_HAS_VEGAS,
                                  [DCTCP] = FLOWD_TCP_HAS_DCTCP};

    if (field->part == INFO)
        return field->offset + field->size <= sample->info_length ? &sample->info : NULL;
    return sample->has & has[field->part] ? sample : NULL;
}

static uint64_t read_bytes(const void *from, size_t size)
{
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    switch (size) {
    case sizeof(one):
        memcpy(&one, from, sizeof(one));
        return one;
    case sizeof(two):
        memcpy(&two, from, sizeof(two));
        return two;
    case sizeof(four):
        memcpy(&four, from, sizeof(four));
        return four;
    default:
        memcpy(&eight, from, sizeof(eight));
        return eight;
    }
}

/* What ss(8) calls "send": what one window in each round trip would be. */
static bool compute_send_rate(const struct flowd_tcp_sample *sample, uint64_t *rate)
{
    const struct flowd_tcp_info *info = &sample->info;
    double bits;

    if (sample->info_length < offsetof(struct flowd_tcp_info, advmss) || info->rtt == 0 ||
        info->snd_mss == 0 || info->snd_cwnd == 0)
        return false;
    bits = (double)info->snd_cwnd * info->snd_mss * 8e6 / info->rtt;
    if (bits >= (double)INT64_MAX)
        return false;
    *rate = (uint64_t)bits;
    return true;
}

/* As the kernel counts. */
static bool read_raw(const struct flowd_tcp_field *field, const struct flowd_tcp_sample *sample,
                     uint64_t *number)
{
    const char *part;

    if (field->part == SEND_RATE)
        return compute_send_rate(sample, number);
    if (field->part == BBR_BANDWIDTH) {
        *number = (uint64_t)sample->bbr.bbr_bw_hi << 32 | (uint64_t)sample->bbr.bbr_bw_lo;
        return (sample->has & FLOWD_TCP_HAS_BBR) != 0;
    }
    part = part_of(field, sample);
    if (part == NULL)
        return false;
    *number = read_bytes(part + field->offset, field->size);
    if (field->mask != 0)
        *number = (*number >> field->shift) & field->mask;
    return true;
}

bool flowd_tcp_field_read(const struct flowd_tcp_field *field,
                          const struct flowd_tcp_sample *sample, struct flowd_tcp_number *out)
{
    uint64_t number;

    /* A rate of all ones is none; and readers of JSON take no more than 63 bits. */
    if (!read_raw(field, sample, &number) || number > INT64_MAX / field->factor)
        return false;
    *out = (struct flowd_tcp_number){.number = number * field->factor, .decimals = field->decimals};
    return true;
}

/* As flowd 1.1's fireflies had it; where they had no limit as the kernel's all ones, 63 of them. */
static bool read_compatible(const struct flowd_tcp_field *field,
                            const struct flowd_tcp_sample *sample, struct flowd_tcp_number *out)
{
    uint64_t number;

    if (!field->as_is)
        return flowd_tcp_field_read(field, sample, out);
    if (!read_raw(field, sample, &number))
        return false;
    *out = (struct flowd_tcp_number){.number = number < INT64_MAX ? number : INT64_MAX};
    return true;
}

void flowd_tcp_number_write(struct flowd_text *text, const struct flowd_tcp_number *number)
{
    uint64_t divisor = 1;
    uint64_t fraction;
    unsigned digits = number->decimals;
    char buffer[20];

    for (unsigned i = 0; i < digits; i++)
        divisor *= 10;
    flowd_text_u64(text, number->number / divisor);
    fraction = number->number % divisor;
    if (fraction == 0)
        return;
    for (; fraction % 10 == 0; fraction /= 10)
        digits--;
    for (unsigned i = digits; i > 0; i--, fraction /= 10)
        buffer[i] = (char)('0' + fraction % 10);
    buffer[0] = '.';
    flowd_text_append(text, buffer, digits + 1);
}

const char *flowd_tcp_state_name(unsigned state)
{
    static const char *const names[] = {
        [TCP_ESTABLISHED] = "established",
        [TCP_SYN_SENT] = "syn-sent",
        [TCP_SYN_RECV] = "syn-recv",
        [TCP_FIN_WAIT1] = "fin-wait-1",
        [TCP_FIN_WAIT2] = "fin-wait-2",
        [TCP_TIME_WAIT] = "time-wait",
        [TCP_CLOSE] = "closed",
        [TCP_CLOSE_WAIT] = "close-wait",
        [TCP_LAST_ACK] = "last-ack",
        [TCP_LISTEN] = "listening",
        [TCP_CLOSING] = "closing",
    };

    if (state >= sizeof(names) / sizeof(names[0]) || names[state] == NULL)
        return "unknown";
    return names[state];
}

size_t flowd_tcp_options_format(const struct flowd_tcp_sample *sample,
                                char buffer[FLOWD_TCP_OPTIONS_SIZE])
{
    unsigned options = sample->info_length > 0 ? sample->info.options : 0;
    char wscale[16] = "";
    int length;

    if (options & TCPI_OPT_WSCALE)
        snprintf(wscale, sizeof(wscale), " wscale:%d,%d", sample->info.wscale & 0x0f,
                 sample->info.wscale >> 4);
    length = snprintf(buffer, FLOWD_TCP_OPTIONS_SIZE, "%s%s%s%s%s%s%s%s",
                      options & TCPI_OPT_TIMESTAMPS ? " ts" : "",
                      options & TCPI_OPT_SACK ? " sack" : "", options & TCPI_OPT_ECN ? " ecn" : "",
                      options & TCPI_OPT_ECN_SEEN ? " ecnseen" : "",
                      options & TCPI_OPT_SYN_DATA ? " fastopen" : "",
                      sample->congestion[0] != '\0' ? " " : "", sample->congestion, wscale);
    if (length <= 0)
        return 0;
    memmove(buffer, buffer + 1, (size_t)length);
    return (size_t)length - 1;
}

/* An object that must not become longer than its room. */
struct writer {
    struct flowd_text *text;
    size_t end;       /* where the object has to end at the latest */
    unsigned written; /* members */
    bool blank;       /* write ": " and ", " */
    bool full;        /* a member did not fit: none follows */
};

static size_t begin_member(const struct writer *writer, const char *name)
{
    size_t start = writer->text->length;

    if (writer->written > 0)
        flowd_text_puts(writer->text, writer->blank ? ", " : ",");
    flowd_text_char(writer->text, '"');
    flowd_text_puts(writer->text, name);
    flowd_text_puts(writer->text, writer->blank ? "\": " : "\":");
    return start;
}

/* Takes the member back if the object would be too long with its closing brace. */
static void end_member(struct writer *writer, size_t start)
{
    writer->full = !writer->text->failed && writer->text->length + 1 > writer->end;
    if (writer->full)
        writer->text->length = start;
    else
        writer->written++;
}

static void write_string(struct writer *writer, const char *name, const char *value, size_t length)
{
    size_t start;

    if (writer->full)
        return;
    start = begin_member(writer, name);
    flowd_text_json(writer->text, value, length);
    end_member(writer, start);
}

static void write_number(struct writer *writer, const char *name,
                         const struct flowd_tcp_number *number)
{
    size_t start;

    if (writer->full)
        return;
    start = begin_member(writer, name);
    flowd_tcp_number_write(writer->text, number);
    end_member(writer, start);
}

static void write_field(struct writer *writer, const struct flowd_tcp_field *field, unsigned set,
                        const struct flowd_tcp_sample *sample)
{
    struct flowd_tcp_number number;

    if (set == FLOWD_TCP_COMPATIBLE) {
        if (field->compatible != NULL && read_compatible(field, sample, &number))
            write_number(writer,
                         strcmp(field->compatible, SAME) == 0 ? field->name : field->compatible,
                         &number);
    } else if ((field->sets & set) && flowd_tcp_field_read(field, sample, &number)) {
        write_number(writer, field->name, &number);
    }
}

static void write_options(struct writer *writer, const struct flowd_tcp_sample *sample,
                          unsigned set)
{
    char options[FLOWD_TCP_OPTIONS_SIZE];
    struct flowd_tcp_sample plain;
    size_t length;

    if (sample->info_length == 0)
        return;
    if (set == FLOWD_TCP_COMPATIBLE) {
        /* The algorithm and the scales have members of their own. */
        plain = *sample;
        plain.congestion[0] = '\0';
        plain.info.options &= (uint8_t)~TCPI_OPT_WSCALE;
        sample = &plain;
    }
    length = flowd_tcp_options_format(sample, options);
    write_string(writer, "opts", options, length);
}

static void write_names(struct writer *writer, const struct flowd_tcp_sample *sample, unsigned set)
{
    const char *state = flowd_tcp_state_name(sample->state);

    if (set == FLOWD_TCP_COMPATIBLE && sample->state == TCP_CLOSE)
        state = "unconnected";
    write_string(writer, "state", state, strlen(state));
    if (sample->congestion[0] != '\0')
        write_string(writer, "cong", sample->congestion, strlen(sample->congestion));
    if (set == FLOWD_TCP_COMPATIBLE)
        write_options(writer, sample, set);
}

/* How many fields before the names: what must be there whatever the room. */
#define FIELDS_FIRST 1

unsigned flowd_tcp_sample_write(struct flowd_text *text, const struct flowd_tcp_sample *sample,
                                unsigned set, size_t size_max, bool blank)
{
    struct writer writer = {.text = text, .blank = blank};

    writer.end = size_max > SIZE_MAX - text->length ? SIZE_MAX : text->length + size_max;
    flowd_text_char(text, '{');
    for (size_t i = 0; i < flowd_tcp_field_count; i++) {
        if (i == FIELDS_FIRST)
            write_names(&writer, sample, set);
        write_field(&writer, &flowd_tcp_fields[i], set, sample);
    }
    if (set == FLOWD_TCP_ALL)
        write_options(&writer, sample, set);
    flowd_text_char(text, '}');
    return writer.written;
}
