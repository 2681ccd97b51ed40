/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text from elsewhere, made fit for a terminal.
 */
#pragma once

#include <stddef.h>

#include "daemon/base/text.h"

/*
 * Appends string, at most columns characters of it, with a "?" for each control character (which
 * would be an order to the terminal) and each byte that is not UTF-8. Returns how many characters
 * were appended.
 */
size_t printable_append(struct flowd_text *text, const char *string, size_t columns);
