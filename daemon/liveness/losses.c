/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The delay between a loss and the walk that makes it good. What is lost while one delay is under
 * way waits for the end of the next one, so that each flow that may be concerned has been announced
 * for a whole delay before it is looked at.
 */
#include "daemon/liveness/losses.h"

#include "daemon/base/timestamp.h"
#include "daemon/hub/module.h"

#define DELAY_S 2.0
#define US_PER_S 1e6

static void begin_delay(struct flowd_losses *losses)
{
    if (ev_is_active(&losses->timer))
        return;
    ev_timer_set(&losses->timer, DELAY_S, 0);
    ev_timer_start(losses->context->loop, &losses->timer);
}

void flowd_losses_add_all(struct flowd_losses *losses)
{
    losses->fresh.any = losses->fresh.all = true;
    begin_delay(losses);
}

void flowd_losses_add_port(struct flowd_losses *losses, uint16_t port,
                           const struct in6_addr *remote)
{
    losses->fresh.any = true;
    flowd_ports_add(&losses->fresh.ports, port, remote);
    begin_delay(losses);
}

void flowd_losses_walk(struct flowd_losses *losses, int64_t before_us,
                       const struct flowd_ports *ports, bool spare_waiting)
{
    losses->doubt.before_us = before_us;
    losses->doubt.ports = ports;
    losses->doubt.spare_waiting = spare_waiting;
    flowd_liveness_doubt(losses->context->liveness, &losses->doubt);
}

/* Walks for what came up before the delay that ends here began. */
static void losses_on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_losses *losses = watcher->data;

    (void)events;
    if (!losses->doubt.open) {
        if (losses->ripe.any) {
            losses->walked = losses->ripe.ports;
            flowd_losses_walk(losses, flowd_timestamp_boot_us() - (int64_t)(DELAY_S * US_PER_S),
                              losses->ripe.all ? NULL : &losses->walked, false);
        }
        losses->ripe = losses->fresh;
        losses->fresh = (struct flowd_loss){0};
    }
    if (losses->ripe.any || losses->fresh.any) {
        ev_timer_stop(loop, watcher); /* it may have been started since it was due */
        begin_delay(losses);
    }
}

void flowd_losses_start(struct flowd_losses *losses, const struct flowd_context *context,
                        struct flowd_source *found, struct flowd_source *later)
{
    *losses = (struct flowd_losses){.context = context, .doubt = {.source = found, .later = later}};
    ev_timer_init(&losses->timer, losses_on_timer, DELAY_S, 0);
    losses->timer.data = losses;
}

void flowd_losses_stop(struct flowd_losses *losses)
{
    if (losses->context == NULL)
        return;
    ev_timer_stop(losses->context->loop, &losses->timer);
    flowd_liveness_forget_doubt(losses->context->liveness, &losses->doubt);
}
