/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sk_ops programs load with every setting, also with those of kernels that can't do everything,
 * tell the sockets of a network namespace from others in both ways, and find what they missed
 * however much it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ev.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ebpf/sockops.h"
#include "ebpf/sockops/cgroup.h"
#include "ebpf/sockops/sockops.h"
#include "lab/bpf_main.h"
#include "lab/kernel_lacks.h"
#include "lab/verifier_log.h"
#include "sockops.skel.h"

#define SETTINGS 32u
/* More than find room in the ring buffer. */
#define CONNECTIONS 1500
#define SMALL_RING 65536
#define DEADLINE_S 30.0

/* Opened with one combination of settings; bit 0 is the program. */
static struct sockops_bpf *open_with(unsigned settings)
{
    struct sockops_bpf *skeleton = sockops_bpf__open();
    bool samples = settings & 1;
    bool visitor = settings & 2;

    assert_non_null(skeleton);
    skeleton->rodata->sockops_netns_cookie = settings & 4 ? 1 : 0;
    skeleton->rodata->sockops_transitions = (settings & 8) != 0;
    skeleton->rodata->sockops_debug = (settings & 16) != 0;
    bpf_program__set_autoload(skeleton->progs.flowd_connections, !samples);
    bpf_program__set_autoload(skeleton->progs.flowd_samples, samples);
    bpf_program__set_autoload(skeleton->progs.flowd_established, visitor && !samples);
    bpf_program__set_autoload(skeleton->progs.flowd_existing, visitor && samples);
    return skeleton;
}

/* The helpers that only some kernels have, as the verifier names them, and which settings use them.
 */
static const struct {
    enum kernel_lack lack;
    const char *refusal;
    unsigned mask; /* where these bits of the settings are all set */
} helpers[] = {
    {KERNEL_NO_COOKIES, "unknown func bpf_get_netns_cookie#122", 4},
    {KERNEL_NO_CALLBACKS, "unknown func bpf_setsockopt#49", 3},
};
#define HELPERS (sizeof(helpers) / sizeof(helpers[0]))

/* Whether the settings use a helper that is missing. */
static bool to_be_refused(unsigned settings, const bool missing[static HELPERS])
{
    for (unsigned i = 0; i < HELPERS; i++)
        if (missing[i] && (settings & helpers[i].mask) == helpers[i].mask)
            return true;
    return false;
}

/* Each loads, but where the kernel lacks a helper: what uses it is refused, and for just that. */
static void test_every_setting_loads(void **state)
{
    libbpf_print_fn_t before = verifier_log_keep();
    bool refused[SETTINGS] = {false};
    bool missing[HELPERS] = {false};

    (void)state;
    for (unsigned settings = 0; settings < SETTINGS; settings++) {
        struct sockops_bpf *skeleton = open_with(settings);

        verifier_log_clear();
        refused[settings] = sockops_bpf__load(skeleton) != 0;
        sockops_bpf__destroy(skeleton);
        for (unsigned i = 0; i < HELPERS; i++)
            if (refused[settings] && strstr(verifier_log_text(), helpers[i].refusal))
                missing[i] = true;
        if (refused[settings] && !to_be_refused(settings, missing))
            fail_msg("settings %u: %s", settings, verifier_log_text());
    }
    libbpf_set_print(before);
    for (unsigned settings = 0; settings < SETTINGS; settings++)
        assert_int_equal(refused[settings], to_be_refused(settings, missing));
    for (unsigned i = 0; i < HELPERS; i++)
        if (missing[i])
            kernel_leave_out(helpers[i].lack, "");
}

/* A connection of this process to itself. */
static void connect_once(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, length), 0);
    close(client);
    close(listener);
}

static uint64_t count_of(const struct sockops_bpf *skeleton, uint32_t which)
{
    int cpus = libbpf_num_possible_cpus();
    uint64_t *copies = calloc((size_t)cpus, sizeof(*copies));
    uint64_t sum = 0;

    assert_non_null(copies);
    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.flowd_counts), &which, copies),
                     0);
    for (int cpu = 0; cpu < cpus; cpu++)
        sum += copies[cpu];
    free(copies);
    return sum;
}

/* Kernels whose sk_ops programs can't ask for the cookie compare the namespace's inode number. */
static void test_namespace_by_inode(void **state)
{
    char path[256];
    struct flowd_error err;
    struct stat own;
    int cgroup = flowd_cgroup_open("", path, sizeof(path), &err);

    (void)state;
    assert_true(cgroup >= 0);
    assert_int_equal(stat("/proc/self/ns/net", &own), 0);
    for (unsigned other = 0; other < 2; other++) {
        struct sockops_bpf *skeleton = open_with(0);
        struct bpf_link *link;

        skeleton->rodata->sockops_netns_inum = (uint32_t)own.st_ino + other;
        assert_int_equal(sockops_bpf__load(skeleton), 0);
        link = bpf_program__attach_cgroup(skeleton->progs.flowd_connections, cgroup);
        assert_non_null(link);
        connect_once();
        assert_true(count_of(skeleton, FLOWD_SOCKOPS_ELSEWHERE) >= (other ? 2 : 0));
        if (other)
            assert_int_equal(count_of(skeleton, FLOWD_SOCKOPS_RECORDS), 0);
        else
            assert_true(count_of(skeleton, FLOWD_SOCKOPS_RECORDS) >= 2);
        bpf_link__destroy(link);
        sockops_bpf__destroy(skeleton);
    }
    close(cgroup);
}

/* Which connections were told of. */
struct subscribers {
    struct ev_loop *loop;
    struct flowd_sockops *sockops;
    bool heard[UINT16_MAX + 1]; /* by the remote port */
    size_t count;
    uint64_t lost;
};

static void on_told(void *context, const struct flowd_sockops_event *event)
{
    struct subscribers *subscribers = context;

    if (event->happening != FLOWD_SOCKOPS_BEGINS || subscribers->heard[event->key.dst_port])
        return;
    subscribers->heard[event->key.dst_port] = true;
    if (++subscribers->count == CONNECTIONS)
        ev_break(subscribers->loop, EVBREAK_ALL);
}

static void on_lost(void *context, uint64_t records, uint64_t closes)
{
    struct subscribers *subscribers = context;

    (void)closes;
    subscribers->lost += records;
    assert_int_equal(flowd_sockops_visit_existing(subscribers->sockops), 0);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)watcher;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* A network namespace with a loopback, in which nobody else does anything. */
static void enter_namespace(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd;

    assert_int_equal(unshare(CLONE_NEWNET), 0);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
}

static int listen_somewhere(struct sockaddr_in *address)
{
    socklen_t length = sizeof(*address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(listener, (struct sockaddr *)address, length), 0);
    assert_int_equal(listen(listener, CONNECTIONS), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)address, &length), 0);
    return listener;
}

/* They are there all the time: in each visit the first ones must not take the room of the others.
 */
static void test_more_connections_than_the_ring_holds(void **state)
{
    static int clients[CONNECTIONS], servers[CONNECTIONS];
    static struct subscribers subscribers;
    const struct rlimit files = {.rlim_cur = 2 * CONNECTIONS + 256,
                                 .rlim_max = 2 * CONNECTIONS + 256};
    const struct flowd_sockops_listener listener = {
        .told = on_told, .lost = on_lost, .context = &subscribers};
    struct flowd_sockops_settings settings = {.duty = FLOWD_SOCKOPS_CONNECTIONS,
                                              .cgroup_path = "",
                                              .remote_ports = {0, UINT16_MAX},
                                              .ring_size = SMALL_RING};
    struct ev_timer deadline;
    struct sockaddr_in address;
    struct flowd_error err;
    int at;

    (void)state;
    enter_namespace();
    at = listen_somewhere(&address);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    settings.local_ports[0] = settings.local_ports[1] = ntohs(address.sin_port);
    subscribers.loop = ev_loop_new(EVFLAG_AUTO);
    assert_int_equal(
        flowd_sockops_new(subscribers.loop, &settings, &listener, &subscribers.sockops, &err), 0);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, sizeof(address)), 0);
        servers[i] = accept(at, NULL, NULL);
        assert_true(servers[i] >= 0);
    }
    ev_now_update(subscribers.loop);
    ev_timer_init(&deadline, on_deadline, DEADLINE_S, 0);
    ev_timer_start(subscribers.loop, &deadline);
    ev_run(subscribers.loop, 0);
    assert_true(subscribers.lost > 0);
    assert_int_equal(subscribers.count, CONNECTIONS);
    flowd_sockops_free(subscribers.sockops);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        close(clients[i]);
        close(servers[i]);
    }
    close(at);
    ev_timer_stop(subscribers.loop, &deadline);
    ev_loop_destroy(subscribers.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_setting_loads),
        cmocka_unit_test(test_namespace_by_inode),
        cmocka_unit_test(test_more_connections_than_the_ring_holds),
    };

    if (geteuid() != 0)
        return bpf_main_skip("needs root, to load BPF programs");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
