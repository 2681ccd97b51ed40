/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `flowd clean`: removes what any flowd left in the kernel.
 */
#pragma once

#include "config.h"
#include "daemon/base/error.h"
#include "daemon/options/option.h"

/*
 * Removes everything under pinPath, and flowd's filters from the interfaces (every one of this
 * network namespace if the list is empty). Each thing removed is added to removed. Returns 0,
 * -EBUSY if a running flowd holds pinPath, -EPERM with the capability that is missing, or -errno.
 */
int marker_clean(const struct flowd_marker_config *config, const struct flowd_strings *interfaces,
                 struct flowd_messages *removed, struct flowd_error *err);
