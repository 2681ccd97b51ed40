/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See stride.h. A variable that can't be read must not be taken for "all", or for "one".
 */
#include "lab/stride.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/integer.h"

#define VARIABLE "FLOWD_TEST_STRIDE"
#define LONGEST 1000

uint32_t stride_length(void)
{
    static uint64_t length;
    const char *text = getenv(VARIABLE);

    if (length != 0)
        return (uint32_t)length;
    length = 1;
    if (text != NULL && flowd_integer_parse(text, strlen(text), 1, LONGEST, &length) < 0) {
        fprintf(stderr, VARIABLE "=%s is no number from 1 to %d\n", text, LONGEST);
        exit(1);
    }
    return (uint32_t)length;
}

bool stride_takes(struct stride *stride)
{
    bool takes = stride->seen++ % stride_length() == 0;

    stride->taken += takes;
    return takes;
}

void stride_say(const struct stride *stride, const char *cases)
{
    if (stride_length() == 1)
        return;
    printf("each %uth: %zu of %zu %s\n", stride_length(), stride->taken, stride->seen, cases);
    fflush(stdout);
}
