/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The known connections: found, removed in any order, and many of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connections.h"

#define COUNT 5000u

static struct flowd_connection connection_of(uint32_t number)
{
    struct flowd_connection connection = {.key = {.family = AF_INET6,
                                                  .protocol = IPPROTO_TCP,
                                                  .src_port = (uint16_t)(number % 60000 + 1),
                                                  .dst_port = 443},
                                          .cookie = number + 1};

    connection.key.src.s6_addr[0] = 0x20;
    connection.key.dst.s6_addr[0] = 0x20;
    connection.key.dst.s6_addr[15] = (uint8_t)(number / 60000);
    return connection;
}

static void add(struct flowd_connections *connections, uint32_t number)
{
    const struct flowd_connection connection = connection_of(number);

    assert_int_equal(flowd_connections_add(connections, &connection), 0);
}

static struct flowd_connection *find(const struct flowd_connections *connections, uint32_t number)
{
    const struct flowd_connection wanted = connection_of(number);

    return flowd_connections_find(connections, &wanted.key);
}

static void test_last_takes_the_place(void **state)
{
    struct flowd_connections connections;

    (void)state;
    assert_int_equal(flowd_connections_init(&connections), 0);
    assert_null(find(&connections, 0));
    for (uint32_t number = 0; number < 3; number++)
        add(&connections, number);
    flowd_connections_remove(&connections, 0);
    assert_int_equal(connections.count, 2);
    assert_null(find(&connections, 0));
    assert_ptr_equal(find(&connections, 2), &connections.items[0]);
    assert_ptr_equal(find(&connections, 1), &connections.items[1]);
    flowd_connections_remove(&connections, 1);
    flowd_connections_remove(&connections, 0);
    assert_int_equal(connections.count, 0);
    add(&connections, 1);
    assert_int_equal(find(&connections, 1)->cookie, 2);
    flowd_connections_fini(&connections);
}

/* Removed from the end on, as the scanner does, while the others stay where they can be found. */
static void test_many(void **state)
{
    struct flowd_connections connections;

    (void)state;
    assert_int_equal(flowd_connections_init(&connections), 0);
    for (uint32_t number = 0; number < COUNT; number++)
        add(&connections, number);
    for (size_t at = connections.count; at-- > 0;)
        if (connections.items[at].cookie % 3 == 0)
            flowd_connections_remove(&connections, at);
    for (uint32_t number = 0; number < COUNT; number++) {
        const struct flowd_connection *found = find(&connections, number);

        assert_int_equal(found != NULL, (number + 1) % 3 != 0);
        if (found != NULL)
            assert_int_equal(found->cookie, number + 1);
    }
    assert_int_equal(connections.count, COUNT - COUNT / 3);
    flowd_connections_fini(&connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_takes_the_place),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
