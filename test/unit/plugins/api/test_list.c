/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists and the turns of the loop: lists that are under way hold nobody else up, get on beside
 * others who always have something to do, and leave the loop at rest when they are over.
 *
 * How much was done for lists is counted in flows that were written: a backend is asked for the
 * status of each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api.h"
#include "daemon/flow/registry.h"
#include "lab/http_fixture.h"
#include "lab/hub_fixture.h"
#include "lab/scratch.h"

#define FLOWS 1500
#define CLIENTS 16
/* Flows that lists may write in one turn. */
#define SHARE_MAX 128
#define HOST "Host: localhost\r\n"
#define LIST "GET /v1/flows?limit=10000 HTTP/1.1\r\n" HOST "\r\n"
#define BODY                                                                                       \
    "{\"protocol\":\"tcp\",\"src\":\"2001:db8::a\",\"srcPort\":1,\"dst\":\"2001:db8::b\","         \
    "\"dstPort\":2,\"experiment\":7,\"activity\":3}"

extern const struct flowd_module flowd_plugin_api;

struct bench {
    struct hub_fixture hub;
    struct http_fixture turns; /* the clients turn the hub's loop */
    struct flowd_context context;
    struct scratch scratch;
    struct api *api;
    struct http_client lists[CLIENTS];
    struct http_client poster;
    unsigned written;        /* flows, by lists */
    bool post_next;          /* the next flow that is written has an event sent */
    bool posted;             /* it is, and not answered */
    unsigned written_before; /* it was sent */
};

static struct bench *the_bench;

static void post(struct bench *bench)
{
    char head[128];

    snprintf(head, sizeof(head),
             "POST /v1/flows HTTP/1.1\r\n" HOST
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             strlen(BODY));
    http_client_puts(&bench->poster, head);
    http_client_puts(&bench->poster, BODY);
    bench->posted = true;
    bench->written_before = bench->written;
}

/* Looks whether the event is answered. */
static void look_for_answer(struct bench *bench)
{
    if (!bench->posted || http_client_read(&bench->poster, 4096) == 0)
        return;
    bench->posted = false;
    assert_memory_equal(bench->poster.data, "HTTP/1.1 20", 11);
    bench->poster.length = 0;
    assert_in_range(bench->written - bench->written_before, 0, SHARE_MAX);
}

static const struct flowd_backend_status *count_written(const void *instance,
                                                        const struct flowd_flow *flow)
{
    static const struct flowd_backend_status status = {"seen", false};

    (void)instance;
    /* The event's own flow is written for its answer. */
    if (flow->experiment == 7)
        return &status;
    look_for_answer(the_bench);
    the_bench->written++;
    if (the_bench->post_next) {
        the_bench->post_next = false;
        post(the_bench);
    }
    return &status;
}

static const struct flowd_backend_ops counting_ops = {.show_status = count_written};

static const struct flowd_module counting_backend = {
    .kind = FLOWD_BACKEND,
    .name = "counting",
    .summary = "counts the flows that are written",
    .backend = &counting_ops,
};

static void open_client(struct bench *bench, struct http_client *client)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    strcpy(place.sun_path, scratch_path(&bench->scratch, "socket"));
    assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof(place)), 0);
    http_client_adopt(client, &bench->turns, fd);
    hub_fixture_turn(&bench->hub);
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct api_config config = {.bind_address = "127.0.0.1", .socket_mode = 0600};
    struct flowd_error err;
    void *api = NULL;

    assert_non_null(bench);
    *state = the_bench = bench;
    hub_fixture_open(&bench->hub, "", FLOWS + 1);
    bench->hub.first.quiet = bench->hub.second.quiet = true;
    assert_true(flowd_hub_add(bench->hub.hub, &counting_backend, bench) >= 0);
    for (uint32_t number = 1; number <= FLOWS; number++)
        hub_fixture_submit(&bench->hub, FLOWD_EVENT_START, number, 2, NULL);
    hub_fixture_turn(&bench->hub);
    bench->turns.loop = bench->hub.loop;
    scratch_make(&bench->scratch);
    config.socket_path = config.socket_group = config.token_file = (char[]){""};
    config.socket_path = strdup(scratch_path(&bench->scratch, "socket"));
    assert_non_null(config.socket_path);
    bench->context = (struct flowd_context){.loop = bench->hub.loop,
                                            .hub = bench->hub.hub,
                                            .registry = flowd_registry_new(),
                                            .flows_max = FLOWS + 1};
    assert_non_null(bench->context.registry);
    assert_int_equal(flowd_plugin_api.start(&bench->context, &config, &api, &err), 0);
    bench->api = api;
    free(config.socket_path);
    for (int i = 0; i < CLIENTS; i++)
        open_client(bench, &bench->lists[i]);
    open_client(bench, &bench->poster);
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    flowd_plugin_api.stop(bench->api);
    for (int i = 0; i < CLIENTS; i++)
        http_client_close(&bench->lists[i]);
    http_client_close(&bench->poster);
    flowd_registry_free(bench->context.registry);
    hub_fixture_close(&bench->hub);
    scratch_remove(&bench->scratch);
    free(bench);
    return 0;
}

/* Turns the loop until lists have written something. Returns how much in one turn. */
static unsigned turn_until_written(struct bench *bench)
{
    unsigned before = bench->written;

    for (int turns = 0; bench->written == before; turns++) {
        assert_true(turns < 1000);
        hub_fixture_turn(&bench->hub);
    }
    return bench->written - before;
}

static void ask_for_lists(struct bench *bench)
{
    for (int i = 0; i < CLIENTS; i++)
        http_client_puts(&bench->lists[i], LIST);
}

/* An event that comes while lists are under way waits for the share that was begun, and for no
 * other one. */
static void test_an_event_between_shares(void **state)
{
    struct bench *bench = *state;
    unsigned share;

    ask_for_lists(bench);
    turn_until_written(bench);
    for (int i = 0; i < 20; i++) {
        share = turn_until_written(bench);
        assert_in_range(share, 1, SHARE_MAX);
        bench->post_next = true;
        turn_until_written(bench);
        assert_false(bench->post_next);
        for (int turns = 0; bench->posted; turns++) {
            assert_true(turns < 1000);
            hub_fixture_turn(&bench->hub);
        }
    }
    assert_in_range(bench->written, 1, CLIENTS * FLOWS - 1);
    for (int i = 0; i < CLIENTS; i++)
        http_client_expect(&bench->lists[i], 200, NULL);
}

static void never_read(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

/* Somebody else has something to do in every turn. */
static void test_lists_beside_a_busy_one(void **state)
{
    struct bench *bench = *state;
    int pipe_fds[2];
    ev_io busy;

    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(write(pipe_fds[1], "", 1), 1);
    ev_io_init(&busy, never_read, pipe_fds[0], EV_READ);
    ev_io_start(bench->hub.loop, &busy);
    ask_for_lists(bench);
    http_client_expect(&bench->lists[0], 200, NULL);
    assert_true(bench->written >= FLOWS);
    ev_io_stop(bench->hub.loop, &busy);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void assert_rest(struct bench *bench)
{
    for (int turns = 0; ev_is_active(&bench->api->lists.awake); turns++) {
        assert_true(turns < CLIENTS * FLOWS);
        hub_fixture_turn(&bench->hub);
    }
    assert_false(ev_is_active(&bench->api->lists.share));
}

/* A loop with an idle watcher never sleeps. */
static void test_rest_behind_the_last(void **state)
{
    struct bench *bench = *state;

    assert_false(ev_is_active(&bench->api->lists.awake));
    http_client_puts(&bench->lists[0], LIST);
    http_client_expect(&bench->lists[0], 200, NULL);
    assert_rest(bench);
    ask_for_lists(bench);
    turn_until_written(bench);
    assert_true(ev_is_active(&bench->api->lists.awake));
    for (int i = 0; i < CLIENTS; i++) {
        http_client_close(&bench->lists[i]);
        bench->lists[i] = (struct http_client){.fd = -1};
    }
    assert_rest(bench);
}

/* Nothing of a page whose client goes away gets into the next one. */
static void test_a_client_that_goes_away(void **state)
{
    struct bench *bench = *state;
    struct http_answer answer;
    json_t *page;

    /* What it leaves unread makes its end a reset. */
    http_client_puts(&bench->lists[0], "GET /healthz HTTP/1.1\r\n" HOST "\r\n" LIST);
    turn_until_written(bench);
    http_client_puts(&bench->lists[1], LIST);
    turn_until_written(bench);
    assert_in_range(bench->written, 1, FLOWS / 2);
    http_client_close(&bench->lists[0]);
    bench->lists[0] = (struct http_client){.fd = -1};
    http_client_take(&bench->lists[1], false, &answer);
    assert_int_equal(answer.status, 200);
    page = json_loads(answer.body, 0, NULL);
    assert_non_null(page);
    assert_int_equal(json_array_size(json_object_get(page, "flows")), FLOWS);
    assert_in_range(bench->written, FLOWS + 1, 2 * FLOWS - 1);
    json_decref(page);
    http_answer_free(&answer);
}

static unsigned count_answers(struct http_client *client)
{
    unsigned answers = 0;

    http_client_read(client, 4096);
    for (size_t i = 0; i + 9 < client->length; i++)
        answers += memcmp(client->data + i, "HTTP/1.1 ", 9) == 0;
    return answers;
}

/* The answer to a list has the event behind it read, after the hub's commit: the loop does not wait
 * for something else to happen before that is committed too. */
static void test_an_event_behind_a_list(void **state)
{
    struct bench *bench = *state;
    bool waited = false;

    http_client_close(&bench->poster);
    bench->poster = bench->lists[0];
    bench->lists[0] = (struct http_client){.fd = -1};
    http_client_puts(&bench->poster, "GET /v1/flows?limit=1 HTTP/1.1\r\n" HOST "\r\n");
    post(bench);
    bench->posted = false; /* it is looked for below */
    for (int turns = 0; count_answers(&bench->poster) < 2; turns++) {
        assert_true(turns < 1000);
        hub_fixture_turn(&bench->hub);
        if (flowd_hub_live(bench->hub.hub) == FLOWS + 1 && count_answers(&bench->poster) == 1) {
            assert_true(ev_is_active(&bench->api->lists.awake));
            waited = true;
        }
    }
    assert_true(waited);
    http_client_expect(&bench->poster, 200, NULL);
    http_client_expect(&bench->poster, 201, NULL);
}

/* Answers that nobody reads pile up while lists wait for their turn: those are refused, as they
 * would be if they came now, and lists are answered again when the memory is free. */
static void test_answers_that_pile_up(void **state)
{
    struct bench *bench = *state;

    http_client_puts(&bench->lists[0], LIST);
    turn_until_written(bench);
    for (int i = 1; i < CLIENTS; i++)
        http_client_puts(&bench->lists[i], LIST);
    turn_until_written(bench);
    assert_in_range(bench->written, 1, FLOWS - 1);
    bench->api->server->buffered += FLOWD_HTTP_BUFFERED_MAX + 1;
    http_client_expect(&bench->lists[0], 200, NULL);
    for (int i = 1; i < CLIENTS; i++)
        http_client_expect(&bench->lists[i], 503, NULL);
    assert_int_equal(bench->written, FLOWS);
    bench->api->server->buffered -= FLOWD_HTTP_BUFFERED_MAX + 1;
    http_client_puts(&bench->lists[1], LIST);
    http_client_expect(&bench->lists[1], 200, NULL);
    assert_rest(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_event_between_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists_beside_a_busy_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rest_behind_the_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_client_that_goes_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_event_behind_a_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers_that_pile_up, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
