/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and endpoints: inet_pton() takes the same, and what is taken must read back from its
 * canonical text as the same.
 */
#include <errno.h>
#include <string.h>

#include "daemon/net/address.h"
#include "fuzz_target.h"
#include "lab/library_address.h"

static void check_endpoint(const char *text)
{
    struct sockaddr_storage endpoint, back;
    char canonical[FLOWD_ENDPOINT_SIZE];
    socklen_t length;
    int result = flowd_endpoint_parse(text, 10514, &endpoint, &length);

    REQUIRE(result == 0 || result == -EINVAL || result == -ERANGE);
    if (result < 0)
        return;
    flowd_endpoint_format(&endpoint, canonical);
    REQUIRE(flowd_endpoint_parse(canonical, 1, &back, &length) == 0);
    REQUIRE(memcmp(&endpoint, &back, sizeof(back)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_address address, back;
    char text[512];
    bool taken = flowd_address_parse((const char *)data, size, &address) == 0;

    REQUIRE(taken == (library_address_parse((const char *)data, size, &back) == 0));
    if (taken) {
        struct flowd_address theirs = back;
        size_t length = flowd_address_format(address.family, &address.addr, text);

        REQUIRE(theirs.family == address.family);
        REQUIRE(memcmp(&theirs.addr, &address.addr, sizeof(theirs.addr)) == 0);
        REQUIRE(length > 0 && length < FLOWD_ADDRESS_SIZE);
        REQUIRE(flowd_address_parse(text, length, &back) == 0);
        REQUIRE(back.family == address.family);
        REQUIRE(memcmp(&back.addr, &address.addr, sizeof(back.addr)) == 0);
    }
    if (size < sizeof(text)) {
        memcpy(text, data, size);
        text[size] = '\0';
        check_endpoint(text);
    }
    return 0;
}
