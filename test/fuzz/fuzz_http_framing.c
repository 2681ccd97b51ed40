/*
 * HTTP framing: the same bytes give the same answer however they are cut, and nothing is consumed
 * that is not there.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/http/chunks.h"
#include "daemon/http/framing.h"
#include "fuzz_target.h"

#define LIMIT 4096

/* The block's length when all bytes come one by one. */
static int64_t scan_by_bytes(const char *data, size_t size)
{
    const char *reason = NULL;
    size_t scanned = 0;
    int64_t result = 0;

    for (size_t length = 1; length <= size && result == 0; length++)
        result = flowd_http_head_scan(data, length, &scanned, &reason);
    REQUIRE(result >= 0 || reason != NULL);
    return result;
}

/* In place, as the server does it. */
static int chunks_by(size_t step, char *data, size_t size, size_t *end)
{
    struct flowd_http_chunks chunks = {0};
    int result = FLOWD_HTTP_CHUNKS_MORE;

    *end = 0;
    for (size_t at = 0; at < size && result == FLOWD_HTTP_CHUNKS_MORE; at += step) {
        size_t length = size - at < step ? size - at : step, consumed = 0;
        const char *reason = NULL;

        result =
            flowd_http_chunks_scan(&chunks, data + at, length, data, LIMIT, &consumed, &reason);
        REQUIRE(result == FLOWD_HTTP_CHUNKS_MORE || result == FLOWD_HTTP_CHUNKS_DONE ||
                ((result == 400 || result == 413) && reason != NULL));
        if (result == FLOWD_HTTP_CHUNKS_DONE) {
            REQUIRE(consumed <= length);
            *end = at + consumed;
        }
    }
    REQUIRE(result == 413 || chunks.total <= LIMIT);
    return result;
}

static void check_head(const char *data, size_t size)
{
    struct flowd_http_framing framing;
    const char *reason = NULL;
    size_t scanned = 0;
    int64_t length = flowd_http_head_scan(data, size, &scanned, &reason);
    int status;

    REQUIRE(length == scan_by_bytes(data, size));
    REQUIRE(length <= (int64_t)size && scanned <= size);
    if (length <= 0)
        return;
    status = flowd_http_head_check(data, (size_t)length, &framing, &reason);
    REQUIRE(status == 0 || ((status == 400 || status == 505) && reason != NULL));
    if (status == 0)
        REQUIRE(framing.minor <= 1 && (!framing.chunked || framing.content_length == 0));
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
    check_head(copy, size);
    if (size > 0) {
        REQUIRE(chunks_by(size, copy, size, &whole_end) == chunks_by(1, other, size, &byte_end));
        REQUIRE(whole_end == byte_end);
        REQUIRE(memcmp(copy, other, size) == 0);
    }
    free(copy);
    free(other);
    return 0;
}
