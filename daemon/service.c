/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the service manager informed: readiness, a status text, reloads, the watchdog.
 *
 * The text is what an administrator sees first (systemctl status), so it says whether flowd does
 * what it is configured for. That is what readiness says (status.c), which /readyz shows too.
 */
#include "daemon/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/hub/hub.h"
#include "daemon/notify.h"
#include "daemon/registry_updates.h"

static void on_watchdog(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
    flowd_notify("WATCHDOG=1");
}

void flowd_service_init(struct flowd_service *service, const struct flowd_context *context,
                        const struct flowd_running *running)
{
    int64_t interval_us = flowd_notify_watchdog_us();
    double interval_s = (double)interval_us / 1e6;

    *service = (struct flowd_service){.context = context, .running = running};
    ev_timer_init(&service->watchdog, on_watchdog, interval_s, interval_s);
    if (interval_us > 0)
        ev_timer_start(context->loop, &service->watchdog);
}

/* Control characters would begin another assignment, or garble a terminal. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

static void format_text(const struct flowd_service *service, char text[FLOWD_SERVICE_TEXT_SIZE])
{
    struct flowd_error err = {.message = ""};
    bool ready = flowd_status_ready(service->running, &err) == 0;
    size_t live = flowd_hub_live(service->context->hub);
    const char *names = flowd_registry_updates_failure(service->running->registry);

    snprintf(text, FLOWD_SERVICE_TEXT_SIZE, "%s%s%s; %zu flow%s live%s%s%s%s", ready ? "ready" : "",
             ready ? "" : "NOT READY: ", err.message, live, live == 1 ? "" : "s",
             service->note != NULL ? "; " : "", service->note != NULL ? service->note : "",
             names[0] != '\0' ? "; names may be missing or old: " : "", names);
    make_one_line(text);
}

static void tell(struct flowd_service *service, const char *before)
{
    char message[FLOWD_SERVICE_TEXT_SIZE + 64];

    format_text(service, service->told);
    snprintf(message, sizeof(message), "%sSTATUS=%s", before, service->told);
    flowd_notify(message);
}

void flowd_service_ready(struct flowd_service *service)
{
    service->ready = true;
    tell(service, "READY=1\n");
}

void flowd_service_tell(struct flowd_service *service)
{
    char text[FLOWD_SERVICE_TEXT_SIZE];

    format_text(service, text);
    if (strcmp(text, service->told) != 0)
        tell(service, "");
}

void flowd_service_reloading(void)
{
    char message[64];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    flowd_notify(message);
}

void flowd_service_reloaded(struct flowd_service *service, const char *note)
{
    service->note = note;
    tell(service, service->ready ? "READY=1\n" : "");
}

void flowd_service_stopping(struct flowd_service *service)
{
    ev_timer_stop(service->context->loop, &service->watchdog);
    flowd_notify("STOPPING=1\nSTATUS=stopping");
}

void flowd_service_failed(const char *message)
{
    char text[FLOWD_SERVICE_TEXT_SIZE], line[FLOWD_SERVICE_TEXT_SIZE + 16];

    snprintf(text, sizeof(text), "%s", message);
    make_one_line(text);
    snprintf(line, sizeof(line), "STATUS=%s", text);
    flowd_notify(line);
}
