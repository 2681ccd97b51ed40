/*
 * The table of what a sample holds, and how it is written.
 */
#include "daemon/tcp_field.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

/* Where a field stands. */
enum part { INFO, MEMORY, BBR, VEGAS, DCTCP, SEND_RATE, BBR_BANDWIDTH };

#define LEAN (FLOWD_TCP_LEAN | FLOWD_TCP_ALL)
#define LEAN_METRIC (LEAN | FLOWD_TCP_COMPATIBLE | FLOWD_TCP_METRIC)
#define METRIC (FLOWD_TCP_COMPATIBLE | FLOWD_TCP_METRIC | FLOWD_TCP_ALL)
#define COMPATIBLE (FLOWD_TCP_COMPATIBLE | FLOWD_TCP_ALL)
#define ALL FLOWD_TCP_ALL

#define SIZE(type, member) sizeof(((type *)0)->member)
#define ROW(name_, sets_, counter_, part_, type, member, factor_, decimals_, doc_)                 \
    {                                                                                              \
        .name = (name_), .sets = (sets_), .counter = (counter_), .part = (part_),                  \
        .size = SIZE(type, member), .factor = (factor_), .decimals = (decimals_),                  \
        .offset = offsetof(type, member), .doc = (doc_)                                            \
    }
#define GAUGE(name, sets, member, doc)                                                             \
    ROW(name, sets, false, INFO, struct flowd_tcp_info, member, 1, 0, doc)
#define COUNTER(name, sets, member, doc)                                                           \
    ROW(name, sets, true, INFO, struct flowd_tcp_info, member, 1, 0, doc)
/* The kernel counts us, users read ms. */
#define TIME(name, sets, member, doc)                                                              \
    ROW(name, sets, false, INFO, struct flowd_tcp_info, member, 1, 3, doc)
/* The kernel counts bytes, users read bits. */
#define RATE(name, sets, member, doc)                                                              \
    ROW(name, sets, false, INFO, struct flowd_tcp_info, member, 8, 0, doc)
#define BITS(name_, member, shift_, mask_, doc_)                                                   \
    {                                                                                              \
        .name = (name_), .sets = ALL, .part = INFO, .size = 1, .shift = (shift_), .mask = (mask_), \
        .factor = 1, .offset = offsetof(struct flowd_tcp_info, member), .doc = (doc_)              \
    }
#define SOCKET_MEMORY(name_, index, doc_)                                                          \
    {                                                                                              \
        .name = (name_), .sets = METRIC, .part = MEMORY, .size = 4, .factor = 1,                   \
        .offset = offsetof(struct flowd_tcp_sample, memory) + 4 * (index), .doc = (doc_)           \
    }
#define SPECIAL(name, part, member, decimals, doc)                                                 \
    ROW(name, COMPATIBLE, false, part, struct flowd_tcp_sample, member, 1, decimals, doc)
/* The kernel counts 1/256, which is 0.00390625. */
#define GAIN(name, member, doc)                                                                    \
    ROW(name, COMPATIBLE, false, BBR, struct flowd_tcp_sample, member, 390625, 8, doc)
#define COMPUTED(name_, sets_, part_, factor_, doc_)                                               \
    {                                                                                              \
        .name = (name_), .sets = (sets_), .part = (part_), .factor = (factor_), .doc = (doc_)      \
    }

/* clang-format off */
const struct flowd_tcp_field flowd_tcp_fields[] = {
    TIME("rtt", LEAN_METRIC, rtt, "Smoothed round-trip time in ms"),
    TIME("minrtt", LEAN_METRIC, min_rtt, "Smallest round-trip time of late in ms"),
    COUNTER("bytes_sent", LEAN_METRIC, bytes_sent, "Payload bytes sent, with those sent again"),
    COUNTER("bytes_acked", LEAN_METRIC, bytes_acked, "Bytes that the other end has acknowledged"),
    COUNTER("bytes_received", LEAN_METRIC, bytes_received, "Bytes received in order"),
    GAUGE("retrans", LEAN_METRIC, total_retrans, "Segments sent again"),
    COUNTER("bytes_retrans", LEAN | FLOWD_TCP_COMPATIBLE, bytes_retrans, "Payload bytes sent again"),
    GAUGE("cwnd", LEAN_METRIC, snd_cwnd, "Congestion window in segments"),
    GAUGE("mss", LEAN_METRIC, snd_mss, "Largest payload of a segment sent, in bytes"),
    RATE("delivery_rate", LEAN_METRIC, delivery_rate, "Rate at which data arrived of late in bits/s"),
    RATE("pacing_rate", LEAN_METRIC, pacing_rate, "Rate that sending is held to in bits/s"),
    TIME("rtt_var", LEAN_METRIC, rttvar, "Mean deviation of the round-trip time in ms"),
    GAUGE("lost", LEAN | FLOWD_TCP_COMPATIBLE, lost, "Segments taken for lost"),
    GAUGE("pmtu", LEAN_METRIC, pmtu, "Path MTU in bytes"),
    TIME("busy", LEAN_METRIC, busy_time, "Time with data to send in ms"),
    TIME("rwnd_limited", LEAN_METRIC, rwnd_limited, "Time in which the receiver's window held sending up, in ms"),
    TIME("sndbuf_limited", LEAN | FLOWD_TCP_COMPATIBLE, sndbuf_limited, "Time in which the send buffer held sending up, in ms"),
    COMPUTED("send", METRIC, SEND_RATE, 1, "A window for each round trip, in bits/s"),
    TIME("rto", METRIC, rto, "Retransmission timeout in ms"),
    TIME("ato", METRIC, ato, "Delayed acknowledgement timeout in ms"),
    GAUGE("rcvmss", METRIC, rcv_mss, "Largest payload of a segment received, in bytes"),
    GAUGE("advmss", METRIC, advmss, "Segment size announced to the other end, in bytes"),
    GAUGE("ssthresh", METRIC, snd_ssthresh, "Slow start threshold in segments"),
    COUNTER("segs_out", METRIC, segs_out, "Segments sent"),
    COUNTER("segs_in", METRIC, segs_in, "Segments received"),
    COUNTER("data_segs_out", METRIC, data_segs_out, "Segments sent with payload"),
    COUNTER("data_segs_in", METRIC, data_segs_in, "Segments received with payload"),
    GAUGE("lastsnd", METRIC, last_data_sent, "Time since data was sent in ms"),
    GAUGE("lastrcv", METRIC, last_data_recv, "Time since data was received in ms"),
    GAUGE("lastack", METRIC, last_ack_recv, "Time since an acknowledgement was received in ms"),
    GAUGE("delivered", METRIC, delivered, "Segments that arrived"),
    GAUGE("rcv_space", METRIC, rcv_space, "Receive buffer tuning in bytes"),
    GAUGE("rcv_ssthresh", METRIC, rcv_ssthresh, "Receive window clamp in bytes"),
    GAUGE("snd_wnd", METRIC, snd_wnd, "Window that the other end announced in bytes"),
    SOCKET_MEMORY("skmem_rmem_alloc", 0, "Memory of received packets in bytes"),
    SOCKET_MEMORY("skmem_rcv_buf", 1, "Most memory of received packets in bytes"),
    SOCKET_MEMORY("skmem_wmem_allow", 2, "Memory of packets under way in bytes"),
    SOCKET_MEMORY("skmem_snd_buf", 3, "Most memory of packets to be sent in bytes"),
    SOCKET_MEMORY("skmem_fwd_alloc", 4, "Memory set aside in bytes"),
    SOCKET_MEMORY("skmem_wmem_queued", 5, "Memory of packets to be sent in bytes"),
    SOCKET_MEMORY("skmem_opt_mem", 6, "Memory of socket options in bytes"),
    SOCKET_MEMORY("skmem_back_log", 7, "Backlog of packets not handled yet"),
    SOCKET_MEMORY("skmem_sock_drop", 8, "Packets dropped by the socket"),
    COMPUTED("bbr_bw", COMPATIBLE, BBR_BANDWIDTH, 8, "Bandwidth that BBR reckons with in bits/s"),
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
    GAUGE("unacked", COMPATIBLE, unacked, "Segments under way"),
    GAUGE("sacked", COMPATIBLE, sacked, "Segments selectively acknowledged"),
    GAUGE("notsent", COMPATIBLE, notsent_bytes, "Bytes that wait to be sent"),
    TIME("rcv_rtt", COMPATIBLE, rcv_rtt, "Round-trip time that the receiver reckons with in ms"),
    GAUGE("reordering", COMPATIBLE, reordering, "Reordering that is allowed for in segments"),
    COUNTER("reord_seen", COMPATIBLE, reord_seen, "Times that reordering was seen"),
    COUNTER("dsack_dups", COMPATIBLE, dsack_dups, "Segments that the other end had twice"),
    COUNTER("rcv_ooopack", COMPATIBLE, rcv_ooopack, "Segments received out of order"),
    COUNTER("delivered_ce", COMPATIBLE, delivered_ce, "Segments that arrived with a congestion mark"),
    GAUGE("backoff", COMPATIBLE, backoff, "Times that the retransmission timeout was doubled"),
    GAUGE("rcv_wnd", ALL, rcv_wnd, "Window announced to the other end in bytes"),
    COUNTER("rehash", ALL, rehash, "Times that the flow's path hash was changed"),
    GAUGE("retrans_out", ALL, retrans, "Segments sent again and under way"),
    GAUGE("retransmits", ALL, retransmits, "Timeouts of the oldest segment"),
    GAUGE("probes", ALL, probes, "Window probes without an answer"),
    GAUGE("ca_state", ALL, ca_state, "Congestion state: 0 open, 1 disorder, 2 reduced, 3 recovery, 4 loss"),
    BITS("snd_wscale", wscale, 0, 0x0f, "Window scale of the other end"),
    BITS("rcv_wscale", wscale, 4, 0x0f, "Window scale of this end"),
    BITS("app_limited", flags, 0, 1, "Whether the application sends less than it could"),
    BITS("fastopen_client_fail", flags, 1, 3, "Why Fast Open failed"),
    GAUGE("fackets", ALL, fackets, "Segments up to the highest one selectively acknowledged"),
    GAUGE("last_ack_sent", ALL, last_ack_sent, "Not kept by Linux"),
    RATE("max_pacing_rate", ALL, max_pacing_rate, "Rate that the application limits sending to in bits/s"),
    COUNTER("total_rto", ALL, total_rto, "Retransmission timeouts"),
    COUNTER("total_rto_recoveries", ALL, total_rto_recoveries, "Recoveries from retransmission timeouts"),
    COUNTER("total_rto_time", ALL, total_rto_time, "Time spent in recovery from timeouts in ms"),
    COUNTER("received_ce", ALL, received_ce, "Packets received with a congestion mark"),
    COUNTER("delivered_e1_bytes", ALL, delivered_e1_bytes, "Bytes that arrived marked ECT(1)"),
    COUNTER("delivered_e0_bytes", ALL, delivered_e0_bytes, "Bytes that arrived marked ECT(0)"),
    COUNTER("delivered_ce_bytes", ALL, delivered_ce_bytes, "Bytes that arrived with a congestion mark"),
    COUNTER("received_e1_bytes", ALL, received_e1_bytes, "Bytes received marked ECT(1)"),
    COUNTER("received_e0_bytes", ALL, received_e0_bytes, "Bytes received marked ECT(0)"),
    COUNTER("received_ce_bytes", ALL, received_ce_bytes, "Bytes received with a congestion mark"),
    GAUGE("accecn_fail_mode", ALL, accecn_fail_mode, "Why accurate ECN failed"),
    GAUGE("accecn_opt_seen", ALL, accecn_opt_seen, "Whether the accurate ECN option was seen"),
};
/* clang-format on */
const size_t flowd_tcp_field_count = sizeof(flowd_tcp_fields) / sizeof(flowd_tcp_fields[0]);
static_assert(sizeof(flowd_tcp_fields) / sizeof(flowd_tcp_fields[0]) <= FLOWD_TCP_FIELDS_MAX,
              "a bit of flowd_tcp_sample.unknown for each");

static bool is_hidden(const struct flowd_tcp_sample *sample, const struct flowd_tcp_field *field)
{
    size_t index = (size_t)(field - flowd_tcp_fields);

    return (sample->unknown[index / 64] >> (index % 64)) & 1;
}

void flowd_tcp_field_hide(struct flowd_tcp_sample *sample, const struct flowd_tcp_field *field)
{
    size_t index = (size_t)(field - flowd_tcp_fields);

    sample->unknown[index / 64] |= 1ull << (index % 64);
}

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

static bool read_number(const struct flowd_tcp_field *field, const struct flowd_tcp_sample *sample,
                        uint64_t *number)
{
    const char *part;

    if (field->part == SEND_RATE)
        return compute_send_rate(sample, number);
    if (field->part == BBR_BANDWIDTH) {
        *number = (uint64_t)sample->bbr.bbr_bw_hi << 32 | (uint64_t)sample->bbr.bbr_bw_lo;
        if (!(sample->has & FLOWD_TCP_HAS_BBR))
            return false;
    } else {
        part = part_of(field, sample);
        if (part == NULL)
            return false;
        *number = read_bytes(part + field->offset, field->size);
    }
    if (field->mask != 0)
        *number = (*number >> field->shift) & field->mask;
    /* A rate of all ones is none; and readers of JSON take no more than 63 bits. */
    if (*number > INT64_MAX / field->factor)
        return false;
    *number *= field->factor;
    return true;
}

bool flowd_tcp_field_read(const struct flowd_tcp_field *field,
                          const struct flowd_tcp_sample *sample, struct flowd_tcp_number *out)
{
    uint64_t number;

    if (is_hidden(sample, field) || !read_number(field, sample, &number))
        return false;
    *out = (struct flowd_tcp_number){.number = number, .decimals = field->decimals};
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

static void write_field(struct writer *writer, const struct flowd_tcp_field *field,
                        const struct flowd_tcp_number *number)
{
    size_t start;

    if (writer->full)
        return;
    start = begin_member(writer, field->name);
    flowd_tcp_number_write(writer->text, number);
    end_member(writer, start);
}

static void write_names(struct writer *writer, const struct flowd_tcp_sample *sample)
{
    const char *state = flowd_tcp_state_name(sample->state);

    write_string(writer, "state", state, strlen(state));
    if (sample->congestion[0] != '\0')
        write_string(writer, "cong", sample->congestion, strlen(sample->congestion));
}

/* How many fields before the names: what must be there whatever the room. */
#define FIELDS_FIRST 1

unsigned flowd_tcp_sample_write(struct flowd_text *text, const struct flowd_tcp_sample *sample,
                                unsigned set, size_t size_max, bool blank)
{
    struct writer writer = {.text = text, .blank = blank};
    char options[FLOWD_TCP_OPTIONS_SIZE];
    struct flowd_tcp_number number;

    writer.end = size_max > SIZE_MAX - text->length ? SIZE_MAX : text->length + size_max;
    flowd_text_char(text, '{');
    for (size_t i = 0; i < flowd_tcp_field_count; i++) {
        const struct flowd_tcp_field *field = &flowd_tcp_fields[i];

        if (i == FIELDS_FIRST)
            write_names(&writer, sample);
        if ((field->sets & set) && flowd_tcp_field_read(field, sample, &number))
            write_field(&writer, field, &number);
    }
    if ((set & (FLOWD_TCP_COMPATIBLE | FLOWD_TCP_ALL)) && sample->info_length > 0)
        write_string(&writer, "opts", options, flowd_tcp_options_format(sample, options));
    flowd_text_char(text, '}');
    return writer.written;
}
