/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loading of an sk_ops program: rights and the cgroup first, so that what is missing is said
 * plainly; then the object with its settings in .rodata; then the link. Everything else that libbpf
 * allocated is let go of.
 */
#include "ebpf/sockops/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ebpf/loader/bpf_log.h"
#include "ebpf/loader/environment.h"
#include "ebpf/sockops.h"
#include "ebpf/sockops/cgroup.h"
#include "ebpf/sockops/explain.h"
#include "sockops.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define NS_PER_S 1000000000ll
#define MS_PER_S 1000
#define HZ_DEFAULT 250
/* Sockets that are visited at once; the ring buffer has room for a record of each. */
#define VISITS 512

static bool has(unsigned capability)
{
    return capng_have_capability(CAPNG_EFFECTIVE, capability) ||
           (capability != CAP_NET_ADMIN && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN));
}

static int check_privileges(struct flowd_error *err)
{
    bool bpf, perfmon, net;

    if (capng_get_caps_process() < 0)
        return 0;
    bpf = has(CAP_BPF);
    perfmon = has(CAP_PERFMON);
    net = has(CAP_NET_ADMIN);
    if (bpf && perfmon && net)
        return 0;
    return flowd_fail(
        err, EPERM,
        "sk_ops programs need CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; missing:%s%s%s; "
        "start flowd as root, or give them to it (systemd: AmbientCapabilities, "
        "container: --cap-add)",
        bpf ? "" : " CAP_BPF", perfmon ? "" : " CAP_PERFMON", net ? "" : " CAP_NET_ADMIN");
}

/* Of this process's network namespace; 0: this kernel does not tell, or not its sk_ops programs. */
static uint64_t netns_cookie(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);

    if (fd < 0)
        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0)
        cookie = 0;
    close(fd);
    if (cookie != 0 &&
        libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie, NULL) != 1)
        cookie = 0;
    return cookie;
}

static uint32_t netns_inum(void)
{
    struct stat about;

    return stat("/proc/self/ns/net", &about) == 0 ? (uint32_t)about.st_ino : 0;
}

/* The coarse clocks advance by one tick. */
static uint32_t ticks_per_second(void)
{
    struct timespec tick = {0};

    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) < 0 || tick.tv_sec != 0 || tick.tv_nsec <= 0)
        return HZ_DEFAULT;
    return (uint32_t)((NS_PER_S + tick.tv_nsec / 2) / tick.tv_nsec);
}

static void program_set_up(struct sockops_bpf *skeleton,
                           const struct flowd_sockops_settings *settings, bool visitor)
{
    bool connections = settings->duty == FLOWD_SOCKOPS_CONNECTIONS;
    uint32_t hz = ticks_per_second();

    skeleton->rodata->sockops_hz = hz;
    skeleton->rodata->sockops_netns_cookie = netns_cookie();
    skeleton->rodata->sockops_netns_inum = netns_inum();
    for (unsigned i = 0; i < 2; i++) {
        skeleton->rodata->sockops_local_ports[i] = settings->local_ports[i];
        skeleton->rodata->sockops_remote_ports[i] = settings->remote_ports[i];
    }
    skeleton->rodata->sockops_period = (uint64_t)settings->period_ms * hz / MS_PER_S;
    skeleton->rodata->sockops_transitions = settings->duty == FLOWD_SOCKOPS_TRANSITIONS;
    skeleton->rodata->sockops_debug = settings->debug;
    skeleton->rodata->sockops_callbacks = BPF_SOCK_OPS_STATE_CB_FLAG;
    if (settings->duty == FLOWD_SOCKOPS_POLLING)
        skeleton->rodata->sockops_callbacks |= BPF_SOCK_OPS_RTT_CB_FLAG;
    bpf_program__set_autoload(skeleton->progs.flowd_connections, connections);
    bpf_program__set_autoload(skeleton->progs.flowd_samples, !connections);
    bpf_program__set_autoload(skeleton->progs.flowd_established, visitor && connections);
    bpf_program__set_autoload(skeleton->progs.flowd_existing, visitor && !connections);
    if (settings->ring_size != 0)
        bpf_map__set_max_entries(skeleton->maps.flowd_records, settings->ring_size);
    bpf_map__set_max_entries(skeleton->maps.flowd_watched, settings->watched_max);
    bpf_map__set_autocreate(skeleton->maps.flowd_watched, !connections);
    bpf_map__set_autocreate(skeleton->maps.flowd_due, !connections);
}

static int duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* Returns a file descriptor: the program at the sockets that are there; -1: not in this kernel. */
static int make_visitor(const struct bpf_program *program)
{
    int link = bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, NULL);

    return link < 0 ? -1 : link;
}

static int take_descriptors(const struct sockops_bpf *skeleton,
                            const struct flowd_sockops_settings *settings, bool visitor,
                            struct flowd_sockops_program *program)
{
    bool connections = settings->duty == FLOWD_SOCKOPS_CONNECTIONS;

    program->program_fd = duplicate(bpf_program__fd(connections ? skeleton->progs.flowd_connections
                                                                : skeleton->progs.flowd_samples));
    program->ring_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_records));
    program->counts_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_counts));
    if (!connections)
        program->watched_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_watched));
    if (program->program_fd < 0 || program->ring_fd < 0 || program->counts_fd < 0 ||
        (!connections && program->watched_fd < 0))
        return -errno;
    if (visitor)
        program->existing_fd = make_visitor(connections ? skeleton->progs.flowd_established
                                                        : skeleton->progs.flowd_existing);
    return 0;
}

/* One try to load, with or without the iterator; *program is unchanged on failure. */
static int program_load(const struct flowd_sockops_settings *settings, bool visitor,
                        struct flowd_sockops_program *program)
{
    struct flowd_sockops_program loaded = FLOWD_SOCKOPS_PROGRAM_CLOSED;
    struct sockops_bpf *skeleton;
    int result;

    flowd_bpf_log_reset();
    skeleton = sockops_bpf__open();
    if (skeleton == NULL)
        return errno > 0 ? -errno : -ENOMEM;
    program_set_up(skeleton, settings, visitor);
    result = sockops_bpf__load(skeleton);
    if (result == 0)
        result = take_descriptors(skeleton, settings, visitor, &loaded);
    sockops_bpf__destroy(skeleton);
    if (result < 0)
        flowd_sockops_program_close(&loaded);
    else
        *program = loaded;
    return result;
}

static int explain(enum flowd_sockops_stage stage, int result, const char *path,
                   struct flowd_error *err)
{
    struct flowd_bpf_environment environment;

    flowd_bpf_environment_read(&environment);
    return flowd_sockops_explain(stage, -result, path, flowd_bpf_log_heard(), &environment, err);
}

/* A link shares the cgroup with other programs, and goes with its last file descriptor. */
static int attach(struct flowd_sockops_program *program, int cgroup_fd, const char *path,
                  struct flowd_error *err)
{
    program->link_fd = bpf_link_create(program->program_fd, cgroup_fd, BPF_CGROUP_SOCK_OPS, NULL);
    return program->link_fd < 0 ? explain(FLOWD_SOCKOPS_ATTACHING, program->link_fd, path, err) : 0;
}

int flowd_sockops_program_load(const struct flowd_sockops_settings *settings,
                               struct flowd_sockops_program *out, struct flowd_error *err)
{
    struct flowd_sockops_program program = FLOWD_SOCKOPS_PROGRAM_CLOSED;
    char path[PATH_MAX];
    int result = check_privileges(err);
    int cgroup_fd;

    if (result < 0)
        return result;
    cgroup_fd = flowd_cgroup_open(settings->cgroup_path, path, sizeof(path), err);
    if (cgroup_fd < 0)
        return cgroup_fd;
    flowd_bpf_log_listen();
    /* Iterators that may change sockets are younger than the rest. */
    if (program_load(settings, true, &program) < 0)
        result = program_load(settings, false, &program);
    result = result < 0 ? explain(FLOWD_SOCKOPS_LOADING, result, path, err)
                        : attach(&program, cgroup_fd, path, err);
    close(cgroup_fd);
    if (result < 0)
        flowd_sockops_program_close(&program);
    else
        *out = program;
    return result;
}

void flowd_sockops_program_close(struct flowd_sockops_program *program)
{
    const int fds[] = {program->link_fd,   program->program_fd, program->ring_fd,
                       program->counts_fd, program->watched_fd, program->existing_fd};

    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *program = (struct flowd_sockops_program)FLOWD_SOCKOPS_PROGRAM_CLOSED;
}

int flowd_sockops_program_counts(const struct flowd_sockops_program *program, uint64_t *counts)
{
    int cpus = libbpf_num_possible_cpus();
    uint64_t *copies = cpus > 0 ? calloc((size_t)cpus, sizeof(*copies)) : NULL;
    int result = copies != NULL ? 0 : -ENOMEM;

    for (uint32_t index = 0; index < FLOWD_SOCKOPS_COUNTS && result == 0; index++) {
        counts[index] = 0;
        result = bpf_map_lookup_elem(program->counts_fd, &index, copies);
        for (int cpu = 0; cpu < cpus && result == 0; cpu++)
            counts[index] += copies[cpu];
    }
    free(copies);
    return result;
}

int flowd_sockops_program_begin_visit(const struct flowd_sockops_program *program)
{
    return program->existing_fd < 0 ? -EOPNOTSUPP : bpf_iter_create(program->existing_fd);
}

int flowd_sockops_program_visit(int visit_fd)
{
    /* The program writes a byte for each socket. */
    char visited[VISITS];
    ssize_t length = read(visit_fd, visited, sizeof(visited));

    if (length < 0)
        return errno == EINTR || errno == EAGAIN ? 1 : -errno;
    return length > 0;
}
