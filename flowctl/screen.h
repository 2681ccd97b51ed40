/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as a screen: another page than the one with the shell's lines, keys as they are
 * pressed, and everything as it was before when the program ends, whatever ends it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/text.h"

enum screen_event { SCREEN_TIME, SCREEN_KEY, SCREEN_RESIZED, SCREEN_GONE };

/* Whether standard output is a terminal that obeys escape sequences. */
bool screen_is_there(void);
/* Takes the screen over. There is one for the process. Returns 0 or -errno. */
int screen_open(struct flowd_error *err);
void screen_close(void);
/* How large it is; 80 by 24 where it does not say. */
void screen_size(size_t *columns, size_t *lines);
/* Writes it as it is. Returns 0 or -errno. */
int screen_write(const struct flowd_text *text);
/*
 * Waits until deadline_ms (CLOCK_MONOTONIC) at the latest. SCREEN_KEY: *key was pressed;
 * SCREEN_GONE: the terminal is.
 */
enum screen_event screen_wait(int64_t deadline_ms, char *key);
