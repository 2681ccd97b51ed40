/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lays out the rows. The numbers have columns of a fixed width, the addresses share what is left of
 * the line; one that is too long loses its middle, because the port at its end tells flows apart.
 */
#include "top_view.h"

#include <stdio.h>
#include <string.h>

#include "printable.h"
#include "quantity.h"

/* "[", address, "]:", port and NUL */
#define END_SIZE (FLOWD_ADDRESS_SIZE + 10)
#define END_COLUMNS_MIN 13
#define CELL_SIZE 16
#define FRAME_LINES 3 /* two of totals and keys, one of headings */

/* What each line ends with on a screen: what stood there before is erased. */
#define ERASE_REST "\033[K"
#define LINE_END ERASE_REST "\r\n"

enum { EXPERIMENT, ACTIVITY, SENT, RECEIVED, TOTAL, RTT, LAST, ALL, NUMBERS };

static const struct {
    const char *heading;
    int width;
} numbers[NUMBERS] = {
    [EXPERIMENT] = {"EXP", 4},  [ACTIVITY] = {"ACT", 3}, [SENT] = {"SENT/s", 6},
    [RECEIVED] = {"RECV/s", 6}, [TOTAL] = {"TOTAL", 6},  [RTT] = {"RTT", 6},
    [LAST] = {"RETR", 5},       [ALL] = {"ALL", 5},
};

/* Widths of the two address columns. */
struct layout {
    size_t src, dst;
};

/* One line of the table before it is laid out. */
struct line {
    char numbers[NUMBERS][CELL_SIZE];
    char src[END_SIZE], dst[END_SIZE];
};

static void format_end(const struct top_end *end, char buffer[static END_SIZE])
{
    snprintf(buffer, END_SIZE, strchr(end->address, ':') != NULL ? "[%s]:%u" : "%s:%u",
             end->address, end->port);
}

static void format_number(struct line *line, unsigned column, bool known, double number)
{
    if (known)
        quantity_format(number, line->numbers[column]);
    else
        memcpy(line->numbers[column], "-", 2);
}

static void fill_line(struct line *line, const struct top_row *row)
{
    format_end(&row->src, line->src);
    format_end(&row->dst, line->dst);
    snprintf(line->numbers[EXPERIMENT], CELL_SIZE, "%u", row->experiment);
    snprintf(line->numbers[ACTIVITY], CELL_SIZE, "%u", row->activity);
    format_number(line, SENT, row->rated, row->sent_rate);
    format_number(line, RECEIVED, row->rated, row->received_rate);
    format_number(line, TOTAL, row->sampled, (double)row->sent + (double)row->received);
    format_number(line, RTT, false, 0);
    if (row->rtt_ms >= 0)
        quantity_format_ms(row->rtt_ms, line->numbers[RTT]);
    format_number(line, LAST, row->rated, (double)row->retransmissions_last);
    format_number(line, ALL, row->sampled, (double)row->retransmissions);
}

static void fill_headings(struct line *line)
{
    for (unsigned i = 0; i < NUMBERS; i++)
        snprintf(line->numbers[i], CELL_SIZE, "%s", numbers[i].heading);
    snprintf(line->src, END_SIZE, "SRC");
    snprintf(line->dst, END_SIZE, "DST");
}

/* A left-aligned column of width characters and a blank. */
static void put_end(struct flowd_text *text, const char *end, size_t width)
{
    size_t length = strlen(end);
    size_t tail = width / 2;
    size_t used;

    if (length <= width) {
        used = printable_append(text, end, width);
    } else {
        used = printable_append(text, end, width - tail - 1);
        flowd_text_char(text, '~');
        used += 1 + printable_append(text, end + length - tail, tail);
    }
    for (; used <= width; used++)
        flowd_text_char(text, ' ');
}

static void put_line(struct flowd_text *text, const struct line *line, const struct layout *layout)
{
    flowd_text_printf(text, "%*s %*s ", numbers[EXPERIMENT].width, line->numbers[EXPERIMENT],
                      numbers[ACTIVITY].width, line->numbers[ACTIVITY]);
    put_end(text, line->src, layout->src);
    put_end(text, line->dst, layout->dst);
    for (unsigned i = SENT; i < NUMBERS; i++)
        flowd_text_printf(text, i < ALL ? "%*s " : "%*s", numbers[i].width, line->numbers[i]);
}

/* As wide as the longest of the first count rows, within what columns leave. */
static struct layout make_layout(const struct top_rows *rows, size_t count, size_t columns)
{
    struct layout layout = {.src = END_COLUMNS_MIN, .dst = END_COLUMNS_MIN};
    size_t room = 0;

    for (size_t i = 0; i < count; i++) {
        char end[END_SIZE];

        format_end(&rows->sorted[i]->src, end);
        layout.src = strlen(end) > layout.src ? strlen(end) : layout.src;
        format_end(&rows->sorted[i]->dst, end);
        layout.dst = strlen(end) > layout.dst ? strlen(end) : layout.dst;
    }
    for (unsigned i = 0; i < NUMBERS; i++)
        room += (size_t)numbers[i].width + 1;
    room = columns > room + 1 ? columns - room - 1 : 0;
    if (layout.src + layout.dst > room) {
        size_t half = room / 2 > END_COLUMNS_MIN ? room / 2 : END_COLUMNS_MIN;

        if (layout.src > half)
            layout.src = layout.dst < half && room > layout.dst + half ? room - layout.dst : half;
        if (layout.dst > half)
            layout.dst = layout.src < half && room > layout.src + half ? room - layout.src : half;
    }
    return layout;
}

static void put_totals(struct flowd_text *text, const struct top_rows *rows,
                       const struct top_view *view)
{
    char sent[QUANTITY_SIZE], received[QUANTITY_SIZE];

    quantity_format(rows->sent_rate, sent);
    quantity_format(rows->received_rate, received);
    flowd_text_printf(text, "%zu %s, sending %sbit/s, receiving %sbit/s - ", rows->count,
                      rows->count == 1 ? "flow" : "flows", sent, received);
    printable_append(text, view->where, SIZE_MAX);
}

/* The keys, the one in force in brackets; or what is wrong. */
static void put_keys(struct flowd_text *text, const struct top_view *view)
{
    static const char *const keys[] = {[TOP_SORT_RATE] = "r rate",
                                       [TOP_SORT_RTT] = "t round-trip time",
                                       [TOP_SORT_RETRANSMISSIONS] = "x retransmissions"};

    if (view->problem != NULL) {
        flowd_text_puts(text, "not up to date: ");
        printable_append(text, view->problem, SIZE_MAX);
        return;
    }
    flowd_text_puts(text, "sort by:");
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        flowd_text_printf(text, i == view->sort ? " [%s]" : "  %s ", keys[i]);
    flowd_text_puts(text, "  q quit");
}

void top_view_screen(struct flowd_text *text, const struct top_rows *rows,
                     const struct top_view *view)
{
    size_t room = view->lines > FRAME_LINES ? view->lines - FRAME_LINES : 0;
    size_t count = rows->count < room ? rows->count : room;
    struct layout layout = make_layout(rows, count, view->columns);
    struct line line;

    flowd_text_puts(text, "\033[H");
    put_totals(text, rows, view);
    flowd_text_puts(text, LINE_END);
    put_keys(text, view);
    fill_headings(&line);
    flowd_text_puts(text, LINE_END "\033[7m");
    put_line(text, &line, &layout);
    flowd_text_puts(text, ERASE_REST "\033[m");
    for (size_t i = 0; i < count; i++) {
        /* Before the line: one behind the last would scroll. */
        flowd_text_puts(text, "\r\n");
        fill_line(&line, rows->sorted[i]);
        put_line(text, &line, &layout);
        flowd_text_puts(text, ERASE_REST);
    }
    flowd_text_puts(text, "\033[J");
}

void top_view_plain(struct flowd_text *text, const struct top_rows *rows,
                    const struct top_view *view)
{
    struct layout layout = make_layout(rows, rows->count, SIZE_MAX);
    struct line line;

    put_totals(text, rows, view);
    fill_headings(&line);
    flowd_text_char(text, '\n');
    put_line(text, &line, &layout);
    flowd_text_char(text, '\n');
    for (size_t i = 0; i < rows->count; i++) {
        fill_line(&line, rows->sorted[i]);
        put_line(text, &line, &layout);
        flowd_text_char(text, '\n');
    }
    flowd_text_char(text, '\n');
}
