/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of lines that are reported at once. Whoever adds one goes on without a look at the
 * result: a line that found no memory is remembered by the list.
 */
#include "daemon/base/messages.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/vector.h"

void flowd_messages_add(struct flowd_messages *messages, const char *format, ...)
{
    va_list arguments;
    int length;

    if (flowd_vector_reserve(&messages->lines, &messages->capacity, messages->count + 1) < 0) {
        messages->out_of_memory = true;
        return;
    }
    va_start(arguments, format);
    length = vasprintf(&messages->lines[messages->count], format, arguments);
    va_end(arguments);
    if (length < 0)
        messages->out_of_memory = true;
    else
        messages->count++;
}

void flowd_messages_fini(struct flowd_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++)
        free(messages->lines[i]);
    free(messages->lines);
    *messages = (struct flowd_messages){0};
}
