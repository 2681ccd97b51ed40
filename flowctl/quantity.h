/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in few columns: three digits and a prefix.
 */
#pragma once

#define QUANTITY_SIZE 12

/* "0", "999", "1.00k", "12.3M", "456G": decimal prefixes. number is not negative. */
void quantity_format(double number, char buffer[static QUANTITY_SIZE]);
/* Milliseconds: "0.043", "1.25", "12.5", "250", "12345". */
void quantity_format_ms(double ms, char buffer[static QUANTITY_SIZE]);
