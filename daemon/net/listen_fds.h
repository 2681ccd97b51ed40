/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets and fifos that the service manager opened and hands over at the start, as
 * sd_listen_fds(3) describes. They stay open while flowd is restarted, so nothing that is sent
 * meanwhile is lost, and nobody who sends waits.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* More are closed on exec, reported, and not used. */
#define FLOWD_LISTEN_FDS_MAX 32

enum flowd_listen_kind {
    FLOWD_LISTEN_OTHER,
    FLOWD_LISTEN_FIFO,     /* open for reading and writing */
    FLOWD_LISTEN_TCP,      /* a listening stream socket of either family */
    FLOWD_LISTEN_UNIX,     /* the same with a path or an abstract name */
    FLOWD_LISTEN_DATAGRAM, /* of any family */
};

/* Who may use it. FileDescriptorName= says so, with one of listen_fds.c's names. */
enum flowd_listen_use {
    FLOWD_LISTEN_ANY, /* no name, or one that says nothing */
    FLOWD_LISTEN_FOR_FIFO,
    FLOWD_LISTEN_FOR_API,
    FLOWD_LISTEN_FOR_METRICS,
    FLOWD_LISTEN_FOR_FIREFLY,
};

struct flowd_listen_fd {
    int fd; /* non-blocking, closed on exec */
    enum flowd_listen_kind kind;
    enum flowd_listen_use use;
    bool taken;
    char name[128];                  /* FileDescriptorName=; "": none */
    char text[128];                  /* "[::1]:7777", or a path; "": unknown */
    struct sockaddr_storage address; /* of a socket */
};

struct flowd_listen_fds;

/* What a module looks for. */
struct flowd_listen_wish {
    enum flowd_listen_use use;
    enum flowd_listen_kind kind;
    /* Which of those without a name: the configured listener. Any fifo without a name fits. */
    const char *address; /* TCP, DATAGRAM; numeric */
    uint16_t port;       /* TCP, DATAGRAM; 0: none */
    const char *path;    /* UNIX; "": none */
};

/*
 * Takes over what $LISTEN_FDS says and removes these variables. Returns owned, or NULL: nothing was
 * handed over. What is unusable is told in the log.
 */
struct flowd_listen_fds *flowd_listen_fds_new(void);
/* Closes what nobody took. */
void flowd_listen_fds_free(struct flowd_listen_fds *fds);

/* The next one that fits, whose fd is the caller's from now on; NULL: there is none. fds: NULL is
 * allowed. */
const struct flowd_listen_fd *flowd_listen_fds_take(struct flowd_listen_fds *fds,
                                                    const struct flowd_listen_wish *wish);
/* Says in the log what nobody took, with a warning each. */
void flowd_listen_fds_report(const struct flowd_listen_fds *fds);
