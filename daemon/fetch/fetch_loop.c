/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl on the loop: it says which sockets it watches and when it wants to be called, and is
 * told what happened (curl_multi_socket_action). It is never called from its own callbacks.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/fetch/internal.h"

/* A socket of libcurl's that is watched. */
struct watch {
    struct ev_io io;
    struct flowd_fetcher *fetcher;
};

static void act(struct flowd_fetcher *fetcher, curl_socket_t fd, int what)
{
    int running;

    (void)fetcher->curl.f_curl_multi_socket_action(fetcher->multi, fd, what, &running);
    fetch_take_finished(fetcher);
}

static void on_socket(struct ev_loop *loop, struct ev_io *io, int events)
{
    struct watch *watch = io->data;

    (void)loop;
    act(watch->fetcher, io->fd,
        ((events & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
            ((events & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_SOCKETFUNCTION */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *attached)
{
    struct flowd_fetcher *fetcher = context;
    struct watch *watch = attached;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            ev_io_stop(fetcher->loop, &watch->io);
        free(watch);
        return 0;
    }
    if (watch == NULL) {
        watch = calloc(1, sizeof(*watch));
        if (watch == NULL)
            return -1;
        watch->fetcher = fetcher;
        ev_init(&watch->io, on_socket);
        watch->io.data = watch;
        (void)fetcher->curl.f_curl_multi_assign(fetcher->multi, fd, watch);
    }
    ev_io_stop(fetcher->loop, &watch->io);
    ev_io_set(&watch->io, fd,
              ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) |
                  ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0));
    ev_io_start(fetcher->loop, &watch->io);
    return 0;
}

/* CURLMOPT_TIMERFUNCTION */
static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct flowd_fetcher *fetcher = context;

    (void)multi;
    ev_timer_stop(fetcher->loop, &fetcher->timer);
    if (timeout_ms < 0)
        return 0;
    ev_timer_set(&fetcher->timer, (double)timeout_ms / 1000, 0);
    ev_timer_start(fetcher->loop, &fetcher->timer);
    return 0;
}

/* The libraries behind it are initialised once in a process. */
static int load(struct flowd_libcurl *curl, struct flowd_error *err)
{
    const curl_version_info_data *version;
    int result = flowd_libcurl_load(curl, err);

    if (result < 0)
        return result;
    if (curl->f_curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return flowd_fail(err, ENOSYS, "libcurl can't be initialised");
    version = curl->f_curl_version_info(CURLVERSION_NOW);
    if ((version->features & CURL_VERSION_ASYNCHDNS) == 0)
        return flowd_fail(err, ENOSYS,
                          "libcurl %s resolves names without AsynchDNS, and flowd would wait for "
                          "each name: install one that has it (curl --version tells)",
                          version->version);
    return 0;
}

int fetch_loop_open(struct flowd_fetcher *fetcher, struct flowd_error *err)
{
    const struct flowd_libcurl *curl = &fetcher->curl;
    CURLM *multi;
    int result;

    if (fetcher->multi != NULL)
        return 0;
    result = load(&fetcher->curl, err);
    if (result < 0)
        return result;
    multi = curl->f_curl_multi_init();
    if (multi == NULL)
        return flowd_fail_errno(err, ENOMEM, "libcurl");
    ev_init(&fetcher->timer, on_timer);
    fetcher->timer.data = fetcher;
    (void)curl->f_curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    (void)curl->f_curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, fetcher);
    (void)curl->f_curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl->f_curl_multi_setopt(multi, CURLMOPT_TIMERDATA, fetcher);
    fetcher->multi = multi;
    return 0;
}

void fetch_loop_close(struct flowd_fetcher *fetcher)
{
    if (fetcher->multi == NULL)
        return;
    (void)fetcher->curl.f_curl_multi_cleanup(fetcher->multi);
    ev_timer_stop(fetcher->loop, &fetcher->timer);
    fetcher->multi = NULL;
}
