/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quantities of a TCP sample: their names, units and how each is read. One table serves the
 * API, the fireflies and the metrics.
 *
 * Names and units are those of flowd 1.1's metrics (which are ss(8)'s); what it did not have is
 * named as the kernel's struct tcp_info names it. Times are in ms, rates in bits/s, sizes in bytes.
 * flowd 1.1's fireflies, and flowd-go's, have names of their own, and some of the kernel's units.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/text.h"
#include "daemon/tcp/tcp_sample.h"

/* Sets of fields; a field may be in several. */
enum {
    FLOWD_TCP_LEAN = 1,       /* what tells how a transfer fares, in few bytes */
    FLOWD_TCP_COMPATIBLE = 2, /* what flowd 1.1 gave, as it gave it: flowd_tcp_field.compatible */
    FLOWD_TCP_METRIC = 4,     /* a metric of its own (flow_tcp_NAME) */
    FLOWD_TCP_ALL = 8,
};

struct flowd_tcp_field {
    const char *name;
    const char
        *compatible; /* its name in flowd 1.1's fireflies; "=": the same; NULL: it is not there */
    bool as_is;      /* in those it has the kernel's unit: us, bytes a second */
    uint8_t sets;    /* FLOWD_TCP_LEAN, ...; FLOWD_TCP_ALL is in every one */
    bool counter;    /* it only grows while the socket lives */
    const char *doc; /* one line, with the unit */
    /* How it is read; tcp_field.c's. */
    uint8_t part;
    uint8_t size; /* bytes; 0: it is computed */
    uint8_t shift;
    uint8_t mask;
    uint8_t decimals;
    uint16_t offset;
    uint32_t factor;
};

/* In the order in which they are written, the most useful first. */
extern const struct flowd_tcp_field flowd_tcp_fields[];
extern const size_t flowd_tcp_field_count;

/* number / 10^decimals */
struct flowd_tcp_number {
    uint64_t number;
    unsigned decimals;
};

/* False: the sample does not know it. */
bool flowd_tcp_field_read(const struct flowd_tcp_field *field,
                          const struct flowd_tcp_sample *sample, struct flowd_tcp_number *out);
/* The field of that name; NULL: there is none. */
const struct flowd_tcp_field *flowd_tcp_field_find(const char *name);

/* Appends it as a decimal number without superfluous zeros: "12", "0.25". */
void flowd_tcp_number_write(struct flowd_text *text, const struct flowd_tcp_number *number);

/* "established", ...; "unknown". */
const char *flowd_tcp_state_name(unsigned state);

/* Options, algorithm and window scales as ss(8) writes them: "ts sack cubic wscale:7,9". */
#define FLOWD_TCP_OPTIONS_SIZE 80
size_t flowd_tcp_options_format(const struct flowd_tcp_sample *sample,
                                char buffer[FLOWD_TCP_OPTIONS_SIZE]);

/*
 * Appends a flat JSON object: the fields of set that are known (numbers), "state" and "cong" behind
 * the first of them, "opts" behind those in FLOWD_TCP_COMPATIBLE, and at the end in FLOWD_TCP_ALL.
 * The first member that would make it longer than size_max bytes is left out, and so is all that
 * follows. Returns how many members there are. blank: write ": " and ", " as flowd 1.1 did.
 */
unsigned flowd_tcp_sample_write(struct flowd_text *text, const struct flowd_tcp_sample *sample,
                                unsigned set, size_t size_max, bool blank);
