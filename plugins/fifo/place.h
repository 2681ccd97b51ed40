/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the fifo stands: finds or makes it, opens and locks it, and keeps its mode and group as
 * configured.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"

/* Who may write. */
struct fifo_access {
    int64_t mode;
    const char *group; /* "": flowd's own */
};

struct fifo_place {
    int fd;    /* the fifo, for reading and writing */
    int lock;  /* -1: there is none */
    bool made; /* by flowd, now or earlier */
};

/*
 * Opens the fifo at path and makes it, and the last directory of the path, where they are not
 * there. A symbolic link is followed if it and the fifo belong to root or to flowd's user; anything
 * else at the path is left alone. Returns 0 and *place (owned), or -errno.
 */
int fifo_place_open(const char *path, const struct fifo_access *access, struct fifo_place *place,
                    struct flowd_error *err);
/*
 * The same for a fifo that is open as fd (taken) and was made at path by somebody else, who decides
 * about its mode and group: other ones than those of access are logged.
 */
int fifo_place_adopt(int fd, const char *path, const struct fifo_access *access,
                     struct fifo_place *place, struct flowd_error *err);
void fifo_place_close(struct fifo_place *place);

/* Lets another process, or another place, have the lock. */
void fifo_place_unlock(struct fifo_place *place);
/* Takes the lock of a place that is at path and has none. Returns 0 or -errno. */
int fifo_place_lock(struct fifo_place *place, const char *path, struct flowd_error *err);

/* Applies another mode or group to a fifo that flowd made; says so where it does not. */
int fifo_place_change(const struct fifo_place *place, const char *path,
                      const struct fifo_access *access, struct flowd_error *err);

/* Whether path still leads to the open fifo. */
bool fifo_place_is_there(const struct fifo_place *place, const char *path);

/*
 * Joins the group: a file's owner may give it to a group that it belongs to, also after flowd has
 * given up its capabilities, and a fifo that is made again must get its group again.
 */
void fifo_place_join_group(const char *name);
