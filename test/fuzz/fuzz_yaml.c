/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML: what is taken is a value that JSON can hold, and is not larger than the bounds allow; what
 * is refused has a reason.
 */
#include <stdlib.h>

#include "daemon/convert/yaml_document.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_error err = {.message = ""};
    json_t *root = flowd_yaml_parse((const char *)data, size, &err);
    char *text;

    if (root == NULL) {
        REQUIRE(err.message[0] != '\0');
        return 0;
    }
    text = json_dumps(root, JSON_ENCODE_ANY);
    REQUIRE(text != NULL);
    free(text);
    json_decref(root);
    return 0;
}
