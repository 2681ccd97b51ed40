/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes numbers with a prefix (k, M, G, ...) in three digits; what rounds up to 1000 takes the
 * next prefix, so that a column never gets wider.
 */
#include "quantity.h"

#include <stdio.h>

/* Digits behind the point for three in all. */
static int decimals_for(double number)
{
    return number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
}

void quantity_format(double number, char buffer[static QUANTITY_SIZE])
{
    static const char prefixes[] = "\0kMGTPE";
    unsigned prefix = 0;

    while (number >= 999.5 && prefix + 2 < sizeof(prefixes)) {
        number /= 1000;
        prefix++;
    }
    if (prefix == 0)
        snprintf(buffer, QUANTITY_SIZE, "%.0f", number);
    else
        snprintf(buffer, QUANTITY_SIZE, "%.*f%c", decimals_for(number), number, prefixes[prefix]);
}

void quantity_format_ms(double ms, char buffer[static QUANTITY_SIZE])
{
    snprintf(buffer, QUANTITY_SIZE, "%.*f", ms < 0.9995 ? 3 : decimals_for(ms), ms);
}
