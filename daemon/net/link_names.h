/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of interfaces: each has one of up to 15 characters and, from Linux 5.5 on, any number
 * of alternative ones of up to 127 (ip-link(8), "altname").
 */
#pragma once

#include <stdbool.h>

/* A name of either kind with its NUL. */
#define FLOWD_LINK_NAME_SIZE 128

struct nlattr;

/*
 * The alternative names in the attributes of a link's message, of which attributes are indexed up
 * to FLOWD_LINK_ATTRIBUTE_MAX: each with its NUL, and an empty one at the end. Returns owned; NULL:
 * there is none, or no memory.
 */
#define FLOWD_LINK_ATTRIBUTE_MAX 64
char *flowd_link_names_read(struct nlattr *const attributes[static FLOWD_LINK_ATTRIBUTE_MAX + 1]);

/* Whether name is among them; names may be NULL. */
bool flowd_link_names_have(const char *names, const char *name);
/* Whether both lists are the same, in the same order; either may be NULL. */
bool flowd_link_names_equal(const char *names, const char *others);

/* The index of the interface with this name of either kind, from the kernel; 0: there is none. */
unsigned flowd_link_names_index(const char *name);
