/*
 * TCX by plain bpf(2) commands: the UAPI headers that flowd must build with are older than TCX, so
 * its numbers and the members of the query are declared here (Linux 6.6, include/uapi/linux/bpf.h).
 */
#include "tcx.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TCX_EGRESS 47
#define MPROG_BEFORE (1u << 3)
/* The most programs that one hook holds. */
#define MPROG_MAX 64

/* The part of union bpf_attr that BPF_PROG_QUERY uses. */
struct tcx_query {
    uint32_t target_index;
    uint32_t attach_type;
    uint32_t query_flags;
    uint32_t attach_flags;
    uint64_t program_ids;
    uint32_t count;
    uint32_t pad;
    uint64_t program_attach_flags;
    uint64_t link_ids;
    uint64_t link_attach_flags;
    uint64_t revision;
};

static int query(int index, uint32_t program_ids[static MPROG_MAX],
                 uint32_t link_ids[static MPROG_MAX])
{
    struct tcx_query attributes;

    memset(&attributes, 0, sizeof(attributes));
    attributes.target_index = (uint32_t)index;
    attributes.attach_type = TCX_EGRESS;
    attributes.program_ids = (uint64_t)(uintptr_t)program_ids;
    attributes.link_ids = (uint64_t)(uintptr_t)link_ids;
    attributes.count = MPROG_MAX;
    if (syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof(attributes)) < 0)
        return -errno;
    return (int)attributes.count;
}

bool marker_tcx_available(void)
{
    uint32_t program_ids[MPROG_MAX] = {0};
    uint32_t link_ids[MPROG_MAX] = {0};
    unsigned loopback = if_nametoindex("lo");

    return loopback > 0 && query((int)loopback, program_ids, link_ids) >= 0;
}

int marker_tcx_attach(int program_fd, int index)
{
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = MPROG_BEFORE);
    int fd = bpf_link_create(program_fd, index, (enum bpf_attach_type)TCX_EGRESS, &options);

    return fd < 0 ? -errno : fd;
}

bool marker_tcx_is_on(int link_fd, int index)
{
    uint32_t program_ids[MPROG_MAX] = {0};
    uint32_t link_ids[MPROG_MAX] = {0};
    struct bpf_link_info info = {0};
    uint32_t length = sizeof(info);
    int count;

    if (bpf_obj_get_info_by_fd(link_fd, &info, &length) < 0)
        return false;
    count = query(index, program_ids, link_ids);
    for (int i = 0; i < count && i < MPROG_MAX; i++)
        if (link_ids[i] == info.id)
            return true;
    return false;
}

int marker_tcx_replace(int link_fd, int program_fd)
{
    return bpf_link_update(link_fd, program_fd, NULL) < 0 ? -errno : 0;
}

void marker_tcx_detach(int link_fd)
{
    bpf_link_detach(link_fd);
    close(link_fd);
}
