/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: the connections that its listeners (listeners.c) bring, and what all connections
 * share.
 */
#include "daemon/http/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"
#include "daemon/metrics/counter.h"
#include "internal.h"

#define ACCEPTS_PER_RUN 32
/* With no descriptor left, trying at once again would only burn time. */
#define ACCEPT_PAUSE_S 0.1
#define RESUMES_PER_RUN 64
/* Descriptors that are not for connections: sockets, maps, links, files. */
#define DESCRIPTORS_KEPT 128

#define IDLE_S 60.0
#define REQUEST_S 10.0
#define WRITE_S 10.0
#define LEAVING_S 2.0

static void pause_accepting(struct flowd_http_server *server, int error)
{
    flowd_log(flowd_log_lasting(&server->refusals, FLOWD_LOG_WARNING), server->name,
              "cannot accept connections: %s", strerror(error));
    flowd_http_listeners_watch(server, false);
    if (!ev_is_active(&server->accept_pause)) {
        ev_timer_set(&server->accept_pause, ACCEPT_PAUSE_S, 0.0);
        ev_timer_start(server->loop, &server->accept_pause);
    }
}

static void on_accept_pause(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    flowd_http_listeners_watch(timer->data, true);
}

/* Where few descriptors are allowed, connections must leave some for everything else. */
static unsigned connections_allowed(void)
{
    unsigned left = flowd_descriptors_left(FLOWD_HTTP_CONNECTIONS_MAX + DESCRIPTORS_KEPT +
                                           FLOWD_HTTP_SPARE_CONNECTIONS);
    unsigned kept = left / 4 < DESCRIPTORS_KEPT ? left / 4 : DESCRIPTORS_KEPT;

    kept += FLOWD_HTTP_SPARE_CONNECTIONS;
    if (left > FLOWD_HTTP_CONNECTIONS_MAX + kept)
        return FLOWD_HTTP_CONNECTIONS_MAX;
    return left > kept + 1 ? left - kept : 1;
}

static void accept_one(struct flowd_http_listener *listener, int fd)
{
    static struct flowd_log_limit limit;
    struct flowd_http_server *server = listener->server;
    struct flowd_http_connection *connection;
    int on = 1;

    if (!listener->local)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (server->count >= server->connections_max) {
        server->counters.refused++;
        flowd_log_limited(&limit, FLOWD_LOG_WARNING, server->name,
                          "a connection was refused: at most %u may be open",
                          server->connections_max);
    }
    if (server->count >= server->connections_max + FLOWD_HTTP_SPARE_CONNECTIONS) {
        close(fd);
        return;
    }
    connection = flowd_http_connection_new(server, fd, listener->local);
    if (connection != NULL)
        connection->loopback = listener->loopback;
    if (connection != NULL && server->count > server->connections_max) {
        flowd_http_connection_reject(connection, 503, "too many connections");
        flowd_http_connection_run(connection);
    }
}

void flowd_http_server_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct flowd_http_listener *listener = watcher->data;

    (void)loop;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_RUN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            accept_one(listener, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(listener->server, errno);
        /* Everything else is a connection that has gone again (accept(2)), or EAGAIN. */
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* Gives each connection that had too much input for one run another one. */
static void on_resume(struct ev_loop *loop, ev_idle *watcher, int events)
{
    struct flowd_http_server *server = watcher->data;

    (void)events;
    for (int i = 0; i < RESUMES_PER_RUN && server->resuming != NULL; i++) {
        struct flowd_http_connection *connection = server->resuming;

        DL_DELETE2(server->resuming, connection, resume_previous, resume_next);
        connection->resuming = false;
        flowd_http_connection_run(connection);
    }
    if (server->resuming == NULL)
        ev_idle_stop(loop, &server->resume);
}

int flowd_http_server_new(struct ev_loop *loop, const char *name,
                          const struct flowd_http_handler *handler, void *context,
                          struct flowd_http_server **out, struct flowd_error *err)
{
    struct flowd_http_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        return flowd_fail_errno(err, ENOMEM, "start the HTTP server");
    server->loop = loop;
    server->name = name;
    server->handler = handler;
    server->context = context;
    server->connections_max = connections_allowed();
    if (gethostname(server->hostname, sizeof(server->hostname) - 1) < 0)
        server->hostname[0] = '\0';
    flowd_http_listeners_init(server);
    ev_init(&server->accept_pause, on_accept_pause);
    ev_idle_init(&server->resume, on_resume);
    /* Idle watchers wait for all events of their priority; the input is older than those. */
    ev_set_priority(&server->resume, EV_MAXPRI);
    server->accept_pause.data = server->resume.data = server;
    server->wait_s[FLOWD_HTTP_WAIT_IDLE] = IDLE_S;
    server->wait_s[FLOWD_HTTP_WAIT_REQUEST] = REQUEST_S;
    server->wait_s[FLOWD_HTTP_WAIT_WRITE] = WRITE_S;
    server->wait_s[FLOWD_HTTP_WAIT_LEAVING] = LEAVING_S;
    *out = server;
    return 0;
}

void flowd_http_server_limit(struct flowd_http_server *server, unsigned connections)
{
    if (connections < server->connections_max)
        server->connections_max = connections;
}

void flowd_http_server_free(struct flowd_http_server *server)
{
    if (server == NULL)
        return;
    flowd_http_listeners_fini(server);
    while (server->connections != NULL)
        flowd_http_connection_close(server->connections);
    while (server->closed != NULL) {
        struct flowd_http_connection *connection = server->closed;

        LL_DELETE(server->closed, connection);
        free(connection);
    }
    ev_timer_stop(server->loop, &server->accept_pause);
    ev_idle_stop(server->loop, &server->resume);
    flowd_text_fini(&server->body);
    free(server);
}

const struct flowd_http_counters *flowd_http_server_counters(const struct flowd_http_server *server)
{
    return &server->counters;
}

unsigned flowd_http_server_connections(const struct flowd_http_server *server)
{
    return server->count;
}

bool flowd_http_server_crowded(const struct flowd_http_server *server)
{
    return server->buffered > FLOWD_HTTP_BUFFERED_MAX;
}

static const struct flowd_metric answers = {"flowd_http_answers_total", FLOWD_METRIC_COUNTER,
                                            "HTTP answers by the class of their status."};
static const struct flowd_metric rejected = {
    "flowd_http_rejected_requests_total", FLOWD_METRIC_COUNTER,
    "HTTP requests that were not well-formed or over a limit."};
static const struct flowd_metric connections = {
    "flowd_http_connections_total", FLOWD_METRIC_COUNTER, "HTTP connections that were accepted."};
static const struct flowd_metric open_connections = {
    "flowd_http_open_connections", FLOWD_METRIC_GAUGE, "HTTP connections that are open."};
static const struct flowd_metric refused = {"flowd_http_refused_connections_total",
                                            FLOWD_METRIC_COUNTER,
                                            "HTTP connections past the limit."};
static const struct flowd_metric timeouts = {"flowd_http_timeouts_total", FLOWD_METRIC_COUNTER,
                                             "HTTP requests and answers that were too slow."};

#define COUNTED(member) FLOWD_COUNTED(struct flowd_http_server, member)

static const struct flowd_counter counters[] = {
    {.key = "connections", .metric = &open_connections, COUNTED(count)},
    {.key = "connectionsAccepted", .metric = &connections, COUNTED(counters.connections)},
    {.key = "connectionsRefused", .metric = &refused, COUNTED(counters.refused)},
    {.key = "answers.2xx",
     .metric = &answers,
     .labels = {"class", "2xx"},
     COUNTED(counters.answers[2])},
    {.key = "answers.4xx",
     .metric = &answers,
     .labels = {"class", "4xx"},
     COUNTED(counters.answers[4])},
    {.key = "answers.5xx",
     .metric = &answers,
     .labels = {"class", "5xx"},
     COUNTED(counters.answers[5])},
    {.key = "answers.rejected", .metric = &rejected, COUNTED(counters.rejected)},
    {.key = "timeouts", .metric = &timeouts, COUNTED(counters.timeouts)},
    {.key = NULL},
};

void flowd_http_server_count(const struct flowd_http_server *server,
                             const struct flowd_counter_sink *sink)
{
    const char *dot = strrchr(server->name, '.');

    flowd_counters_put(sink, counters, server,
                       FLOWD_LABELS("server", dot != NULL ? dot + 1 : server->name));
}
