/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a firefly is news, so that what flowd sent and what went round starts nothing.
 */
#pragma once

#include "daemon/firefly/message.h"
#include "daemon/firefly/recent.h"
#include "daemon/hub/hub.h"

enum firefly_verdict {
    FIREFLY_NEWS,
    FIREFLY_OWN,   /* of a flow whose fireflies flowd writes: it has come back */
    FIREFLY_AGAIN, /* the same message has come, or has been passed on, before */
    FIREFLY_LATE,  /* a start or ongoing of a flow that has ended */
};

/*
 * Judges a message; one that has no place in time by itself (no current-time) is never the same as
 * another. Notes it. now_us: CLOCK_BOOTTIME.
 */
enum firefly_verdict firefly_judge(const struct flowd_firefly_message *message,
                                   struct flowd_hub *hub, struct flowd_firefly_recent *recent,
                                   int64_t now_us);
