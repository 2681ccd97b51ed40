/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of set-up paths: a fixed-size message that the caller owns, no allocation.
 *
 * A function that can fail while flowd sets something up takes `struct flowd_error *err` last and
 * returns `flowd_fail(err, errnum, ...)` or a relative of it. Whoever passes the error on may put
 * words before it with flowd_error_wrap(); it is logged once, at the top. Event paths do not use
 * this: they return a negative errno and bump a counter.
 */
#pragma once

#include <stddef.h>

#define FLOWD_ERROR_SIZE 320

struct flowd_error {
    char message[FLOWD_ERROR_SIZE];
    const char *field; /* of the input that is wrong, static; NULL: no single one */
};

/*
 * All three format a message into err (NULL is allowed: the message is dropped) and return -errnum;
 * errnum is positive. flowd_fail() keeps the message as it is; flowd_fail_errno() appends the
 * system's text for errnum ("bind [::1]:7777: Address already in use"), as err(3) does.
 * flowd_fail_field() puts "field: " before it and notes the field, a static string.
 */
int flowd_fail(struct flowd_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int flowd_fail_errno(struct flowd_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int flowd_fail_field(struct flowd_error *err, int errnum, const char *field, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));

/*
 * What flowd_fail_errno() appends where the system says EROFS, EACCES or EPERM: what is known of
 * why, such as that a service is kept from most places. Static; NULL, as at first: nothing.
 */
void flowd_error_set_remedy(const char *remedy);
/* The same, for messages of others that mean such a refusal; "": nothing. */
const char *flowd_error_remedy(void);

/* Puts "words: " before the message of err. Returns result unchanged, to be written as a return. */
int flowd_error_wrap(struct flowd_error *err, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
