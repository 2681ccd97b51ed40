/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel of c-ares on the loop: asks DNS servers as /etc/resolv.conf names them, after
 * /etc/hosts. For resolver.c alone.
 */
#pragma once

#include <ares.h>
#include <stdbool.h>

#include "daemon/base/error.h"

struct ev_loop;
struct flowd_channel;

/* Reads /etc/resolv.conf. Returns 0 and *out (owned), or -errno. */
int flowd_channel_new(struct ev_loop *loop, struct flowd_channel **out, struct flowd_error *err);
/*
 * Every question that is open is answered with ARES_EDESTRUCTION first. Not from within an answer.
 * NULL is allowed.
 */
void flowd_channel_free(struct flowd_channel *channel);

/* Whether /etc/resolv.conf has become another one since. */
bool flowd_channel_is_stale(const struct flowd_channel *channel);

/*
 * Asks for the addresses of host; family AF_UNSPEC: both. answer is called once, it may be before
 * this returns, and frees result, which may be NULL, with ares_freeaddrinfo().
 */
void flowd_channel_ask(struct flowd_channel *channel, const char *host, int family,
                       ares_addrinfo_callback answer, void *context);
