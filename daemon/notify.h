/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to the service manager, as sd_notify(3) describes: a datagram to $NOTIFY_SOCKET.
 */
#pragma once

#include <stdint.h>

/* Sends one message ("READY=1"). Does nothing where no service manager listens. */
void flowd_notify(const char *message);

/* Half of the watchdog interval that the service manager asks for, in microseconds; 0: none. */
int64_t flowd_notify_watchdog_us(void);
