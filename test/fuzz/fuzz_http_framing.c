/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP framing: the same bytes give the same answer however they are cut, and nothing is consumed
 * that is not there.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/http/chunks.h"
#include "daemon/http/framing.h"
#include "fuzz_target.h"

#define LIMIT 4096

/* Scans the block as if its bytes had come step by step. */
static int head_by(size_t step, struct flowd_http_head *head, char *data, size_t size)
{
    const char *reason = NULL;
    int status = FLOWD_HTTP_MORE;

    for (size_t length = 0; length < size && status == FLOWD_HTTP_MORE;) {
        length = size - length < step ? size : length + step;
        status = flowd_http_head_scan(head, data, length, &reason);
        REQUIRE(status != FLOWD_HTTP_MORE || head->length == length);
        REQUIRE(head->length <= length);
    }
    REQUIRE(status == FLOWD_HTTP_MORE || status == FLOWD_HTTP_DONE ||
            ((status == 400 || status == 431 || status == 505) && reason != NULL));
    return status;
}

/* In place, as the server does it. */
static int chunks_by(size_t step, char *data, size_t size, size_t *end)
{
    struct flowd_http_chunks chunks = {0};
    int result = FLOWD_HTTP_MORE;

    *end = 0;
    for (size_t at = 0; at < size && result == FLOWD_HTTP_MORE; at += step) {
        size_t length = size - at < step ? size - at : step, consumed = 0;
        const char *reason = NULL;

        result =
            flowd_http_chunks_scan(&chunks, data + at, length, data, LIMIT, &consumed, &reason);
        REQUIRE(result == FLOWD_HTTP_MORE || result == FLOWD_HTTP_DONE ||
                ((result == 400 || result == 413) && reason != NULL));
        if (result == FLOWD_HTTP_DONE) {
            REQUIRE(consumed <= length);
            *end = at + consumed;
        }
    }
    REQUIRE(result == 413 || chunks.total <= LIMIT);
    return result;
}

static void check_head(char *data, char *other, size_t size)
{
    struct flowd_http_head whole = {0};
    struct flowd_http_head bytes = {0};
    int status = head_by(size, &whole, data, size);

    REQUIRE(status == head_by(1, &bytes, other, size));
    REQUIRE(memcmp(data, other, size) == 0);
    if (status != FLOWD_HTTP_DONE)
        return;
    REQUIRE(whole.length >= sizeof("A / HTTP/1.0\r\n\r\n") - 1 && whole.length == bytes.length);
    REQUIRE(whole.framing.content_length == bytes.framing.content_length &&
            whole.framing.chunked == bytes.framing.chunked &&
            whole.framing.expect_continue == bytes.framing.expect_continue &&
            whole.framing.minor == bytes.framing.minor &&
            whole.framing.encoded == bytes.framing.encoded);
    REQUIRE(whole.framing.minor <= 1);
    REQUIRE(!whole.framing.chunked || whole.framing.content_length == 0);
    REQUIRE(memchr(data, '\t', whole.length) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* On the heap with its exact size, so that reading too far is seen. */
    char *copy = malloc(size > 0 ? size : 1);
    char *other = malloc(size > 0 ? size : 1);
    size_t whole_end, byte_end;

    REQUIRE(copy != NULL && other != NULL);
    memcpy(copy, data, size);
    memcpy(other, data, size);
    check_head(copy, other, size);
    memcpy(copy, data, size);
    memcpy(other, data, size);
    if (size > 0) {
        REQUIRE(chunks_by(size, copy, size, &whole_end) == chunks_by(1, other, size, &byte_end));
        REQUIRE(whole_end == byte_end);
        REQUIRE(memcmp(copy, other, size) == 0);
    }
    free(copy);
    free(other);
    return 0;
}
