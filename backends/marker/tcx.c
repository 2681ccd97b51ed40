/* SPDX-License-Identifier: Apache-2.0 */
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

#include "front.h"

#define TCX_EGRESS 47
#define LINK_TYPE_TCX 11
#define MPROG_BEFORE (1u << 3)

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

/* The part of struct bpf_link_info that tells of a TCX link. */
struct tcx_link_info {
    uint32_t type;
    uint32_t id;
    uint32_t program_id;
    uint32_t pad;
    uint32_t index;
    uint32_t attach_type;
};

static int query(int index, uint32_t program_ids[static MARKER_TCX_PROGRAMS],
                 uint32_t link_ids[static MARKER_TCX_PROGRAMS])
{
    struct tcx_query attributes;

    memset(&attributes, 0, sizeof(attributes));
    attributes.target_index = (uint32_t)index;
    attributes.attach_type = TCX_EGRESS;
    attributes.program_ids = (uint64_t)(uintptr_t)program_ids;
    attributes.link_ids = (uint64_t)(uintptr_t)link_ids;
    attributes.count = MARKER_TCX_PROGRAMS;
    if (syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof(attributes)) < 0)
        return -errno;
    return (int)attributes.count;
}

bool marker_tcx_available(void)
{
    uint32_t program_ids[MARKER_TCX_PROGRAMS] = {0};
    uint32_t link_ids[MARKER_TCX_PROGRAMS] = {0};
    unsigned loopback = if_nametoindex("lo");

    return loopback > 0 && query((int)loopback, program_ids, link_ids) >= 0;
}

int marker_tcx_attach(int program_fd, int index)
{
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = MPROG_BEFORE);
    int fd = bpf_link_create(program_fd, index, (enum bpf_attach_type)TCX_EGRESS, &options);

    return fd < 0 ? -errno : fd;
}

bool marker_tcx_is_own(int link_fd)
{
    struct bpf_link_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(link_fd, &info, &length) == 0 && info.type == LINK_TYPE_TCX &&
           !marker_front_is_foreign(info.prog_id);
}

int marker_tcx_index(int link_fd)
{
    struct tcx_link_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(link_fd, &info, &length) < 0 ? 0 : (int)info.index;
}

uint32_t marker_tcx_program(int link_fd)
{
    struct tcx_link_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(link_fd, &info, &length) < 0 ? 0 : info.program_id;
}

int marker_tcx_list(int index, uint32_t programs[static MARKER_TCX_PROGRAMS])
{
    uint32_t link_ids[MARKER_TCX_PROGRAMS] = {0};
    int count = query(index, programs, link_ids);

    return count < MARKER_TCX_PROGRAMS ? count : MARKER_TCX_PROGRAMS;
}

/* The link's id; 0: it can't be asked. */
static uint32_t id_of_link(int link_fd)
{
    struct bpf_link_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(link_fd, &info, &length) < 0 ? 0 : info.id;
}

int marker_tcx_look(int link_fd, int index, struct marker_front *front)
{
    uint32_t program_ids[MARKER_TCX_PROGRAMS] = {0};
    uint32_t link_ids[MARKER_TCX_PROGRAMS] = {0};
    uint32_t own = link_fd >= 0 ? id_of_link(link_fd) : 0;
    int count = query(index, program_ids, link_ids), place = 0;

    if (count < 0)
        return count == -ENOENT && link_fd < 0 ? 0 : count;
    if (count > MARKER_TCX_PROGRAMS)
        count = MARKER_TCX_PROGRAMS;
    while (place < count && (own == 0 || link_ids[place] != own))
        place++;
    if (link_fd >= 0 && place == count)
        return -ENOENT;
    for (int i = 0; i < place; i++)
        marker_front_add_program(front, "TCX program", program_ids[i]);
    return 0;
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
