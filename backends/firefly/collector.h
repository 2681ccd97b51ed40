/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One collector: where it is, how it is, and what became of the fireflies that were meant for it.
 * For collectors.c alone.
 */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/base/error.h"
#include "daemon/base/text.h"
#include "daemon/resolver/host_port.h"
#include "daemon/resolver/resolver.h"
#include "sender.h"

/* "host:port" or "[v6]:port", with its NUL. */
#define COLLECTOR_NAME_SIZE (FLOWD_HOST_SIZE + 9)

/* The status has their names. */
enum collector_state { COLLECTOR_UNRESOLVED, COLLECTOR_UP, COLLECTOR_DOWN };

struct collector_counts {
    uint64_t sent, failed, dropped, icmp_errors;
};

/* Told of each firefly that is dropped because the collector's address is not known. */
typedef void (*collector_dropped)(void *context, uint64_t tag);

/* What all collectors have in common; borrowed. */
struct collector_environment {
    struct ev_loop *loop;
    struct flowd_sender *sender;
    struct flowd_resolver *resolver;
    collector_dropped dropped;
    void *context;
};

/* A firefly that waits for the first address; its bytes stand in the collector's text. */
struct collector_waiting {
    uint64_t tag;
    uint64_t order;
    size_t length;
};

struct collector {
    const struct collector_environment *environment;
    unsigned id; /* the sender's receiver; never 0 */
    char name[COLLECTOR_NAME_SIZE];
    struct flowd_host_port place;
    struct flowd_name *resolved; /* owned */
    enum collector_state state;
    struct sockaddr_storage address; /* the current one; all 0: unknown */
    struct collector_counts counts;
    bool was_resolved;
    bool is_in_trouble; /* and that was logged */
    ev_tstamp trouble_since;
    ev_tstamp other_address_at; /* when another one was tried */
    uint64_t attempts_before;   /* the trouble */
    uint64_t lost;              /* since then */
    struct ev_timer recovery;   /* runs while nothing speaks against it being up again */
    struct ev_timer patience;   /* runs as long as fireflies may wait for the first address */
    struct flowd_text bytes;
    struct collector_waiting *waiting; /* owned */
    size_t waiting_count, waiting_capacity;
};

/* Writes place as users name it. */
void collector_name_format(const struct flowd_host_port *place,
                           char buffer[static COLLECTOR_NAME_SIZE]);
/* Returns 0 and *out (owned), or -errno. */
int collector_new(const struct collector_environment *environment,
                  const struct flowd_host_port *place, unsigned id, struct collector **out,
                  struct flowd_error *err);
/* What waits is dropped. NULL is allowed. */
void collector_free(struct collector *collector);

/* Queues a firefly (copied), keeps it until the address is known, or drops it. */
void collector_send(struct collector *collector, const struct flowd_outgoing *firefly);
/* What became of one that was queued. error is an errno for FAILED. */
void collector_done(struct collector *collector, enum flowd_sent result, int error);
/* An ICMP error came back for address; returns whether that is one of the collector's. */
bool collector_refused(struct collector *collector, const struct sockaddr_storage *address,
                       int error);
/* Name, address and state. Returns owned, NULL: no memory. */
json_t *collector_json(const struct collector *collector);
