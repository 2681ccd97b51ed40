/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accept headers: whatever stands in one, a format comes out; letters' case and blanks around it
 * make no difference, nor does an element that names no type.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/metrics/metrics.h"
#include "fuzz_target.h"

#define MORE " ,nonsense, "

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum flowd_metrics_format format = flowd_metrics_negotiate((const char *)data, size);
    size_t before = sizeof(MORE) - 1;
    char *changed = malloc(before + size + 1);

    REQUIRE(format == FLOWD_METRICS_TEXT || format == FLOWD_METRICS_OPENMETRICS);
    REQUIRE(flowd_metrics_content_type(format) != NULL);
    REQUIRE(changed != NULL);
    memcpy(changed, MORE, before);
    for (size_t i = 0; i < size; i++)
        changed[before + i] = (char)toupper(data[i]);
    changed[before + size] = '\t';
    REQUIRE(flowd_metrics_negotiate(changed, before + size + 1) == format);
    free(changed);
    return 0;
}
