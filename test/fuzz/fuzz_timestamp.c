/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times: what is taken has a text of the fixed form, which reads back as the same time.
 */
#include <errno.h>

#include "daemon/base/timestamp.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[FLOWD_TIMESTAMP_SIZE];
    int64_t us = -77, back = 0;
    int result = flowd_timestamp_parse((const char *)data, size, &us);

    if (result < 0) {
        REQUIRE(result == -EINVAL && us == -77);
        return 0;
    }
    REQUIRE(flowd_timestamp_format(us, text) == FLOWD_TIMESTAMP_SIZE - 1);
    REQUIRE(flowd_timestamp_parse(text, FLOWD_TIMESTAMP_SIZE - 1, &back) == 0);
    REQUIRE(us == back);
    return 0;
}
