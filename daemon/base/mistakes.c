/*
 * The list of lines that are reported at once. It grows by one line at a time; configurations have
 * few mistakes.
 */
#include "daemon/base/mistakes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void flowd_mistakes_add(struct flowd_mistakes *mistakes, const char *format, ...)
{
    char **lines = realloc(mistakes->lines, (mistakes->count + 1) * sizeof(*lines));
    va_list arguments;
    int length;

    if (lines == NULL) {
        mistakes->out_of_memory = true;
        return;
    }
    mistakes->lines = lines;
    va_start(arguments, format);
    length = vasprintf(&lines[mistakes->count], format, arguments);
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
