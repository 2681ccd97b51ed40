/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks: what is a request and what is refused, for each way in which two programs on one
 * path may come to see different messages. Every block is also given in two parts, cut at each
 * byte: the verdict must not depend on how the bytes arrive.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/http/framing.h"
#include "daemon/http/server.h"

#define TEXT(literal) literal, sizeof(literal) - 1
/* A request line and a Host in front of the lines that a row is about. */
#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: localhost\r\n"
#define WITH(lines) TEXT(GET HOST lines "\r\n")

struct good {
    const char *head;
    size_t length;
    struct flowd_http_framing framing;
};

static const struct good good_rows[] = {
    {TEXT(GET HOST "\r\n"), {0, false, false, 1, false}},
    {TEXT("GET / HTTP/1.0\r\n\r\n"), {0, false, false, 0, false}},
    {TEXT("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"), {0, false, false, 0, false}},
    {TEXT(GET "host:localhost\r\n\r\n"), {0, false, false, 1, false}},
    {TEXT(GET "Host:\r\n\r\n"), {0, false, false, 1, false}},
    {TEXT(GET "Host: [2001:db8::1]:7777\r\n\r\n"), {0, false, false, 1, false}},
    {TEXT(GET "Host: \t 192.0.2.1:7777 \t \r\n\r\n"), {0, false, false, 1, false}},
    {TEXT("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), {0, false, false, 1, false}},
    {TEXT("GET http://localhost:7777/v1?a=b HTTP/1.1\r\n" HOST "\r\n"),
     {0, false, false, 1, false}},
    {TEXT("DELETE /v1/flows/1?x=%20;y HTTP/1.1\r\n" HOST "\r\n"), {0, false, false, 1, false}},
    {TEXT("!#$%&'*+-.^_`|~0 / HTTP/1.1\r\n" HOST "\r\n"), {0, false, false, 1, false}},
    {WITH("Content-Length: 0\r\n"), {0, false, false, 1, false}},
    {WITH("Content-Length: 5\r\n"), {5, false, false, 1, false}},
    {WITH("content-length:5\r\n"), {5, false, false, 1, false}},
    {WITH("CONTENT-LENGTH: \t 5\t \r\n"), {5, false, false, 1, false}},
    {WITH("Content-Length: 9223372036854775807\r\n"), {INT64_MAX, false, false, 1, false}},
    {WITH("Transfer-Encoding: chunked\r\n"), {0, true, false, 1, false}},
    {WITH("Content-Encoding: gzip\r\n"), {0, false, false, 1, true}},
    {WITH("Content-Encoding: Identity\r\n"), {0, false, false, 1, false}},
    {WITH("Content-Encoding: identity, br\r\n"), {0, false, false, 1, true}},
    {WITH("Content-Encoding: gzip\r\nContent-Encoding: identity\r\n"), {0, false, false, 1, true}},
    {WITH("transfer-encoding:Chunked\r\n"), {0, true, false, 1, false}},
    {WITH("Expect: 100-continue\r\nContent-Length: 1\r\n"), {1, false, true, 1, false}},
    {WITH("Expect: 100-Continue\r\n"), {0, false, true, 1, false}},
    {WITH("Expect: something\r\n"), {0, false, false, 1, false}},
    {WITH("X-Empty:\r\n"), {0, false, false, 1, false}},
    {WITH("X-Latin: caf\xe9 \xff\r\n"), {0, false, false, 1, false}},
    {WITH("X-Tab: a\tb\r\n"), {0, false, false, 1, false}},
    {WITH("X-Colons: a:b::c\r\n"), {0, false, false, 1, false}},
    {WITH("Content-Length-Of-Something: x\r\n"), {0, false, false, 1, false}},
    {WITH("Xontent-Length: x\r\n"), {0, false, false, 1, false}},
};

/* What the scan refuses already, since the end of the block can't be trusted. */
struct broken {
    const char *head;
    size_t length;
    const char *reason;
};

#define LF_ALONE "a line ends with LF alone"
#define CR_ALONE "CR without LF"
#define CONTROL "a control character in the header"

static const struct broken broken_rows[] = {
    {TEXT("GET / HTTP/1.1\nHost: localhost\r\n\r\n"), LF_ALONE},
    {TEXT("GET / HTTP/1.1\n\n"), LF_ALONE},
    {TEXT(GET "Host: localhost\n\r\n"), LF_ALONE},
    {TEXT(GET HOST "X: a\nContent-Length: 5\r\n\r\n"), LF_ALONE},
    {TEXT(GET HOST "\n"), LF_ALONE},
    {TEXT("\n" GET HOST "\r\n"), LF_ALONE},
    {TEXT("\r\n" GET HOST "\r\n"), "the request line is empty"},
    {TEXT(GET HOST "X: a\rContent-Length: 5\r\n\r\n"), CR_ALONE},
    {TEXT(GET HOST "X: a\r\r\n\r\n"), CR_ALONE},
    {TEXT(GET HOST "\r\r\n"), CR_ALONE},
    {TEXT("GET /\r HTTP/1.1\r\n" HOST "\r\n"), CR_ALONE},
    {TEXT("\rGET / HTTP/1.1\r\n" HOST "\r\n"), CR_ALONE},
    {WITH("X: a\0b\r\n"), CONTROL},
    {WITH("X\0: a\r\n"), CONTROL},
    {WITH("X: \x01\r\n"), CONTROL},
    {WITH("X: \x0b\r\n"), CONTROL},
    {WITH("X: \x0c\r\n"), CONTROL},
    {WITH("X: \x1f\r\n"), CONTROL},
    {WITH("X: \x7f\r\n"), CONTROL},
    {WITH("Content-Length: 5\0\r\n"), CONTROL},
    {TEXT("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), CONTROL},
    {TEXT("G\0T / HTTP/1.1\r\n" HOST "\r\n"), CONTROL},
};

/* Blocks with an end, refused for what they say. */
struct bad {
    const char *head;
    size_t length;
    int status;
    const char *reason;
};

#define METHOD "the request line has no proper method"
#define VERSION "the request line does not end with an HTTP version"
#define TARGET "the request target is not a path"
#define NAME "a header line without a proper name"
#define BLANK "a blank in or after a header name"
#define FOLDED "a header line that begins with a blank"
#define LENGTH "Content-Length is not a number"
#define LENGTHS "more than one Content-Length"
#define ENCODING "a Transfer-Encoding other than chunked"
#define BOTH "both Content-Length and Transfer-Encoding"
#define NOT_A_HOST "Host is not a host"

static const struct bad bad_rows[] = {
    /* The request line. */
    {TEXT(" GET / HTTP/1.1\r\n" HOST "\r\n"), 400, METHOD},
    {TEXT("G(T / HTTP/1.1\r\n" HOST "\r\n"), 400, METHOD},
    {TEXT("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), 400, METHOD},
    {TEXT("GET\r\n\r\n"), 400, METHOD},
    {TEXT("\x80GET / HTTP/1.1\r\n\r\n"), 400, METHOD},
    {TEXT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n"), 400, METHOD},
    {TEXT("GET /\r\n\r\n"), 400, "the request line has no version"},
    {TEXT("GET \r\n\r\n"), 400, "the request line has no version"},
    {TEXT("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET example HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET * HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET /#x HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET /\tx HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET http:/"
          "//x HTTP/1.1\r\n" HOST "\r\n"),
     400, TARGET},
    {TEXT("GET http:// HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET https://localhost/ HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("CONNECT localhost:7777 HTTP/1.1\r\n" HOST "\r\n"), 400, TARGET},
    {TEXT("GET /  HTTP/1.1\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / HTTP/1.1 \r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / x HTTP/1.1\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / http/1.1\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / HTTP/11\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / HTTP/1.10\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / HTTP/1,1\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / HTTP/x.1\r\n" HOST "\r\n"), 400, VERSION},
    {TEXT("GET / HTTP/1.2\r\n" HOST "\r\n"), 505, NULL},
    {TEXT("GET / HTTP/2.0\r\n" HOST "\r\n"), 505, NULL},
    {TEXT("GET / HTTP/0.9\r\n\r\n"), 505, NULL},
    /* Names. */
    {WITH("Content-Length : 5\r\n"), 400, BLANK},
    {WITH("Content-Length\t: 5\r\n"), 400, BLANK},
    {WITH("Transfer-Encoding : chunked\r\n"), 400, BLANK},
    {WITH("X Y: a\r\n"), 400, BLANK},
    {WITH(": a\r\n"), 400, NAME},
    {WITH("nothing\r\n"), 400, NAME},
    {WITH("X(: a\r\n"), 400, NAME},
    {WITH("X\xe9: a\r\n"), 400, NAME},
    {WITH("\"X\": a\r\n"), 400, NAME},
    {WITH("X/Y: a\r\n"), 400, NAME},
    /* Folding. */
    {WITH("X: a\r\n b\r\n"), 400, FOLDED},
    {WITH("X: a\r\n\tContent-Length: 5\r\n"), 400, FOLDED},
    {TEXT(GET " Host: localhost\r\n\r\n"), 400, FOLDED},
    {WITH(" \r\n"), 400, FOLDED},
    /* Content-Length. */
    {WITH("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, LENGTHS},
    {WITH("Content-Length: 5\r\ncontent-length: 6\r\n"), 400, LENGTHS},
    {WITH("Content-Length: 5, 5\r\n"), 400, LENGTH},
    {WITH("Content-Length: +5\r\n"), 400, LENGTH},
    {WITH("Content-Length: -5\r\n"), 400, LENGTH},
    {WITH("Content-Length: 0x5\r\n"), 400, LENGTH},
    {WITH("Content-Length: 5 5\r\n"), 400, LENGTH},
    {WITH("Content-Length: 5;a\r\n"), 400, LENGTH},
    {WITH("Content-Length: 5.0\r\n"), 400, LENGTH},
    {WITH("Content-Length: 1e3\r\n"), 400, LENGTH},
    {WITH("Content-Length: \"5\"\r\n"), 400, LENGTH},
    {WITH("Content-Length:\r\n"), 400, LENGTH},
    {WITH("Content-Length: 9223372036854775808\r\n"), 400, LENGTH},
    {WITH("Content-Length: 18446744073709551616\r\n"), 400, LENGTH},
    {WITH("Content-Length: 100000000000000000000000\r\n"), 400, LENGTH},
    /* Transfer-Encoding. */
    {WITH("Transfer-Encoding: identity\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: gzip, chunked\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: chunked, chunked\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: chunked, identity\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: xchunked\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: chunkedx\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: \"chunked\"\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: chunked;q=1\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: chunk\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding:\r\n"), 400, ENCODING},
    {WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400,
     "more than one Transfer-Encoding"},
    {WITH("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, BOTH},
    {WITH("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, BOTH},
    {WITH("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400, BOTH},
    {TEXT("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400,
     "Transfer-Encoding in an HTTP/1.0 request"},
    /* Host. */
    {TEXT(GET "\r\n"), 400, "an HTTP/1.1 request without Host"},
    {TEXT(GET "X-Host: localhost\r\n\r\n"), 400, "an HTTP/1.1 request without Host"},
    {WITH(HOST), 400, "more than one Host"},
    {WITH("host: example.org\r\n"), 400, "more than one Host"},
    {TEXT(GET "Host: a b\r\n\r\n"), 400, NOT_A_HOST},
    {TEXT(GET "Host: localhost, example.org\r\n\r\n"), 400, NOT_A_HOST},
    {TEXT(GET "Host: user@localhost\r\n\r\n"), 400, NOT_A_HOST},
    {TEXT(GET "Host: localhost/x\r\n\r\n"), 400, NOT_A_HOST},
    {TEXT(GET "Host: http://localhost\r\n\r\n"), 400, NOT_A_HOST},
    {TEXT(GET "Host: loc\xc3\xa4lhost\r\n\r\n"), 400, NOT_A_HOST},
};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/*
 * Scans length bytes as if the first cut of them had come before the others. The copy is as long as
 * what has come, so that a read past its end is seen.
 */
static int scan(struct flowd_http_head *head, const char *text, size_t length, size_t cut,
                const char **reason)
{
    const size_t ends[] = {cut, length};
    char *whole = malloc(length + 1);
    int status = FLOWD_HTTP_MORE;

    assert_non_null(whole);
    memcpy(whole, text, length);
    *head = (struct flowd_http_head){0};
    for (size_t i = 0; i < ROWS(ends) && status == FLOWD_HTTP_MORE; i++) {
        char *copy = malloc(ends[i] > 0 ? ends[i] : 1);

        assert_non_null(copy);
        memcpy(copy, whole, ends[i]);
        status = flowd_http_head_scan(head, copy, ends[i], reason);
        if (status == FLOWD_HTTP_MORE)
            assert_int_equal(head->length, ends[i]);
        memcpy(whole, copy, ends[i]);
        free(copy);
    }
    free(whole);
    return status;
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(good_rows); i++) {
        const struct good *row = &good_rows[i];

        for (size_t cut = 0; cut < row->length; cut++) {
            struct flowd_http_head head;
            const char *reason = NULL;

            if (scan(&head, row->head, row->length, cut, &reason) != FLOWD_HTTP_DONE)
                fail_msg("\"%s\" cut at %zu: %s", row->head, cut, reason);
            assert_int_equal(head.length, row->length);
            assert_int_equal(head.framing.content_length, row->framing.content_length);
            assert_int_equal(head.framing.chunked, row->framing.chunked);
            assert_int_equal(head.framing.expect_continue, row->framing.expect_continue);
            assert_int_equal(head.framing.minor, row->framing.minor);
            assert_int_equal(head.framing.encoded, row->framing.encoded);
        }
    }
}

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(broken_rows); i++) {
        const struct broken *row = &broken_rows[i];

        for (size_t cut = 0; cut <= row->length; cut++) {
            struct flowd_http_head head;
            const char *reason = NULL;

            if (scan(&head, row->head, row->length, cut, &reason) != 400)
                fail_msg("\"%s\" cut at %zu is taken", row->head, cut);
            assert_string_equal(reason, row->reason);
        }
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(bad_rows); i++) {
        const struct bad *row = &bad_rows[i];
        struct flowd_http_head head;
        const char *reason = NULL;
        int status;

        /* The end of the block can be trusted, and what is wrong is not told before it. */
        for (size_t length = 0; length < row->length; length++)
            assert_int_equal(scan(&head, row->head, length, length / 2, &reason), FLOWD_HTTP_MORE);
        for (size_t cut = 0; cut < row->length; cut++) {
            status = scan(&head, row->head, row->length, cut, &reason);
            if (status != row->status)
                fail_msg("\"%s\" cut at %zu gives %d", row->head, cut, status);
            assert_non_null(reason);
            if (row->reason != NULL)
                assert_string_equal(reason, row->reason);
        }
    }
}

/* Of several things, the first is told; but what hides the end of the block comes before all. */
static void test_first(void **state)
{
    static const struct bad rows[] = {
        {TEXT("G(T / HTTP/1.1\r\nX Y: a\r\n\r\n"), 400, METHOD},
        {TEXT("GET * HTTP/1.2\r\n\r\n"), 400, TARGET},
        {TEXT("GET /#\r\n\r\n"), 400, "the request line has no version"},
        {TEXT("GET / HTTP/1.2\r\nnothing\r\n\r\n"), 505, NULL},
        {TEXT(GET "X Y: a\r\nContent-Length: x\r\n\r\n"), 400, BLANK},
        {TEXT(GET "nothing\r\nX Y: a\r\n\r\n"), 400, NAME},
        {TEXT("G(T / HTTP/1.1\r\nX: \x01\r\n\r\n"), 400, CONTROL},
        {TEXT("G(T / HTTP/1.1\n\r\n\r\n"), 400, LF_ALONE},
        {TEXT(GET "X Y\r: a\r\n\r\n"), 400, CR_ALONE},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        for (size_t cut = 0; cut < rows[i].length; cut++) {
            struct flowd_http_head head;
            const char *reason = NULL;

            assert_int_equal(scan(&head, rows[i].head, rows[i].length, cut, &reason),
                             rows[i].status);
            if (rows[i].reason != NULL)
                assert_string_equal(reason, rows[i].reason);
        }
}

/* Blocks of the largest size, and of one byte more. */
static void test_large(void **state)
{
    (void)state;
    for (size_t length = FLOWD_HTTP_HEAD_MAX - 1; length <= FLOWD_HTTP_HEAD_MAX + 2; length++) {
        bool fits = length <= FLOWD_HTTP_HEAD_MAX;
        struct flowd_http_head head;
        const char *reason = NULL;
        char text[FLOWD_HTTP_HEAD_MAX + 2];

        memset(text, 'x', length);
        memcpy(text, GET HOST "X: ", sizeof(GET HOST "X: ") - 1);
        memcpy(text + length - 4, "\r\n\r\n", 4);
        assert_int_equal(scan(&head, text, length, length - 1, &reason),
                         fits ? FLOWD_HTTP_DONE : 431);
        text[100] = '\n'; /* which stands in the part that is read */
        assert_int_equal(scan(&head, text, length, length - 1, &reason), 400);
    }
}

/* Tabs reach nobody: those of values become blanks, others are refused. */
static void test_tabs(void **state)
{
    static const char text[] = GET HOST "X:\ta\tb\t\r\nContent-Length:\t5\t\r\n\r\n";
    static const char expected[] = GET HOST "X: a b \r\nContent-Length: 5 \r\n\r\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof(text) - 1; cut++) {
        struct flowd_http_head head = {0};
        const char *reason = NULL;
        char copy[sizeof(text)];

        memcpy(copy, text, sizeof(text));
        assert_int_equal(flowd_http_head_scan(&head, copy, cut, &reason), FLOWD_HTTP_MORE);
        assert_int_equal(flowd_http_head_scan(&head, copy, sizeof(text) - 1, &reason),
                         FLOWD_HTTP_DONE);
        assert_int_equal(head.framing.content_length, 5);
        assert_string_equal(copy, expected);
    }
}

/* Every single control byte, in a name, in a value and in the request line. */
static void test_controls(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        static const char text[] = GET HOST "Name: value\r\n\r\n";
        static const size_t places[] = {1, 5, 40};
        bool control = (byte < 0x20 && byte != '\t') || byte == 0x7f;

        for (size_t i = 0; i < ROWS(places); i++) {
            struct flowd_http_head head;
            char copy[sizeof(text)];
            const char *reason = NULL;
            int status;
            bool told;

            memcpy(copy, text, sizeof(text));
            copy[places[i]] = (char)byte;
            /* Without the last byte of the block: what is wrong inside a line is not told yet. */
            status = scan(&head, copy, sizeof(text) - 2, 0, &reason);
            told = status == 400;
            if (told != control || (!told && status != FLOWD_HTTP_MORE))
                fail_msg("byte 0x%02x at %zu gives %d", (unsigned)byte, places[i], status);
        }
    }
}

static void test_incomplete(void **state)
{
    static const char text[] = GET HOST "\r\n";

    (void)state;
    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        struct flowd_http_head head;
        const char *reason = NULL;

        assert_int_equal(scan(&head, text, length, length / 2, &reason), FLOWD_HTTP_MORE);
        assert_null(reason);
    }
}

/* What comes behind the block is none of the scan's business. */
static void test_behind(void **state)
{
    static const char text[] = GET HOST "\r\n\n\r\0garbage";
    struct flowd_http_head head;
    const char *reason = NULL;

    (void)state;
    assert_int_equal(scan(&head, text, sizeof(text) - 1, 0, &reason), FLOWD_HTTP_DONE);
    assert_int_equal(head.length, sizeof(GET HOST "\r\n") - 1);
}

static void test_token(void **state)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool expected = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                        (byte >= 'A' && byte <= 'Z') ||
                        memchr(others, byte, sizeof(others) - 1) != NULL;

        assert_int_equal(flowd_http_is_token((char)byte), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_broken),
        cmocka_unit_test(test_bad),      cmocka_unit_test(test_first),
        cmocka_unit_test(test_large),    cmocka_unit_test(test_tabs),
        cmocka_unit_test(test_controls), cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_behind),   cmocka_unit_test(test_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
