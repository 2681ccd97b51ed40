/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of lines that are reported at once. Whoever adds one goes on without a look at the
 * result: a line that found no memory is remembered by the list.
 */
#include "daemon/base/mistakes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/vector.h"

void flowd_mistakes_add(struct flowd_mistakes *mistakes, const char *format, ...)
{
    va_list arguments;
    int length;

    if (flowd_vector_reserve(&mistakes->lines, &mistakes->capacity, mistakes->count + 1) < 0) {
        mistakes->out_of_memory = true;
        return;
    }
    va_start(arguments, format);
    length = vasprintf(&mistakes->lines[mistakes->count], format, arguments);
    va_end(arguments);
    if (length < 0)
        mistakes->out_of_memory = true;
    else
        mistakes->count++;
}

void flowd_mistakes_fini(struct flowd_mistakes *mistakes)
{
    for (size_t i = 0; i < mistakes->count; i++)
        free(mistakes->lines[i]);
    free(mistakes->lines);
    *mistakes = (struct flowd_mistakes){0};
}
