/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told: that flowd is ready, what it does or does not do, that it reads
 * its configuration again, that it stops, and that its loop turns (the watchdog).
 */
#pragma once

#include <ev.h>
#include <stdbool.h>

#include "daemon/hub/module.h"
#include "daemon/status.h"

#define FLOWD_SERVICE_TEXT_SIZE 512

struct flowd_service {
    const struct flowd_context *context;
    const struct flowd_running *running;
    const char *note; /* static; what became of the latest reload; NULL: all is as it should be */
    bool ready;       /* READY=1 has been said */
    struct ev_timer watchdog;
    char told[FLOWD_SERVICE_TEXT_SIZE]; /* the text that the manager has */
};

/* Pings the watchdog from now on. context and running are borrowed. */
void flowd_service_init(struct flowd_service *service, const struct flowd_context *context,
                        const struct flowd_running *running);
/* Says READY=1, with what flowd_service_tell() says. */
void flowd_service_ready(struct flowd_service *service);
/* One line on how it goes: how many flows are live, and what does not work. Sent if it is new. */
void flowd_service_tell(struct flowd_service *service);
/* Around a reload. note: see above; it stays in the text until the next reload. */
void flowd_service_reloading(void);
void flowd_service_reloaded(struct flowd_service *service, const char *note);
void flowd_service_stopping(struct flowd_service *service);
/* flowd is about to end, because of message; it stands in the manager's status from then on. */
void flowd_service_failed(const char *message);
