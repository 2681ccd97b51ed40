/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel whose sockets are the test's word.
 */
#include "fake_kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "daemon/net/host.h"
#include "daemon/tcp/sock_diag.h"
#include "daemon/tcp/tcp_sample.h"

struct fake_kernel fake_kernel;

static struct flowd_sock_diag {
    int nothing;
} the_only_one;

void fake_kernel_reset(void)
{
    fake_kernel = (struct fake_kernel){.life = FLOWD_TCP_GONE, .weight = 1};
}

static struct fake_end *find(const struct flowd_flow_key *key)
{
    for (unsigned i = 0; i < fake_kernel.end_count; i++)
        if (memcmp(&fake_kernel.ends[i].key, key, sizeof(*key)) == 0)
            return &fake_kernel.ends[i];
    return NULL;
}

struct fake_end *fake_kernel_set(const struct flowd_flow_key *key, int life, uint64_t cookie)
{
    struct fake_end *end = find(key);

    if (end == NULL) {
        assert_true(fake_kernel.end_count < FAKE_ENDS_MAX);
        end = &fake_kernel.ends[fake_kernel.end_count++];
    }
    *end = (struct fake_end){.key = *key, .life = life, .cookie = cookie};
    return end;
}

struct flowd_sock_diag *flowd_sock_diag_new(void)
{
    return &the_only_one;
}

void flowd_sock_diag_free(struct flowd_sock_diag *diag)
{
    (void)diag;
}

int flowd_sock_diag_open(struct flowd_sock_diag *diag, struct flowd_error *err)
{
    (void)diag;
    (void)err;
    return 0;
}

uint32_t flowd_sock_diag_asked(const struct flowd_sock_diag *diag)
{
    (void)diag;
    return fake_kernel.asked;
}

static int socket_of(int life, uint64_t cookie, struct flowd_tcp_socket *socket)
{
    static const uint8_t states[] = {[FLOWD_TCP_CLOSED] = TCP_TIME_WAIT,
                                     [FLOWD_TCP_LINGERS] = TCP_FIN_WAIT2,
                                     [FLOWD_TCP_CONNECTED] = TCP_ESTABLISHED};

    if (life <= FLOWD_TCP_GONE)
        return life < 0 ? life : -ENOENT;
    *socket = (struct flowd_tcp_socket){.time_wait = life != FLOWD_TCP_CONNECTED,
                                        .sample = {.state = states[life], .cookie = cookie}};
    assert_int_equal(flowd_tcp_socket_life(socket), life);
    return 0;
}

void flowd_sock_diag_ask(struct flowd_sock_diag *diag, const struct flowd_sock_diag_query *queries,
                         size_t count, flowd_sock_diag_answer answer, void *context)
{
    assert_ptr_equal(diag, &the_only_one);
    for (size_t i = 0; i < count; i++) {
        const struct flowd_flow_key key =
            queries[i].local_is_src ? *queries[i].key : flowd_flow_key_reverse(queries[i].key);
        struct fake_end *end = find(&key);
        struct flowd_tcp_socket socket;
        int error;

        fake_kernel.asked += fake_kernel.weight;
        fake_kernel.extensions = queries[i].extensions;
        if (end != NULL)
            end->asked++;
        error = end != NULL ? socket_of(end->life, end->cookie, &socket)
                            : socket_of(fake_kernel.life, 0, &socket);
        answer(context, i, error, error == 0 ? &socket : NULL);
    }
}

/* Where ends are listed these are here; else the flows' sources are. */
bool flowd_host_is_local(const struct flowd_host *host, uint8_t family,
                         const struct in6_addr *address)
{
    static const uint8_t destinations[2][4] = {{203, 0, 113, 1}, {0x20, 0x01, 0x0d, 0xb8}};

    (void)host;
    for (unsigned i = 0; i < fake_kernel.end_count; i++)
        if (memcmp(&fake_kernel.ends[i].key.src, address, sizeof(*address)) == 0)
            return !fake_kernel.ends[i].moved;
    if (fake_kernel.end_count > 0 || fake_kernel.life == -EADDRNOTAVAIL)
        return false;
    if (family == AF_INET)
        return memcmp(address, destinations[0], 4) != 0;
    return !(memcmp(address, destinations[1], 4) == 0 && address->s6_addr[15] == 0xff &&
             address->s6_addr[14] == 0xff);
}

/* Sockets are bound to none. */
const struct flowd_interface *flowd_host_next(const struct flowd_host *host, int after)
{
    (void)host;
    (void)after;
    return NULL;
}
