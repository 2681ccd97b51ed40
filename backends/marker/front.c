/*
 * What stands before flowd's program, in words for users: see front.h.
 */
#include "front.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How the names of flowd's programs begin. */
static const char own_name[] = "flowd_marker";

/* Copies the program's name; "" if it has none, or may not be known. */
static void find_name(uint32_t program, char name[static BPF_OBJ_NAME_LEN])
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    int fd = bpf_prog_get_fd_by_id(program);

    name[0] = '\0';
    if (fd < 0)
        return;
    if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
        snprintf(name, BPF_OBJ_NAME_LEN, "%.*s", (int)sizeof(info.name), info.name);
    close(fd);
}

void marker_front_add_program(struct marker_front *front, const char *what, uint32_t program)
{
    char name[BPF_OBJ_NAME_LEN];

    find_name(program, name);
    if (strncmp(name, own_name, strlen(own_name)) == 0)
        return;
    if (front->count++ == 0)
        snprintf(front->first, sizeof(front->first), "%s %u (\"%s\")", what, program, name);
}

void marker_front_add_filter(struct marker_front *front, const char *kind, uint32_t priority)
{
    if (front->count++ == 0)
        snprintf(front->first, sizeof(front->first), "%s filter of priority %u", kind, priority);
}
