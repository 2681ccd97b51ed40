/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file beside the fifo, PATH.lock, that only flowd can open. Whoever holds its lock reads the
 * fifo; the fifo itself may be locked by everybody who may write it. It also remembers which fifo
 * flowd made, so that a changed mode is applied to that one and to none of anybody else.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/error.h"

/*
 * Locks the file beside the fifo at path. Returns 0 with a descriptor in *lock (owned), or -1 there
 * if no such file can be had, which is logged; -EBUSY if another process holds it.
 */
int fifo_lock_take(const char *path, int *lock, struct flowd_error *err);

/* Whether flowd made the fifo that is open as fifo. */
bool fifo_lock_remembers(int lock, int fifo);
void fifo_lock_remember(int lock, int fifo);
