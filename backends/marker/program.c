/*
 * Loading: open the object, choose sizes, put pinned maps of the same layout in the place of new
 * ones, load, keep file descriptors and let go of everything else that libbpf allocated.
 */
#include "program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/log.h"
#include "marker.skel.h"

#define NAME_OF(macro) NAME_OF_TOKEN(macro)
#define NAME_OF_TOKEN(token) #token
#define BITMAP_BYTES (FLOWD_MARKER_BITMAP_WORDS * sizeof(uint64_t))

/* The last warning of libbpf, for the error message. */
static char last_warning[160];

static int take_message(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static int take_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
    char line[512];
    int length;

    if (level == LIBBPF_DEBUG)
        return 0;
    length = vsnprintf(line, sizeof(line), format, arguments);
    line[strcspn(line, "\n")] = '\0';
    if (level == LIBBPF_WARN)
        snprintf(last_warning, sizeof(last_warning), "%.*s", (int)sizeof(last_warning) - 1, line);
    flowd_debug("marker", "%s", line);
    return length;
}

void marker_program_route_messages(void)
{
    libbpf_set_print(take_message);
}

int marker_program_check_privileges(struct flowd_error *err)
{
    bool bpf;
    bool net;

    if (capng_get_caps_process() < 0)
        return 0;
    bpf = capng_have_capability(CAPNG_EFFECTIVE, CAP_BPF) ||
          capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
    net = capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN);
    if (bpf && net)
        return 0;
    return flowd_fail(err, -EPERM,
                      "marking packets needs CAP_BPF and CAP_NET_ADMIN; missing: %s%s%s",
                      bpf ? "" : "CAP_BPF", bpf || net ? "" : " and ", net ? "" : "CAP_NET_ADMIN");
}

static bool map_fits(int fd, const struct bpf_map *map, bool by_name)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.type == bpf_map__type(map) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map) &&
           (info.map_flags & BPF_F_NO_PREALLOC) == (bpf_map__map_flags(map) & BPF_F_NO_PREALLOC) &&
           (info.map_flags & BPF_F_MMAPABLE) == (bpf_map__map_flags(map) & BPF_F_MMAPABLE) &&
           (!by_name || strcmp(info.name, NAME_OF(FLOWD_MARKER_FLOWS)) == 0);
}

/* Puts pinned maps into the object if all of them are there and fit. */
static int adopt_maps(struct marker_bpf *skeleton, const struct marker_pins *pins, bool *adopted,
                      bool *replaces)
{
    struct {
        const char *pin;
        struct bpf_map *map;
        int fd;
    } maps[] = {
        {MARKER_PIN_FLOWS, skeleton->maps.flowd_flows_1, -1},
        {MARKER_PIN_BITMAP, skeleton->maps.bss, -1},
        {MARKER_PIN_COUNTERS, skeleton->maps.flowd_counters, -1},
    };
    unsigned found = 0;
    unsigned fitting = 0;
    int result = 0;

    for (unsigned i = 0; i < 3; i++) {
        maps[i].fd = marker_pins_get(pins, maps[i].pin);
        found += maps[i].fd >= 0;
        fitting += maps[i].fd >= 0 && map_fits(maps[i].fd, maps[i].map, i == 0);
    }
    for (unsigned i = 0; i < 3 && fitting == 3 && result == 0; i++)
        result = bpf_map__reuse_fd(maps[i].map, maps[i].fd);
    for (unsigned i = 0; i < 3; i++)
        if (maps[i].fd >= 0)
            close(maps[i].fd);
    *adopted = fitting == 3;
    *replaces = found > 0 && fitting < 3;
    return result;
}

static int duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* Takes file descriptors and the bitmap's mapping out of a loaded object. */
static int take_descriptors(struct marker_program *program, const struct marker_bpf *skeleton)
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    void *bitmap;

    program->program_fd = duplicate(bpf_program__fd(skeleton->progs.flowd_marker));
    program->flows_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_flows_1));
    program->bitmap_fd = duplicate(bpf_map__fd(skeleton->maps.bss));
    program->counters_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_counters));
    if (program->program_fd < 0 || program->flows_fd < 0 || program->bitmap_fd < 0 ||
        program->counters_fd < 0)
        return -errno;
    if (bpf_obj_get_info_by_fd(program->program_fd, &info, &length) < 0)
        return -errno;
    program->id = info.id;
    bitmap = mmap(NULL, BITMAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, program->bitmap_fd, 0);
    if (bitmap == MAP_FAILED)
        return -errno;
    program->bitmap = bitmap;
    return 0;
}

static int explain_load_failure(int result, struct flowd_error *err)
{
    if (result == -EPERM)
        return flowd_fail(
            err, -EPERM,
            "the kernel refuses the BPF program although CAP_BPF and CAP_NET_ADMIN are "
            "there (a user namespace, lockdown or a seccomp filter?)");
    return flowd_fail(err, -result, "loading the BPF program%s%s", last_warning[0] ? ": " : "",
                      last_warning);
}

int marker_program_load(struct marker_program *program,
                        const struct marker_program_settings *settings,
                        const struct marker_pins *pins, struct flowd_error *err)
{
    struct marker_program loaded = {
        .program_fd = -1, .flows_fd = -1, .bitmap_fd = -1, .counters_fd = -1};
    struct marker_bpf *skeleton;
    int result = marker_program_check_privileges(err);

    if (result < 0)
        return result;
    last_warning[0] = '\0';
    skeleton = marker_bpf__open();
    if (skeleton == NULL)
        return flowd_fail(err, errno, "opening the BPF object");
    skeleton->rodata->marker_match_source = settings->match_source;
    skeleton->rodata->marker_debug = settings->debug;
    bpf_map__set_max_entries(skeleton->maps.flowd_flows_1, settings->entries_max);
    bpf_map__set_key_size(skeleton->maps.flowd_flows_1, settings->match_source
                                                            ? FLOWD_MARKER_KEY_SOURCE_SIZE
                                                            : FLOWD_MARKER_KEY_SIZE);
    result = adopt_maps(skeleton, pins, &loaded.adopted, &loaded.replaces);
    if (result == 0)
        result = marker_bpf__load(skeleton);
    if (result < 0) {
        result = explain_load_failure(result, err);
    } else {
        result = take_descriptors(&loaded, skeleton);
        if (result < 0)
            flowd_fail(err, -result, "the BPF program's descriptors");
    }
    marker_bpf__destroy(skeleton);
    if (result < 0) {
        marker_program_close(&loaded);
        return result;
    }
    *program = loaded;
    return 0;
}

void marker_program_close(struct marker_program *program)
{
    const int fds[] = {program->program_fd, program->flows_fd, program->bitmap_fd,
                       program->counters_fd};

    if (program->bitmap != NULL)
        munmap(program->bitmap, BITMAP_BYTES);
    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *program = (struct marker_program){
        .program_fd = -1, .flows_fd = -1, .bitmap_fd = -1, .counters_fd = -1};
}

int marker_program_pin(const struct marker_program *program, const struct marker_pins *pins)
{
    int result = marker_pins_put(pins, MARKER_PIN_FLOWS, program->flows_fd);

    if (result == 0)
        result = marker_pins_put(pins, MARKER_PIN_BITMAP, program->bitmap_fd);
    if (result == 0)
        result = marker_pins_put(pins, MARKER_PIN_COUNTERS, program->counters_fd);
    return result;
}

int marker_program_counters(const struct marker_program *program, uint32_t slot,
                            struct flowd_marker_counters *counters)
{
    int cpus = libbpf_num_possible_cpus();
    struct flowd_marker_counters *copies;
    int result;

    if (cpus < 1)
        return cpus < 0 ? cpus : -EINVAL;
    copies = calloc((size_t)cpus, sizeof(*copies));
    if (copies == NULL)
        return -ENOMEM;
    result = bpf_map_lookup_elem(program->counters_fd, &slot, copies);
    if (result == 0) {
        memset(counters, 0, sizeof(*counters));
        for (int cpu = 0; cpu < cpus; cpu++)
            for (unsigned verdict = 0; verdict < FLOWD_MARKER_VERDICTS; verdict++)
                counters->packets[verdict] += copies[cpu].packets[verdict];
    }
    free(copies);
    return result;
}
