/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as JSON, flowd's own form and flowd-go's: a refusal, by the parser or by the hub's check
 * of what the parser took, has a reason inside the request's text of reasons.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/flow/registry_file.h"
#include "event_json.h"
#include "fuzz_target.h"

typedef int (*read_event)(struct flowd_json *json, const struct api_event_context *context,
                          struct api_item *item);

static struct flowd_registry *registry;

static void check(read_event read, const uint8_t *data, size_t size)
{
    struct flowd_text reasons = {0};
    const struct api_event_context context = {
        .registry = registry, .now_us = 1767225600000000, .reasons = &reasons};
    struct api_item item = {0};
    struct flowd_json json;
    struct flowd_error err;
    char *text = malloc(size > 0 ? size : 1);
    int result;

    REQUIRE(text != NULL);
    memcpy(text, data, size);
    flowd_json_begin(&json, text, size);
    result = read(&json, &context, &item);
    if (result == 0)
        result = flowd_json_finish(&json);
    if (result < 0) {
        REQUIRE(result == -EBADMSG && json.error != NULL && json.error_column > 0);
    } else {
        if (item.status == 0 && flowd_event_check(&item.event, &err) < 0)
            api_item_refuse_error(&item, &reasons, 422, &err);
        REQUIRE(item.status == 0 ||
                (item.detail.length > 0 && item.detail.at + item.detail.length <= reasons.length &&
                 item.field.at + item.field.length <= reasons.length));
    }
    flowd_text_fini(&reasons);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (registry == NULL) {
        registry = flowd_registry_new();
        REQUIRE(registry != NULL);
        REQUIRE(flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", NULL, NULL) == 0);
    }
    check(api_event_read, data, size);
    check(api_event_read_go, data, size);
    return 0;
}
