/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `flowctl top` shows: one refresh as a screen, as a plain table, or as a JSON document.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/text.h"
#include "top_rows.h"

struct top_view {
    enum top_sort sort;
    size_t columns; /* of the screen */
    size_t lines;
    const char *where;   /* flowd's address */
    const char *problem; /* why the rows are not those of this moment; NULL: they are */
};

/* Whole lines with their escape sequences, no more than fit the screen. */
void top_view_screen(struct flowd_text *text, const struct top_rows *rows,
                     const struct top_view *view);
/* All rows without escape sequences. */
void top_view_plain(struct flowd_text *text, const struct top_rows *rows,
                    const struct top_view *view);
/* One document on one line; now_us is CLOCK_REALTIME. */
void top_view_json(struct flowd_text *text, const struct top_rows *rows, int64_t now_us);
