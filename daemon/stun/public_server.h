/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a configuration names a STUN server. For the room alone.
 */
#pragma once

#include "daemon/resolver/host_port.h"

/* "host[:port]", or a stun URI (RFC 7064). Returns as flowd_host_port_parse() does. */
int public_server_parse(const char *text, struct flowd_host_port *place);
