/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The syslog header of a firefly: where it ends, and where its timestamp and hostname are.
 */
#pragma once

#include "daemon/firefly/message.h"

/*
 * Finds the header at the beginning of message->text (RFC 5424, also with no timestamp at all, or
 * RFC 3164, both with or without their <PRI>), and sets header, timestamp, hostname, and where the
 * object begins. Returns 0, or -EBADMSG: the text is neither an object nor has it such a header.
 */
int flowd_firefly_find_header(struct flowd_firefly_message *message);
