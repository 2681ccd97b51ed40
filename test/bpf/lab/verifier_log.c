/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See verifier_log.h.
 */
#include "lab/verifier_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char said[1 << 24];

static int note(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static int note(enum libbpf_print_level level, const char *format, va_list arguments)
{
    size_t length = strlen(said);

    if (level == LIBBPF_WARN)
        vsnprintf(said + length, sizeof(said) - length, format, arguments);
    return 0;
}

libbpf_print_fn_t verifier_log_keep(void)
{
    return libbpf_set_print(note);
}

void verifier_log_clear(void)
{
    said[0] = '\0';
}

const char *verifier_log_text(void)
{
    return said;
}
