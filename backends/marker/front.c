/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes what stands before flowd's program at an interface, in words for users: the first of the
 * programs and filters there with its number and name, and how many there are.
 */
#include "front.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How the names of flowd's programs begin. */
static const char own_name[] = "flowd_marker";

/* Copies the program's name; "" if it has none. Returns false if it may not be known. */
static bool find_name(uint32_t program, char name[static BPF_OBJ_NAME_LEN])
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    int fd = bpf_prog_get_fd_by_id(program);
    bool known;

    name[0] = '\0';
    if (fd < 0)
        return false;
    known = bpf_obj_get_info_by_fd(fd, &info, &length) == 0;
    if (known)
        snprintf(name, BPF_OBJ_NAME_LEN, "%.*s", (int)sizeof(info.name), info.name);
    close(fd);
    return known;
}

bool marker_front_is_own_name(const char *name)
{
    return strncmp(name, own_name, strlen(own_name)) == 0;
}

bool marker_front_is_foreign(uint32_t program)
{
    char name[BPF_OBJ_NAME_LEN];

    return find_name(program, name) && !marker_front_is_own_name(name);
}

void marker_front_add_program(struct marker_front *front, const char *what, uint32_t program)
{
    char name[BPF_OBJ_NAME_LEN];

    find_name(program, name);
    if (marker_front_is_own_name(name))
        return;
    if (front->count++ == 0)
        snprintf(front->first, sizeof(front->first), "%s %u (\"%s\")", what, program, name);
}

void marker_front_add_filter(struct marker_front *front, const char *kind, uint32_t priority)
{
    if (front->count++ == 0)
        snprintf(front->first, sizeof(front->first), "%s filter of priority %u", kind, priority);
}
