/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error messages: formatted once where the failure is seen, with words put before on the way up. A
 * message that is too long for its place is cut, so that reporting a failure can't fail.
 */
#include "daemon/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *remedy_of_refusals = "";

/* Appends ": " and words behind the first length bytes of err's message, as far as they fit. */
static void append(struct flowd_error *err, int length, const char *words)
{
    size_t at = length > 0 ? (size_t)length : 0;
    size_t count = strlen(words);

    if (at + 3 > sizeof(err->message))
        return;
    if (count > sizeof(err->message) - at - 3)
        count = sizeof(err->message) - at - 3;
    memcpy(err->message + at, ": ", 2);
    memcpy(err->message + at + 2, words, count);
    err->message[at + 2 + count] = '\0';
}

int flowd_fail(struct flowd_error *err, int errnum, const char *format, ...)
{
    va_list arguments;

    if (err == NULL)
        return -errnum;
    err->field = NULL;
    va_start(arguments, format);
    (void)vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    return -errnum;
}

int flowd_fail_errno(struct flowd_error *err, int errnum, const char *format, ...)
{
    char text[96];
    va_list arguments;
    int length;

    if (err == NULL)
        return -errnum;
    err->field = NULL;
    va_start(arguments, format);
    length = vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    append(err, length, strerror_r(errnum, text, sizeof(text)));
    if (errnum == EROFS || errnum == EACCES || errnum == EPERM) {
        size_t at = strlen(err->message);

        (void)snprintf(err->message + at, sizeof(err->message) - at, "%s", remedy_of_refusals);
    }
    return -errnum;
}

int flowd_fail_field(struct flowd_error *err, int errnum, const char *field, const char *format,
                     ...)
{
    va_list arguments;
    int length;

    if (err == NULL)
        return -errnum;
    err->field = field;
    length = snprintf(err->message, sizeof(err->message), "%s: ", field);
    if (length < 0 || (size_t)length >= sizeof(err->message))
        return -errnum;
    va_start(arguments, format);
    (void)vsnprintf(err->message + length, sizeof(err->message) - (size_t)length, format,
                    arguments);
    va_end(arguments);
    return -errnum;
}

void flowd_error_set_remedy(const char *remedy)
{
    remedy_of_refusals = remedy != NULL ? remedy : "";
}

const char *flowd_error_remedy(void)
{
    return remedy_of_refusals;
}

int flowd_error_wrap(struct flowd_error *err, int result, const char *format, ...)
{
    char inner[FLOWD_ERROR_SIZE];
    va_list arguments;
    int length;

    if (err == NULL)
        return result;
    memcpy(inner, err->message, sizeof(inner));
    va_start(arguments, format);
    length = vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    append(err, length, inner);
    return result;
}
