/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of options that own memory: lists of strings and of integers, pairs. How they are
 * freed and shown; reading them is option.c's, which names what is wrong.
 */
#include "daemon/options/option_lists.h"

#include <stdlib.h>

void option_strings_fini(struct flowd_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct flowd_strings){0};
}

void option_integers_fini(struct flowd_integers *integers)
{
    free(integers->items);
    *integers = (struct flowd_integers){0};
}

void option_pairs_fini(struct flowd_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (struct flowd_pairs){0};
}

json_t *option_strings_json(const struct flowd_strings *strings)
{
    json_t *array = json_array();

    for (size_t i = 0; i < strings->count; i++)
        json_array_append_new(array, json_string(strings->items[i]));
    return array;
}

json_t *option_integers_json(const struct flowd_integers *integers)
{
    json_t *array = json_array();

    for (size_t i = 0; i < integers->count; i++)
        json_array_append_new(array, json_integer(integers->items[i]));
    return array;
}

json_t *option_pairs_json(const struct flowd_pairs *pairs)
{
    json_t *object = json_object();

    for (size_t i = 0; i < pairs->count; i++)
        json_object_set_new(object, pairs->items[i].name, json_string(pairs->items[i].value));
    return object;
}
