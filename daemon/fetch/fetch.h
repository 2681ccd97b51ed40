/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches documents by http and https (libcurl's multi-socket interface on the loop): a registry,
 * this host's public address. Nothing here blocks, names are resolved in threads of libcurl's, and
 * the libraries are loaded when something is fetched for the first time.
 *
 * TLS is verified with the system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR
 * name. Three redirects are followed at most, none of them from https to http. The variables
 * http_proxy, https_proxy, all_proxy and no_proxy of the environment are honoured.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"

struct ev_loop;
struct flowd_fetch;
struct flowd_fetcher;

/* What came of a request. All of it is borrowed until the callback returns. */
struct flowd_fetch_answer {
    /*
     * 0: the server answered, whatever it said (see status). Else -errno: -ETIMEDOUT, -EFBIG (more
     * than size_max), -EHOSTUNREACH (no address, no connection), -EACCES (its certificate is not to
     * be trusted), -EPROTO (anything else, such as redirects without end).
     */
    int result;
    long status;               /* 200, 304, 404, ...; 0 on failure */
    const char *body;          /* with a NUL behind it; "" if there is none */
    size_t size;               /* of the body, without the NUL */
    const char *etag;          /* as it was sent, with its quotes; "": none */
    const char *last_modified; /* as it was sent; "": none */
    const char *error;         /* why it failed, for users; "" on success */
};

/* One request. It is copied, so it may go away once flowd_fetch_start() has returned. */
struct flowd_fetch_request {
    const char *url;            /* http://... or https://... */
    const char *etag;           /* for If-None-Match; NULL or "": none */
    const char *last_modified;  /* for If-Modified-Since; NULL or "": none */
    int family;                 /* AF_INET or AF_INET6: by this family alone; AF_UNSPEC: either */
    const char *local_address;  /* numeric; it leaves from there; NULL: from any */
    size_t size_max;            /* bytes of a body */
    int64_t timeout_ms;         /* for the whole of it */
    int64_t connect_timeout_ms; /* until the connection, with its TLS, is there */
    /* Called once, from the loop and never from flowd_fetch_start(). It may start another one. */
    void (*done)(void *context, const struct flowd_fetch_answer *answer);
    void *context;
};

/* Opens and loads nothing yet. Returns owned, NULL: no memory. */
struct flowd_fetcher *flowd_fetcher_new(struct ev_loop *loop);
/* Ends what is under way without calling anybody. Not from a callback of its own. */
void flowd_fetcher_free(struct flowd_fetcher *fetcher);

/*
 * Begins a request. Returns 0 and *out, which is good until done() is called or the request is
 * cancelled; or -EINVAL (no such URL), -ENOSYS (libcurl can't be loaded, or is one whose resolver
 * blocks), -EAGAIN (too many names are still asked for), -ENOMEM, with the reason.
 */
int flowd_fetch_start(struct flowd_fetcher *fetcher, const struct flowd_fetch_request *request,
                      struct flowd_fetch **out, struct flowd_error *err);
/* Forgets the request: done() will not be called. NULL is allowed. Not from its own done(). */
void flowd_fetch_cancel(struct flowd_fetch *fetch);
