/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of STUN servers: an address that is taken belongs to a message with the request's id, and
 * is of one of the two families.
 */
#include <string.h>

#include "daemon/stun/stun_message.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_stun_id id = {
        {0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae}};
    struct flowd_stun_answer answer = {.error_code = -1};

    switch (flowd_stun_read(data, size, &id, &answer)) {
    case FLOWD_STUN_ADDRESS:
        REQUIRE(size >= 20 && memcmp(data + 8, id.bytes, sizeof(id.bytes)) == 0);
        REQUIRE(answer.mapped.family == AF_INET || answer.mapped.family == AF_INET6);
        break;
    case FLOWD_STUN_ERROR:
        REQUIRE(answer.error_code >= 0 && answer.error_code < 1000);
        break;
    case FLOWD_STUN_UNUSABLE:
        REQUIRE(size >= 20);
        break;
    case FLOWD_STUN_FOREIGN:
        break;
    }
    return 0;
}
