/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of sock_diag(7) to a batch of questions, in any order and number: each question has one
 * outcome at most, the first, and it is a socket or a negative errno. The same messages are read as
 * notifications of closed sockets, too.
 */
#include <stdbool.h>

#include "daemon/tcp/internal.h"
#include "netlink_messages.h"

#define QUESTIONS 3u
#define SEQUENCE 77u /* of the first question of the seeds */
#define ERRNO_MAX 4095

static void check_outcomes(const struct flowd_sock_diag_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct flowd_sock_diag_outcome *outcome = &batch->outcomes[i];

        if (batch->open >> i & 1)
            continue;
        REQUIRE(outcome->error <= 0 && outcome->error >= -ERRNO_MAX);
        if (outcome->error < 0)
            continue;
        REQUIRE(outcome->socket.sequence == batch->first + i);
        REQUIRE(outcome->socket.sample.at_destination == !batch->queries[i].local_is_src);
    }
}

static void check_closure(const void *message, size_t length)
{
    struct flowd_tcp_socket socket;

    if (flowd_tcp_socket_decode(message, length, 1, &socket) < 0)
        return;
    REQUIRE((flowd_tcp_socket_closure(&socket) == FLOWD_TCP_CLOSURE) == (socket.key.dst_port != 0));
    REQUIRE(socket.key.family == AF_INET || socket.key.family == AF_INET6);
}

static void take(void *context, void *message, size_t length)
{
    struct flowd_sock_diag_batch *batch = context;
    const uint32_t open = batch->open;

    flowd_sock_diag_take(batch, message, length);
    REQUIRE((batch->open & ~open) == 0 && __builtin_popcount(open ^ batch->open) <= 1);
    check_outcomes(batch);
    check_closure(message, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct flowd_sock_diag_query queries[QUESTIONS] = {{.local_is_src = true}};
    struct flowd_sock_diag_batch batch = {
        .queries = queries, .count = QUESTIONS, .first = SEQUENCE, .open = (1u << QUESTIONS) - 1};

    for_each_message(data, size, true, take, &batch);
    return 0;
}
