/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of BTF, the type information of BPF
 * (https://docs.kernel.org/bpf/btf.html), for who wants a few types of very many.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A type to look for. */
struct marker_btf_wanted {
    const char *name;
    unsigned kind; /* BTF_KIND_STRUCT or BTF_KIND_FUNC */
    uint32_t id;   /* its number; 0: there is none, or more than one */
    unsigned found;
};

struct marker_btf_index {
    const uint8_t *types; /* borrowed, as the next */
    const char *strings;
    uint32_t strings_size;
    uint32_t *offsets; /* owned; of the types, by number; type 0 has none */
    uint32_t count;    /* with type 0 */
};

/* A member of a structure, wherever in it. */
struct marker_btf_member {
    uint32_t type;       /* without typedefs and qualifiers */
    uint32_t bit_offset; /* from the structure's beginning */
    uint32_t bit_size;   /* of a bit field; 0: it is none */
};

/*
 * Goes through size bytes of BTF once. Returns 0 and fills in where the wanted types are; -EINVAL
 * for what is not BTF as this file knows it, or -ENOMEM.
 */
int marker_btf_index_init(struct marker_btf_index *index, const void *bytes, size_t size,
                          struct marker_btf_wanted *wanted, size_t wanted_count);
void marker_btf_index_fini(struct marker_btf_index *index);

/*
 * Finds the member of a structure or union, also within its members without a name. length is the
 * name's. Returns 0, -ENOENT, or -EINVAL where the types make no sense.
 */
int marker_btf_index_member(const struct marker_btf_index *index, uint32_t structure,
                            const char *name, size_t length, struct marker_btf_member *member);

/* A type by its number; NULL: there is none. What a kind has behind it is there as a whole. */
const struct btf_type *marker_btf_index_type(const struct marker_btf_index *index, uint32_t id);
/* The name of a type or member, "" if it has none. */
const char *marker_btf_index_name(const struct marker_btf_index *index, uint32_t offset);
