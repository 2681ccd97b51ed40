/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of known connections: an array without gaps, so that a scan can go over it in parts,
 * and an index over it. It takes 64 bytes for a connection and some 12 for its place in the index.
 */
#include "connections.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/base/vector.h"

static_assert(sizeof(struct flowd_connection) == 64, "there may be many of them");
static_assert(offsetof(struct flowd_connection, key) == 0, "the index finds keys there");

int flowd_connections_init(struct flowd_connections *connections)
{
    *connections = (struct flowd_connections){0};
    return flowd_flow_index_init(&connections->index, sizeof(struct flowd_connection));
}

void flowd_connections_fini(struct flowd_connections *connections)
{
    flowd_flow_index_fini(&connections->index);
    free(connections->items);
    *connections = (struct flowd_connections){0};
}

struct flowd_connection *flowd_connections_find(const struct flowd_connections *connections,
                                                const struct flowd_flow_key *key)
{
    uint32_t number = flowd_flow_index_find(&connections->index, connections->items, key);

    return number != FLOWD_FLOW_INDEX_NONE ? &connections->items[number] : NULL;
}

int flowd_connections_add(struct flowd_connections *connections,
                          const struct flowd_connection *connection)
{
    int result = flowd_flow_index_reserve(&connections->index);

    if (result == 0)
        result = flowd_vector_reserve(&connections->items, &connections->capacity,
                                      connections->count + 1);
    if (result < 0)
        return result;
    connections->items[connections->count] = *connection;
    flowd_flow_index_add(&connections->index, &connection->key, (uint32_t)connections->count);
    connections->count++;
    return 0;
}

void flowd_connections_remove(struct flowd_connections *connections, size_t number)
{
    struct flowd_connection *items = connections->items;
    size_t last = connections->count - 1;

    flowd_flow_index_remove(&connections->index, &items[number].key, (uint32_t)number);
    if (number != last) {
        flowd_flow_index_remove(&connections->index, &items[last].key, (uint32_t)last);
        items[number] = items[last];
        flowd_flow_index_add(&connections->index, &items[number].key, (uint32_t)number);
    }
    connections->count--;
}
