/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked bodies: where they end, and every way to be wrong about it. Each body is given whole, in
 * two parts cut at each byte, and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/http/chunks.h"

#define TEXT(literal) literal, sizeof(literal) - 1
#define LIMIT 1000
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

struct row {
    const char *body;
    size_t length;
    int status;     /* of the whole body */
    uint64_t total; /* content of a body that is good */
    size_t behind;  /* bytes at the end that belong to the next request */
    const char *reason;
    const char *content; /* NULL: whatever it is */
};

#define DONE FLOWD_HTTP_DONE
#define MORE FLOWD_HTTP_MORE
#define NOT_HEX "a chunk size that is not a hexadecimal number"
#define NO_SIZE "a chunk without a size"
#define LONG_SIZE "a chunk size is too long"
#define SIZE_CR "CR without LF after a chunk size"
#define LONGER "a chunk is longer than its size says"
#define NO_EXTENSION "a chunk extension that is none"
#define EXTENSION "a control character in a chunk extension"
#define TRAILER "a trailer without a proper name"
#define TRAILER_CONTROL "a control character in a trailer"
#define TRAILER_CR "CR without LF in the trailers"
#define TOO_LARGE "the body is too large"

static const struct row rows[] = {
    {TEXT("0\r\n\r\n"), DONE, 0, 0, NULL, NULL},
    {TEXT("00000000\r\n\r\n"), DONE, 0, 0, NULL, NULL},
    {TEXT("5\r\nhello\r\n0\r\n\r\n"), DONE, 5, 0, NULL, "hello"},
    {TEXT("2;a\r\nhe\r\n1\r\nl\r\n2;b=c\r\nlo\r\n0\r\n\r\n"), DONE, 5, 0, NULL, "hello"},
    {TEXT("00000005\r\nhello\r\n0\r\n\r\n"), DONE, 5, 0, NULL, NULL},
    {TEXT("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), DONE, 20, 0, NULL, NULL},
    {TEXT("2\r\n\r\n\r\n0\r\n\r\n"), DONE, 2, 0, NULL, NULL},
    {TEXT("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), DONE, 5, 0, NULL, "0\r\n\r\n"},
    {TEXT("3\r\n\0\xff\x7f\r\n0\r\n\r\n"), DONE, 3, 0, NULL, NULL},
    {TEXT("5;name\r\nhello\r\n0\r\n\r\n"), DONE, 5, 0, NULL, NULL},
    {TEXT("5;name=\"a;b\"\r\nhello\r\n0;x=y\r\n\r\n"), DONE, 5, 0, NULL, NULL},
    {TEXT("5;a=b;c=d\r\nhello\r\n0\r\n\r\n"), DONE, 5, 0, NULL, "hello"},
    {TEXT("5;a;b;c\r\nhello\r\n0;d=\"\"\r\n\r\n"), DONE, 5, 0, NULL, NULL},
    {TEXT("5 \t; a\t= b ;c = \"d\" ; e\r\nhello\r\n0\r\n\r\n"), DONE, 5, 0, NULL, NULL},
    {TEXT("5;a=\"\\\"\\\\;\t\xe9\";b\r\nhello\r\n0\r\n\r\n"), DONE, 5, 0, NULL, NULL},
    {TEXT("0\r\nX-Sum: 1\r\nX-Empty:\r\n\r\n"), DONE, 0, 0, NULL, NULL},
    {TEXT("0\r\nX:\ta\xe9\r\n\r\n"), DONE, 0, 0, NULL, NULL},
    {TEXT("0\r\n\r\nGET / HTTP/1.1\r\n"), DONE, 0, 16, NULL, NULL},
    {TEXT("1\r\nx\r\n0\r\n\r\n\r\n"), DONE, 1, 2, NULL, NULL},
    {TEXT("0\r\n\r\n0\r\n\r\n"), DONE, 0, 5, NULL, NULL},
    /* Not at their end. */
    {TEXT(""), MORE, 0, 0, NULL, NULL},
    {TEXT("5"), MORE, 0, 0, NULL, NULL},
    {TEXT("5\r\nhello\r\n"), MORE, 5, 0, NULL, NULL},
    {TEXT("5\r\nhello\r\n0\r\n"), MORE, 5, 0, NULL, NULL},
    {TEXT("5\r\nhello\r\n0\r\nX: a\r\n"), MORE, 5, 0, NULL, NULL},
    /* Sizes. */
    {TEXT("\r\n"), 400, 0, 0, NO_SIZE, NULL},
    {TEXT("5\r\nhello\r\n\r\n"), 400, 0, 0, NO_SIZE, NULL},
    {TEXT(";x\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("g\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("-5\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("+5\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("0x5\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT(" 5\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("5 \r\nhello\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5 5\r\nhello\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5,5\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("5\0\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("\xef\xbc\x95\r\nhello\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("000000005\r\nhello\r\n"), 400, 0, 0, LONG_SIZE, NULL},
    {TEXT("100000005\r\nhello\r\n"), 400, 0, 0, LONG_SIZE, NULL},
    {TEXT("ffffffffffffffff\r\n"), 400, 0, 0, LONG_SIZE, NULL},
    /* Line ends. */
    {TEXT("5\nhello\r\n0\r\n\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("5\rhello\r\n0\r\n\r\n"), 400, 0, 0, SIZE_CR, NULL},
    {TEXT("5\r\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, SIZE_CR, NULL},
    {TEXT("0\n\r\n"), 400, 0, 0, NOT_HEX, NULL},
    {TEXT("0\r\n\n"), 400, 0, 0, TRAILER, NULL},
    {TEXT("0\r\n\r\r\n"), 400, 0, 0, TRAILER_CR, NULL},
    {TEXT("5\r\nhello\n0\r\n\r\n"), 400, 0, 0, LONGER, NULL},
    {TEXT("5\r\nhello\r0\r\n\r\n"), 400, 0, 0, LONGER, NULL},
    {TEXT("5\r\nhello0\r\n\r\n"), 400, 0, 0, LONGER, NULL},
    {TEXT("5\r\nhello!\r\n0\r\n\r\n"), 400, 0, 0, LONGER, NULL},
    {TEXT("4\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, LONGER, NULL},
    {TEXT("6\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, LONGER, NULL},
    /* Extensions. */
    {TEXT("5;a\nb\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, EXTENSION, NULL},
    {TEXT("5;\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;;a\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a \r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=b \r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;=b\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=b=c\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a b\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=b c\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=\"b\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=\"b\\\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;a=\"b\\\n\"\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, EXTENSION, NULL},
    {TEXT("5;a\rb\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, SIZE_CR, NULL},
    {TEXT("5;a\0\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, EXTENSION, NULL},
    {TEXT("5;\x7f\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, EXTENSION, NULL},
    {TEXT("5;\"a\"\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, NO_EXTENSION, NULL},
    {TEXT("5;x=\"a\nb\"\r\nhello\r\n0\r\n\r\n"), 400, 0, 0, EXTENSION, NULL},
    /* Trailers. */
    {TEXT("0\r\n X: a\r\n\r\n"), 400, 0, 0, TRAILER, NULL},
    {TEXT("0\r\n: a\r\n\r\n"), 400, 0, 0, TRAILER, NULL},
    {TEXT("0\r\nX : a\r\n\r\n"), 400, 0, 0, TRAILER, NULL},
    {TEXT("0\r\nX\r\n\r\n"), 400, 0, 0, TRAILER, NULL},
    {TEXT("0\r\nX: a\r\n b\r\n\r\n"), 400, 0, 0, TRAILER, NULL},
    {TEXT("0\r\nX: a\n\r\n"), 400, 0, 0, TRAILER_CONTROL, NULL},
    {TEXT("0\r\nX: a\0\r\n\r\n"), 400, 0, 0, TRAILER_CONTROL, NULL},
    {TEXT("0\r\nX: a\rb\r\n\r\n"), 400, 0, 0, TRAILER_CR, NULL},
    /* Sizes above the limit are refused before their content comes. */
    {TEXT("3e9\r\n"), 413, 0, 0, TOO_LARGE, NULL},
    {TEXT("ffffffff\r\n"), 413, 0, 0, TOO_LARGE, NULL},
    {TEXT("5\r\nhello\r\n3e4\r\n"), 413, 0, 0, TOO_LARGE, NULL},
    {TEXT("3e8\r\n"), MORE, 0, 0, NULL, NULL},
};

/* A body as the scanner sees it: copied, so that reads past a part are seen. */
static int scan_part(struct flowd_http_chunks *chunks, const char *data, size_t length,
                     char *content, size_t *consumed, const char **reason)
{
    char *copy = malloc(length > 0 ? length : 1);
    int status;

    assert_non_null(copy);
    memcpy(copy, data, length);
    *consumed = 0;
    status = flowd_http_chunks_scan(chunks, copy, length, content, LIMIT, consumed, reason);
    free(copy);
    if (status == MORE)
        assert_int_equal(*consumed, length);
    return status;
}

/* In parts of step bytes behind a first part of first bytes. */
static void check(const struct row *row, size_t first, size_t step)
{
    struct flowd_http_chunks chunks = {0};
    char content[LIMIT];
    const char *reason = NULL;
    size_t done = 0;
    size_t part = first;
    int status = MORE;

    while (status == MORE) {
        size_t consumed;

        if (part > row->length - done)
            part = row->length - done;
        status = scan_part(&chunks, row->body + done, part, content, &consumed, &reason);
        done += status < 400 ? consumed : 0;
        if (done == row->length)
            break;
        part = step;
    }
    if (status != row->status)
        fail_msg("\"%s\" in parts of %zu and %zu gives %d", row->body, first, step, status);
    if (row->status >= 400) {
        assert_string_equal(reason, row->reason);
        return;
    }
    assert_int_equal(done, row->length - row->behind);
    assert_int_equal(chunks.total, row->total);
    if (row->content != NULL)
        assert_memory_equal(content, row->content, row->total);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        check(&rows[i], rows[i].length, rows[i].length);
        check(&rows[i], 1, 1);
        for (size_t cut = 0; cut < rows[i].length; cut++)
            check(&rows[i], cut, rows[i].length);
    }
}

static void test_limit(void **state)
{
    char body[LIMIT + 32] = "3e8\r\n";
    struct row row = {.body = body, .status = DONE, .total = LIMIT};

    (void)state;
    memset(body + 5, 'x', LIMIT);
    memcpy(body + 5 + LIMIT, "\r\n0\r\n\r\n", 7);
    row.length = 5 + LIMIT + 7;
    check(&row, row.length, row.length);
    check(&row, 1, 1);
    /* One byte more, in a chunk of its own. */
    memcpy(body + 5 + LIMIT, "\r\n1\r\n", 5);
    row = (struct row){.body = body, .length = 10 + LIMIT, .status = 413, .reason = TOO_LARGE};
    check(&row, row.length, row.length);
    check(&row, 1, 1);
}

/* Extensions and trailers that never end. */
static void test_overhead(void **state)
{
    static const char *const beginnings[] = {"1;", "0\r\nX: ", "0\r\n"};
    static const char *const reasons[] = {"chunk extensions are too long", "trailers are too long",
                                          "trailers are too long"};

    (void)state;
    for (size_t i = 0; i < ROWS(beginnings); i++) {
        struct flowd_http_chunks chunks = {0};
        const char *reason = NULL;
        size_t consumed;
        size_t fed = 0;
        int status =
            scan_part(&chunks, beginnings[i], strlen(beginnings[i]), NULL, &consumed, &reason);

        while (status == MORE && fed++ < 100000)
            status = scan_part(&chunks, "x", 1, NULL, &consumed, &reason);
        assert_int_equal(status, 400);
        assert_string_equal(reason, reasons[i]);
        assert_in_range(fed, 4000, 4100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_overhead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
