/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of set-up paths: a fixed-size message that the caller owns, no allocation.
 *
 * A function that can fail while flowd sets something up takes `struct flowd_error *err` last and
 * returns `flowd_fail(err, errnum, ...)`. Whoever passes the error on may put words before it with
 * flowd_error_wrap(); it is logged once, at the top. Event paths do not use this: they return a
 * negative errno and bump a counter.
 */
#pragma once

#include <stddef.h>

#define FLOWD_ERROR_SIZE 320

struct flowd_error {
    char message[FLOWD_ERROR_SIZE];
};

/*
 * Formats a message into err (NULL is allowed: the message is dropped). With errnum > 0 the
 * system's text for it is appended ("bind [::1]:7777: Address already in use"); with errnum < 0
 * the message stands alone. Returns the errno negated: -|errnum|.
 */
int flowd_fail(struct flowd_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "words: " before the message of err. Returns result unchanged, to be written as a return. */
int flowd_error_wrap(struct flowd_error *err, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
