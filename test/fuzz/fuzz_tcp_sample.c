/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of sock_diag(7): what is taken is written as JSON that reads back, in any room.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "daemon/tcp/tcp_field.h"
#include "fuzz_target.h"

static void check_object(const struct flowd_tcp_sample *sample, unsigned set, size_t room)
{
    struct flowd_text text = {0};
    unsigned written = flowd_tcp_sample_write(&text, sample, set, room, true);
    json_t *object = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);

    REQUIRE(text.length <= (room < 2 ? 2 : room));
    REQUIRE(object != NULL && json_object_size(object) == written);
    json_decref(object);
    flowd_text_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_tcp_socket socket = {.sequence = 77};
    int result = flowd_tcp_socket_decode(data, size, 1, &socket);

    if (result < 0) {
        REQUIRE(result == -EINVAL && socket.sequence == 77);
        return 0;
    }
    REQUIRE(socket.sample.info_length <= sizeof(socket.sample.info));
    REQUIRE(memchr(socket.sample.congestion, 0, sizeof(socket.sample.congestion)) != NULL);
    REQUIRE(socket.key.family == AF_INET || socket.key.family == AF_INET6);
    check_object(&socket.sample, FLOWD_TCP_LEAN, 100);
    check_object(&socket.sample, FLOWD_TCP_COMPATIBLE, data[size - 1]);
    check_object(&socket.sample, FLOWD_TCP_ALL, SIZE_MAX);
    return 0;
}
