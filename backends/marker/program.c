/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loading of the marker: opens the object, chooses sizes and kinds, puts pinned maps of the
 * same layout in the place of new ones, loads, keeps the file descriptors and lets go of everything
 * else that libbpf allocated.
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

#include "casts.h"
#include "daemon/base/log.h"
#include "ebpf/loader/bpf_log.h"
#include "explain.h"
#include "kernel_btf.h"
#include "marker.skel.h"
#include "table.h"

#define NAME_OF(macro) NAME_OF_TOKEN(macro)
#define NAME_OF_TOKEN(token) #token
/* Flows, their bitmap, what is shared, counters and fragments outlive the process. */
#define MAPS 5

void marker_program_route_messages(void)
{
    flowd_bpf_log_listen();
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
    return flowd_fail(err, EPERM,
                      "marking packets needs CAP_BPF (before Linux 5.8: CAP_SYS_ADMIN) and "
                      "CAP_NET_ADMIN; missing: %s%s%s; start flowd as root, or give them to it "
                      "(systemd: AmbientCapabilities, container: --cap-add)",
                      bpf ? "" : "CAP_BPF", bpf || net ? "" : " and ", net ? "" : "CAP_NET_ADMIN");
}

/* What the marks and sums in the maps are of. */
static unsigned format_of(const struct marker_program_settings *settings)
{
    unsigned format = 0;

    if (flowd_marker_writes_scitag(settings->strategy, settings->encoding))
        format |= FLOWD_MARKER_FORMAT_SCITAG;
    if (settings->match_source)
        format |= FLOWD_MARKER_FORMAT_SOURCE;
    return format;
}

static bool has_layout(int fd, const struct bpf_map *map, bool by_name)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.type == bpf_map__type(map) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map) &&
           info.map_flags == bpf_map__map_flags(map) &&
           (!by_name || strcmp(info.name, NAME_OF(FLOWD_MARKER_FLOWS)) == 0);
}

/*
 * Why what is pinned can't be a map of flowd's, whatever its layout; NULL: it can. To delete the
 * key at no address changes nothing: of a map that may be written the kernel would read the key.
 */
static const char *find_fault(int fd)
{
    if (fd == -ENOENT)
        return NULL;
    if (fd < 0)
        return "can't be opened as a map";
    if (bpf_map_delete_elem(fd, NULL) == 0 || errno == EFAULT)
        return NULL;
    return errno == EPERM ? "is frozen or read-only, so that no entry can be changed"
                          : "is no BPF map";
}

/* Whether what is shared says that marks and sums are of the format. */
static bool has_format(int fd, unsigned format)
{
    struct flowd_marker_shared shared;
    uint32_t zero = 0;

    return bpf_map_lookup_elem(fd, &zero, &shared) == 0 &&
           shared.format == (format | FLOWD_MARKER_FORMAT_SET);
}

/*
 * Puts pinned maps into the object if all of them are there and fit. The marks of datagrams of
 * which fragments are still to come hold beside whatever flow map, so they are taken over in any
 * case.
 */
static int adopt_maps(struct marker_bpf *skeleton, const struct marker_pins *pins,
                      const struct marker_program_settings *settings,
                      struct marker_program *program)
{
    struct {
        const char *pin;
        struct bpf_map *map;
        int fd;
        bool always;
        bool fits;
    } maps[MAPS] = {
        {MARKER_PIN_FLOWS, skeleton->maps.FLOWD_MARKER_FLOWS, -1, false, false},
        {MARKER_PIN_BITMAP, skeleton->maps.flowd_bitmap, -1, false, false},
        {MARKER_PIN_SHARED, skeleton->maps.bss, -1, false, false},
        {MARKER_PIN_COUNTERS, skeleton->maps.flowd_counters, -1, false, false},
        {MARKER_PIN_FRAGMENTS, skeleton->maps.flowd_fragments, -1, true, false},
    };
    unsigned found = 0;
    unsigned fitting = 0;
    int result = 0;

    for (unsigned i = 0; i < MAPS; i++) {
        const char *fault;

        maps[i].fd = marker_pins_get(pins, maps[i].pin);
        fault = find_fault(maps[i].fd);
        found += maps[i].fd != -ENOENT;
        maps[i].fits =
            maps[i].fd >= 0 && fault == NULL && has_layout(maps[i].fd, maps[i].map, i == 0) &&
            (maps[i].map != skeleton->maps.bss || has_format(maps[i].fd, format_of(settings)));
        fitting += maps[i].fits;
        if (fault != NULL && program->fault == NULL) {
            program->fault = fault;
            program->faulty = maps[i].pin;
        }
    }
    for (unsigned i = 0; i < MAPS && result == 0; i++)
        if (fitting == MAPS || (maps[i].always && maps[i].fits))
            result = bpf_map__reuse_fd(maps[i].map, maps[i].fd);
    for (unsigned i = 0; i < MAPS; i++)
        if (maps[i].fd >= 0)
            close(maps[i].fd);
    program->adopted = fitting == MAPS;
    program->replaces = found > 0 && fitting < MAPS;
    return result;
}

static int duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* The programs of the object that serve the settings, by link header. */
struct pair {
    struct bpf_program *programs[MARKER_LINK_HEADERS];
};

/*
 * The kind with nothing in it that is not needed: see the programs. What it lacks, no kernel has to
 * know, nor a process without CAP_PERFMON to be allowed.
 */
static struct pair choose(const struct marker_bpf *skeleton,
                          const struct marker_program_settings *settings)
{
    if (settings->strategy == FLOWD_MARKER_LABEL && settings->debug)
        return (struct pair){{[MARKER_ETHERNET_HEADER] = skeleton->progs.flowd_marker_trace,
                              [MARKER_NO_LINK_HEADER] = skeleton->progs.flowd_marker_trace_l3}};
    if (settings->strategy != FLOWD_MARKER_LABEL)
        return (struct pair){{[MARKER_ETHERNET_HEADER] = skeleton->progs.flowd_marker_full,
                              [MARKER_NO_LINK_HEADER] = skeleton->progs.flowd_marker_full_l3}};
    if (settings->plain)
        return (struct pair){{[MARKER_ETHERNET_HEADER] = skeleton->progs.flowd_marker_plain,
                              [MARKER_NO_LINK_HEADER] = skeleton->progs.flowd_marker_plain_l3}};
    return (struct pair){{[MARKER_ETHERNET_HEADER] = skeleton->progs.flowd_marker,
                          [MARKER_NO_LINK_HEADER] = skeleton->progs.flowd_marker_l3}};
}

/* Returns 0, or -1 with errno. */
static int take_program(struct marker_program *program, const struct pair *chosen,
                        enum marker_link_header header)
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    int fd = duplicate(bpf_program__fd(chosen->programs[header]));

    if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &length) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    program->program_fds[header] = fd;
    program->ids[header] = info.id;
    return 0;
}

/* Takes file descriptors out of a loaded object. */
static int take_descriptors(struct marker_program *program, const struct marker_bpf *skeleton,
                            const struct pair *chosen)
{
    if (take_program(program, chosen, MARKER_ETHERNET_HEADER) < 0)
        return -errno;
    program->flows_fd = duplicate(bpf_map__fd(skeleton->maps.FLOWD_MARKER_FLOWS));
    program->bitmap_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_bitmap));
    program->shared_fd = duplicate(bpf_map__fd(skeleton->maps.bss));
    program->counters_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_counters));
    program->fragments_fd = duplicate(bpf_map__fd(skeleton->maps.flowd_fragments));
    return program->flows_fd < 0 || program->bitmap_fd < 0 || program->shared_fd < 0 ||
                   program->counters_fd < 0 || program->fragments_fd < 0
               ? -errno
               : 0;
}

static int explain_load_failure(enum marker_stage stage, int result,
                                const struct marker_program_settings *settings,
                                struct flowd_error *err)
{
    const struct marker_failure failure = {
        .stage = stage,
        .error = -result,
        .strategy = settings->strategy,
        .debug = settings->debug,
        .entries = settings->entries_max,
    };

    return marker_explain_here(failure, err);
}

static bool may_read_kernel(void)
{
    return capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON) ||
           capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}

/* Why the programs must do without the MTU of a packet's route; NULL: they may try. */
static const char *without_path_mtu(void)
{
    if (access(MARKER_KERNEL_BTF, R_OK) < 0)
        return "this kernel does not describe its structures (" MARKER_KERNEL_BTF ")";
    if (!may_read_kernel())
        return "CAP_PERFMON is missing";
    return NULL;
}

static void program_set_up(struct marker_bpf *skeleton,
                           const struct marker_program_settings *settings,
                           const struct marker_kernel *kernel)
{
    const struct marker_table_size size = marker_table_size(settings->entries_max);

    skeleton->rodata->marker_strategy = (uint8_t)settings->strategy;
    skeleton->rodata->marker_encoding = (uint8_t)settings->encoding;
    skeleton->rodata->marker_match_source = settings->match_source;
    skeleton->rodata->marker_match_all = settings->match_all;
    skeleton->rodata->marker_path_mtu = kernel->reading != MARKER_READS_NOTHING;
    skeleton->rodata->marker_direct = kernel->reading == MARKER_READS_DIRECTLY;
    memcpy((void *)&skeleton->rodata->marker_types, &kernel->types, sizeof(kernel->types));
    skeleton->rodata->marker_mss_reduction = (uint8_t)settings->mss_reduction;
    skeleton->rodata->marker_written_by_calls = settings->without_mmap;
    skeleton->rodata->marker_debug = settings->debug;
    skeleton->rodata->marker_general = flowd_marker_value_of(
        &settings->general, flowd_marker_writes_scitag(settings->strategy, settings->encoding));
    bpf_map__set_max_entries(skeleton->maps.FLOWD_MARKER_FLOWS, size.lines);
    bpf_map__set_max_entries(skeleton->maps.flowd_bitmap, size.buckets);
    if (!settings->without_mmap)
        return;
    bpf_map__set_map_flags(skeleton->maps.FLOWD_MARKER_FLOWS, 0);
    bpf_map__set_map_flags(skeleton->maps.flowd_bitmap, 0);
}

/* An object that is open with the settings in it, and what it needs to be loaded. */
struct object {
    struct marker_bpf *skeleton;
    struct pair chosen;
    struct marker_kernel kernel;
};

static void close_object(struct object *object)
{
    marker_bpf__destroy(object->skeleton);
    marker_casts_use(NULL);
    marker_kernel_close(&object->kernel);
}

/* The caller closes it, also on failure, and leaves it where it is until then. */
static int open_object(struct object *object, const struct marker_program_settings *settings,
                       enum marker_link_header header, enum marker_reading reading,
                       struct flowd_error *err)
{
    LIBBPF_OPTS(bpf_object_open_opts, options);
    struct bpf_program *program;
    char path[32];
    int result;

    *object = (struct object){.kernel = MARKER_KERNEL_CLOSED};
    result = marker_kernel_open(&object->kernel, reading, err);
    if (result < 0)
        return result;
    if (object->kernel.btf >= 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", object->kernel.btf);
        options.btf_custom_path = path;
    }
    result = marker_casts_use(&object->kernel);
    if (result < 0)
        return flowd_fail_errno(err, -result, "opening the BPF object");
    object->skeleton = marker_bpf__open_opts(&options);
    if (object->skeleton == NULL)
        return flowd_fail_errno(err, errno, "opening the BPF object");
    program_set_up(object->skeleton, settings, &object->kernel);
    object->chosen = choose(object->skeleton, settings);
    bpf_object__for_each_program(program, object->skeleton->obj)
        bpf_program__set_autoload(program, program == object->chosen.programs[header]);
    return 0;
}

/* One try to load; *program is unchanged on failure. */
static int program_load(struct marker_program *program,
                        const struct marker_program_settings *settings, enum marker_reading reading,
                        const struct marker_pins *pins, struct flowd_error *err)
{
    struct marker_program loaded = MARKER_PROGRAM_CLOSED;
    struct object object;
    int result;

    flowd_bpf_log_reset();
    result = open_object(&object, settings, MARKER_ETHERNET_HEADER, reading, err);
    if (result < 0) {
        close_object(&object);
        return result;
    }
    result = adopt_maps(object.skeleton, pins, settings, &loaded);
    if (result == 0)
        result = marker_bpf__load(object.skeleton);
    if (result < 0) {
        result = explain_load_failure(MARKER_STAGE_LOAD, result, settings, err);
    } else {
        result = take_descriptors(&loaded, object.skeleton, &object.chosen);
        if (result < 0)
            result = explain_load_failure(MARKER_STAGE_MAP, result, settings, err);
    }
    close_object(&object);
    loaded.settings = *settings;
    loaded.reading = reading;
    if (result < 0)
        marker_program_close(&loaded);
    else
        *program = loaded;
    return result;
}

/* Before Linux 6.17 the verifier may take a simpler program only, for want of CAP_PERFMON. */
static int load_label(struct marker_program *program,
                      const struct marker_program_settings *settings,
                      const struct marker_pins *pins, struct flowd_error *err)
{
    struct marker_program_settings simpler = *settings;
    struct flowd_error simpler_err;
    int result = program_load(program, settings, MARKER_READS_NOTHING, pins, err);

    if (result == 0 || settings->debug || may_read_kernel())
        return result;
    flowd_debug("marker", "%s; trying a simpler program", err->message);
    simpler.plain = true;
    if (program_load(program, &simpler, MARKER_READS_NOTHING, pins, &simpler_err) < 0)
        return result;
    flowd_warning("marker", "without CAP_PERFMON this kernel takes a simple program only: packets "
                            "with VLAN tags in band or extension headers, and fragments, are not "
                            "marked; give it to flowd beside CAP_BPF and CAP_NET_ADMIN");
    return 0;
}

/* Whether this process can have mappings of maps (Linux 5.5). What else is wrong the load says. */
static bool can_map(void)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
    const size_t size = sizeof(uint64_t);
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "flowd_try", sizeof(uint32_t), size, 1, &options);
    void *at;

    if (fd < 0)
        return errno != EINVAL;
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        munmap(at, size);
    close(fd);
    return at != MAP_FAILED;
}

static int load(struct marker_program *program, const struct marker_program_settings *settings,
                const struct marker_pins *pins, struct flowd_error *err)
{
    const char *no_path_mtu = NULL;
    int result;

    /* Only packets that become longer need it. */
    if (settings->strategy == FLOWD_MARKER_LABEL)
        return load_label(program, settings, pins, err);
    no_path_mtu = without_path_mtu();
    if (no_path_mtu == NULL) {
        if (!settings->by_helper) {
            if (program_load(program, settings, MARKER_READS_DIRECTLY, pins, err) == 0)
                return 0;
            flowd_debug("marker", "%s; reading the kernel by a helper", err->message);
        }
        if (program_load(program, settings, MARKER_READS_BY_HELPER, pins, err) == 0)
            return 0;
        flowd_debug("marker", "%s; trying without the MTU of routes", err->message);
        no_path_mtu = "the kernel does not let programs read its memory (lockdown?)";
    }
    result = program_load(program, settings, MARKER_READS_NOTHING, pins, err);
    if (result == 0)
        program->no_path_mtu = no_path_mtu;
    return result;
}

int marker_program_load(struct marker_program *program,
                        const struct marker_program_settings *settings,
                        const struct marker_pins *pins, struct flowd_error *err)
{
    struct marker_program_settings here = *settings;
    int result = marker_program_check_privileges(err);

    if (result < 0)
        return result;
    here.without_mmap |= !can_map();
    return load(program, &here, pins, err);
}

/* Puts the maps of the first program into an object. */
static int reuse_maps(const struct marker_bpf *skeleton, const struct marker_program *program)
{
    const struct {
        struct bpf_map *map;
        int fd;
    } maps[MAPS] = {
        {skeleton->maps.FLOWD_MARKER_FLOWS, program->flows_fd},
        {skeleton->maps.flowd_bitmap, program->bitmap_fd},
        {skeleton->maps.bss, program->shared_fd},
        {skeleton->maps.flowd_counters, program->counters_fd},
        {skeleton->maps.flowd_fragments, program->fragments_fd},
    };
    int result = 0;

    for (unsigned i = 0; i < MAPS && result == 0; i++)
        result = bpf_map__reuse_fd(maps[i].map, maps[i].fd);
    return result;
}

/* Loads another program, or another instance of one, onto the maps of the first. */
static int load_onto_maps(struct marker_program *program, enum marker_link_header header,
                          bool spare, struct flowd_error *err)
{
    struct object object;
    int result;

    flowd_bpf_log_reset();
    result = open_object(&object, &program->settings, header, program->reading, err);
    if (result == 0) {
        result = reuse_maps(object.skeleton, program);
        if (result == 0)
            result = marker_bpf__load(object.skeleton);
        if (result == 0 && spare)
            program->spare_fds[header] = duplicate(bpf_program__fd(object.chosen.programs[header]));
        if (result == 0 && (spare ? program->spare_fds[header] < 0
                                  : take_program(program, &object.chosen, header) < 0))
            result = -errno;
        if (result < 0)
            result = explain_load_failure(MARKER_STAGE_LOAD, result, &program->settings, err);
    }
    close_object(&object);
    return result;
}

int marker_program_get(struct marker_program *program, enum marker_link_header header,
                       struct flowd_error *err)
{
    int result = 0;

    if (program->program_fds[header] < 0)
        result = load_onto_maps(program, header, false, err);
    return result < 0 ? result : program->program_fds[header];
}

int marker_program_spare(struct marker_program *program, enum marker_link_header header)
{
    struct flowd_error err;
    int result = 0;

    if (program->spare_fds[header] < 0)
        result = load_onto_maps(program, header, true, &err);
    return result < 0 ? result : program->spare_fds[header];
}

void marker_program_close(struct marker_program *program)
{
    const int fds[] = {program->program_fds[MARKER_ETHERNET_HEADER],
                       program->program_fds[MARKER_NO_LINK_HEADER],
                       program->spare_fds[MARKER_ETHERNET_HEADER],
                       program->spare_fds[MARKER_NO_LINK_HEADER],
                       program->flows_fd,
                       program->bitmap_fd,
                       program->shared_fd,
                       program->counters_fd,
                       program->fragments_fd};

    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *program = (struct marker_program)MARKER_PROGRAM_CLOSED;
}

struct marker_table_maps marker_program_maps(const struct marker_program *program)
{
    return (struct marker_table_maps){
        .flows_fd = program->flows_fd,
        .bitmap_fd = program->bitmap_fd,
        .shared_fd = program->shared_fd,
        .entries_max = program->settings.entries_max,
        .format = format_of(&program->settings),
        .adopted = program->adopted,
        .without_mmap = program->settings.without_mmap,
    };
}

int marker_program_pin(const struct marker_program *program, const struct marker_pins *pins)
{
    const struct {
        const char *name;
        int fd;
    } maps[MAPS] = {
        {MARKER_PIN_FLOWS, program->flows_fd},         {MARKER_PIN_BITMAP, program->bitmap_fd},
        {MARKER_PIN_SHARED, program->shared_fd},       {MARKER_PIN_COUNTERS, program->counters_fd},
        {MARKER_PIN_FRAGMENTS, program->fragments_fd},
    };
    int result = 0;

    for (unsigned i = 0; i < MAPS && result == 0; i++)
        result = marker_pins_put(pins, maps[i].name, maps[i].fd);
    return result;
}

int marker_program_counters(const struct marker_program *program, uint32_t slot,
                            struct flowd_marker_counters *counters)
{
    struct flowd_marker_counters sums = {0};
    int cpus = libbpf_num_possible_cpus();
    uint64_t *copies;
    int result = 0;

    if (cpus < 1)
        return cpus < 0 ? cpus : -EINVAL;
    copies = calloc((size_t)cpus, sizeof(*copies));
    if (copies == NULL)
        return -ENOMEM;
    for (unsigned verdict = 0; verdict < FLOWD_MARKER_VERDICTS && result == 0; verdict++) {
        uint32_t index = flowd_marker_counter(slot, verdict);

        result = bpf_map_lookup_elem(program->counters_fd, &index, copies);
        for (int cpu = 0; cpu < cpus; cpu++)
            sums.packets[verdict] += copies[cpu];
    }
    free(copies);
    if (result == 0)
        *counters = sums;
    return result;
}
