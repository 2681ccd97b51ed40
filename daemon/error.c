/*
 * Error messages: formatted once where the failure is seen, with words put before on the way up.
 */
#include "daemon/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int flowd_fail(struct flowd_error *err, int errnum, const char *format, ...)
{
    int result = errnum > 0 ? -errnum : errnum;
    va_list arguments;
    int length;

    if (err == NULL)
        return result;
    va_start(arguments, format);
    length = vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    if (errnum > 0 && length >= 0 && (size_t)length < sizeof(err->message)) {
        char text[96];
        const char *reason = strerror_r(errnum, text, sizeof(text));

        snprintf(err->message + length, sizeof(err->message) - (size_t)length, ": %s", reason);
    }
    return result;
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
    if (length >= 0 && (size_t)length < sizeof(err->message))
        snprintf(err->message + length, sizeof(err->message) - (size_t)length, ": %s", inner);
    return result;
}
