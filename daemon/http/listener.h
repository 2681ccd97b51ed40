/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets. Internal to the server.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/error.h"

/* "127.0.0.1:7777". Returns 0, or -EINVAL: the address is not numeric. */
int flowd_http_listener_name(const char *address, uint16_t port, char *name, size_t size,
                             struct flowd_error *err);

/*
 * Opens a non-blocking listening socket on a numeric address. Writes its name to name. Returns the
 * descriptor or -errno.
 */
int flowd_http_listener_open(const char *address, uint16_t port, char *name, size_t size,
                             struct flowd_error *err);

/* The same on a unix socket; *device and *inode are the socket file's. */
int flowd_http_listener_open_unix(const char *path, mode_t mode, const char *group,
                                  uint64_t *device, uint64_t *inode, struct flowd_error *err);
/* Removes the socket file if it is still the one that was made. */
void flowd_http_listener_remove(const char *path, uint64_t device, uint64_t inode);
