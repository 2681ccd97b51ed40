/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks: what is taken must read back from its canonical text as the same, and hold its own
 * first address.
 */
#include <errno.h>
#include <string.h>

#include "daemon/net/network.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_network network, back;
    char text[FLOWD_NETWORK_SIZE];
    struct flowd_error err;
    int result = flowd_network_parse((const char *)data, size, &network, &err);

    REQUIRE(result == 0 || result == -EINVAL);
    if (result < 0) {
        REQUIRE(err.message[0] != '\0');
        return 0;
    }
    REQUIRE(flowd_network_format(&network, text) < sizeof(text));
    REQUIRE(flowd_network_parse(text, strlen(text), &back, NULL) == 0);
    REQUIRE(back.prefix_length == network.prefix_length);
    REQUIRE(back.base.family == network.base.family);
    REQUIRE(memcmp(&back.base.addr, &network.base.addr, sizeof(back.base.addr)) == 0);
    REQUIRE(flowd_network_contains(&network, network.base.family, &network.base.addr));
    return 0;
}
