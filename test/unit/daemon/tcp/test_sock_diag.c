/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the kernel, about a listener of the test's own and about what is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/tcp/internal.h"

#define QUESTIONS 3u

static struct flowd_sock_diag *diag;
static int listener = -1;
static struct flowd_flow_key there, nowhere;

static int open_diag(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    (void)state;
    diag = flowd_sock_diag_new();
    assert_non_null(diag);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    there = (struct flowd_flow_key){.family = AF_INET,
                                    .protocol = IPPROTO_TCP,
                                    .src_port = ntohs(address.sin_port),
                                    .dst_port = 1};
    memcpy(&there.src, &address.sin_addr, sizeof(address.sin_addr));
    memcpy(&there.dst, &address.sin_addr, sizeof(address.sin_addr));
    nowhere = there;
    nowhere.src.s6_addr[3] = 2;
    return 0;
}

static int close_diag(void **state)
{
    (void)state;
    close(listener);
    flowd_sock_diag_free(diag);
    return 0;
}

struct answers {
    unsigned count;
    int errors[QUESTIONS];
    int states[QUESTIONS];
    struct answers *inner; /* of a batch that is asked at the first answer; NULL: none */
};

static void ask(struct answers *answers);

static void take_answer(void *context, size_t index, int error,
                        const struct flowd_tcp_socket *socket)
{
    struct answers *answers = context;

    assert_int_equal(index, answers->count);
    if (answers->inner != NULL && index == 0)
        ask(answers->inner);
    answers->errors[index] = error;
    answers->states[index] = socket != NULL ? socket->sample.state : 0;
    answers->count++;
}

static void ask(struct answers *answers)
{
    const struct flowd_sock_diag_query queries[QUESTIONS] = {
        {.key = &there, .local_is_src = true},
        {.key = &nowhere, .local_is_src = true},
        {.key = &there, .local_is_src = true},
    };
    uint32_t before = flowd_sock_diag_asked(diag);

    flowd_sock_diag_ask(diag, queries, QUESTIONS, take_answer, answers);
    assert_int_equal(answers->count, QUESTIONS);
    assert_true(flowd_sock_diag_asked(diag) - before >= QUESTIONS || answers->errors[0] == -EBADF);
}

static void expect(const struct answers *answers)
{
    assert_int_equal(answers->errors[0], 0);
    assert_int_equal(answers->states[0], TCP_LISTEN);
    assert_int_equal(answers->errors[1], -ENOENT);
    assert_int_equal(answers->errors[2], 0);
    assert_int_equal(answers->states[2], TCP_LISTEN);
}

static void test_not_open(void **state)
{
    struct answers answers = {0};

    (void)state;
    ask(&answers);
    for (size_t i = 0; i < QUESTIONS; i++)
        assert_int_equal(answers.errors[i], -EBADF);
}

static void test_batch(void **state)
{
    struct answers answers = {0};

    (void)state;
    assert_int_equal(flowd_sock_diag_open(diag, NULL), 0);
    assert_int_equal(flowd_sock_diag_open(diag, NULL), 0);
    ask(&answers);
    expect(&answers);
}

/* Who is told of a socket may end a flow, for whose last counts the kernel is asked. */
static void test_question_in_an_answer(void **state)
{
    struct answers inner = {0};
    struct answers answers = {.inner = &inner};

    (void)state;
    assert_int_equal(flowd_sock_diag_open(diag, NULL), 0);
    ask(&answers);
    expect(&answers);
    expect(&inner);
}

/* An answer that is no errno of the kernel's is one that nobody can do anything with. */
static void test_errors(void **state)
{
    static const int said[] = {-ENOENT, 0, ENOENT, -4096, INT32_MIN};
    static const int taken[] = {-ENOENT, -EIO, -EIO, -EIO, -EIO};
    const struct flowd_sock_diag_query query = {.key = &there};

    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        struct flowd_sock_diag_batch batch = {
            .queries = &query, .count = 1, .first = UINT32_MAX, .open = 1};
        const struct {
            struct nlmsghdr header;
            struct nlmsgerr error;
        } answer = {.header = {.nlmsg_len = sizeof(answer),
                               .nlmsg_type = NLMSG_ERROR,
                               .nlmsg_seq = UINT32_MAX},
                    .error = {.error = said[i]}};

        flowd_sock_diag_take(&batch, (const char *)&answer, sizeof(answer));
        assert_int_equal(batch.open, 0);
        assert_int_equal(batch.outcomes[0].error, taken[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_diag, close_diag)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_not_open),
        TEST(test_batch),
        TEST(test_question_in_an_answer),
        TEST(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
