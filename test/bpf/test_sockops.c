/*
 * The sk_ops programs load with every setting, also with those of kernels that can't do everything,
 * and tell the sockets of a network namespace from others in both ways.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ebpf/sockops.h"
#include "sockops.skel.h"
#include "sockops/cgroup.h"

#define SETTINGS 32u

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

static void test_every_setting_loads(void **state)
{
    (void)state;
    for (unsigned settings = 0; settings < SETTINGS; settings++) {
        struct sockops_bpf *skeleton = open_with(settings);
        int result = sockops_bpf__load(skeleton);

        sockops_bpf__destroy(skeleton);
        if (result != 0)
            fail_msg("settings %u: %d", settings, result);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_setting_loads),
        cmocka_unit_test(test_namespace_by_inode),
    };

    if (geteuid() != 0) {
        fprintf(stderr, "skipped: needs root, to load BPF programs\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
