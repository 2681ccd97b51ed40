/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities: what flowd keeps once everything is set up.
 */
#pragma once

#include "daemon/base/error.h"

/*
 * Gives up every capability but those that marking needs while flowd runs (CAP_BPF, CAP_PERFMON,
 * CAP_NET_ADMIN; CAP_SYS_ADMIN in their place on kernels without CAP_BPF), and sets no_new_privs.
 * Returns 0 or -errno.
 */
int flowd_privileges_drop(struct flowd_error *err);
