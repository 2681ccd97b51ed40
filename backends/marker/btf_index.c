/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index of BTF: where each type is, and which of them have the names that are wanted.
 *
 * A type is as long as its kind and its count of members say, so that one has to go through all of
 * them to find any; a kind that is not known is the end of it. Every offset is checked before it is
 * followed.
 */
#include "btf_index.h"

#include <errno.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KINDS 20
/* Bits of btf_type.info that belong to nothing this file knows. */
#define INFO_UNKNOWN 0x60ff0000u
#define DEPTH_MAX 16
#define QUALIFIERS_MAX 64

/* How long what stands behind a type is: so much, and so much for each of its members. */
static const struct {
    uint8_t known;
    uint8_t fixed;
    uint8_t member;
} kinds[KINDS] = {
    [BTF_KIND_INT] = {1, 4, 0},        [BTF_KIND_PTR] = {1, 0, 0},
    [BTF_KIND_ARRAY] = {1, 12, 0},     [BTF_KIND_STRUCT] = {1, 0, 12},
    [BTF_KIND_UNION] = {1, 0, 12},     [BTF_KIND_ENUM] = {1, 0, 8},
    [BTF_KIND_FWD] = {1, 0, 0},        [BTF_KIND_TYPEDEF] = {1, 0, 0},
    [BTF_KIND_VOLATILE] = {1, 0, 0},   [BTF_KIND_CONST] = {1, 0, 0},
    [BTF_KIND_RESTRICT] = {1, 0, 0},   [BTF_KIND_FUNC] = {1, 0, 0},
    [BTF_KIND_FUNC_PROTO] = {1, 0, 8}, [BTF_KIND_VAR] = {1, 4, 0},
    [BTF_KIND_DATASEC] = {1, 0, 12},   [BTF_KIND_FLOAT] = {1, 0, 0},
    [BTF_KIND_DECL_TAG] = {1, 4, 0},   [BTF_KIND_TYPE_TAG] = {1, 0, 0},
    [BTF_KIND_ENUM64] = {1, 0, 12},
};

static bool is_struct(const struct btf_type *type)
{
    return BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT ||
           BTF_INFO_KIND(type->info) == BTF_KIND_UNION;
}

/* Bytes of a type with what stands behind it; 0: its kind is not known. */
static size_t type_size(const struct btf_type *type)
{
    unsigned kind = BTF_INFO_KIND(type->info);

    if (kind >= KINDS || !kinds[kind].known || (type->info & INFO_UNKNOWN) != 0)
        return 0;
    return sizeof(*type) + kinds[kind].fixed +
           (size_t)kinds[kind].member * BTF_INFO_VLEN(type->info);
}

const char *marker_btf_index_name(const struct marker_btf_index *index, uint32_t offset)
{
    return offset < index->strings_size ? index->strings + offset : "";
}

const struct btf_type *marker_btf_index_type(const struct marker_btf_index *index, uint32_t id)
{
    if (id == 0 || id >= index->count)
        return NULL;
    return (const struct btf_type *)(index->types + index->offsets[id]);
}

static void note_wanted(const struct marker_btf_index *index, const struct btf_type *type,
                        struct marker_btf_wanted *wanted, size_t wanted_count)
{
    unsigned kind = BTF_INFO_KIND(type->info);
    const char *name;

    if (kind != BTF_KIND_STRUCT && kind != BTF_KIND_FUNC)
        return;
    name = marker_btf_index_name(index, type->name_off);
    for (size_t i = 0; i < wanted_count; i++)
        if (wanted[i].kind == kind && wanted[i].name[0] == name[0] &&
            strcmp(wanted[i].name, name) == 0)
            wanted[i].id = wanted[i].found++ == 0 ? index->count : 0;
}

/* Goes through the types. */
static int fill(struct marker_btf_index *index, uint32_t types_size,
                struct marker_btf_wanted *wanted, size_t wanted_count)
{
    uint32_t at = 0;

    while (at < types_size) {
        const struct btf_type *type = (const struct btf_type *)(index->types + at);
        size_t size = types_size - at >= sizeof(*type) ? type_size(type) : 0;

        if (size == 0 || size > types_size - at)
            return -EINVAL;
        note_wanted(index, type, wanted, wanted_count);
        index->offsets[index->count++] = at;
        at += (uint32_t)size;
    }
    return 0;
}

/* Whether a part of the BTF, counted from the header's end, is within it and aligned. */
static bool is_within(uint32_t offset, uint32_t length, size_t size)
{
    return offset % sizeof(uint32_t) == 0 && offset <= size && length <= size - offset;
}

int marker_btf_index_init(struct marker_btf_index *index, const void *bytes, size_t size,
                          struct marker_btf_wanted *wanted, size_t wanted_count)
{
    struct marker_btf_index made = {.count = 1};
    const struct btf_header *header = bytes;
    const uint8_t *begin;
    int result;

    if (size < sizeof(*header) || header->magic != BTF_MAGIC || header->version != BTF_VERSION ||
        !is_within(header->hdr_len, 0, size) || header->hdr_len < sizeof(*header))
        return -EINVAL;
    begin = (const uint8_t *)bytes + header->hdr_len;
    size -= header->hdr_len;
    if (!is_within(header->type_off, header->type_len, size) || header->str_off > size ||
        header->str_len > size - header->str_off || header->str_len == 0)
        return -EINVAL;
    made.types = begin + header->type_off;
    made.strings = (const char *)begin + header->str_off;
    made.strings_size = header->str_len;
    if (made.strings[0] != '\0' || made.strings[made.strings_size - 1] != '\0')
        return -EINVAL;
    made.offsets = malloc((header->type_len / sizeof(struct btf_type) + 1) * sizeof(*made.offsets));
    if (made.offsets == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < wanted_count; i++)
        wanted[i].id = wanted[i].found = 0;
    result = fill(&made, header->type_len, wanted, wanted_count);
    if (result < 0)
        marker_btf_index_fini(&made);
    else
        *index = made;
    return result;
}

void marker_btf_index_fini(struct marker_btf_index *index)
{
    free(index->offsets);
    index->offsets = NULL;
    index->count = 0;
}

/* The type itself, without typedefs and qualifiers; 0: void, or there is none. */
static uint32_t skip_qualifiers(const struct marker_btf_index *index, uint32_t id)
{
    for (unsigned i = 0; i < QUALIFIERS_MAX; i++) {
        const struct btf_type *type = marker_btf_index_type(index, id);

        if (type == NULL)
            return 0;
        switch (BTF_INFO_KIND(type->info)) {
        case BTF_KIND_TYPEDEF:
        case BTF_KIND_VOLATILE:
        case BTF_KIND_CONST:
        case BTF_KIND_RESTRICT:
        case BTF_KIND_TYPE_TAG:
            id = type->type;
            break;
        default:
            return id;
        }
    }
    return 0;
}

static int find_member(const struct marker_btf_index *index, uint32_t structure, const char *name,
                       size_t length, unsigned depth, struct marker_btf_member *member)
{
    const struct btf_type *type = marker_btf_index_type(index, structure);
    const struct btf_member *members;

    if (type == NULL || !is_struct(type) || depth > DEPTH_MAX)
        return -EINVAL;
    members = (const struct btf_member *)(type + 1);
    for (unsigned i = 0; i < BTF_INFO_VLEN(type->info); i++) {
        const char *found = marker_btf_index_name(index, members[i].name_off);
        uint32_t id = skip_qualifiers(index, members[i].type);
        bool fields = BTF_INFO_KFLAG(type->info);
        uint32_t at = fields ? BTF_MEMBER_BIT_OFFSET(members[i].offset) : members[i].offset;
        int result;

        if (found[0] == '\0') {
            /* A bit field without a name is for the gap that it makes. */
            if (id == 0 || !is_struct(marker_btf_index_type(index, id)))
                continue;
            result = find_member(index, id, name, length, depth + 1, member);
            if (result == 0)
                member->bit_offset += at;
            if (result != -ENOENT)
                return result;
        } else if (strncmp(found, name, length) == 0 && found[length] == '\0') {
            *member = (struct marker_btf_member){
                .type = id,
                .bit_offset = at,
                .bit_size = fields ? BTF_MEMBER_BITFIELD_SIZE(members[i].offset) : 0,
            };
            return 0;
        }
    }
    return -ENOENT;
}

int marker_btf_index_member(const struct marker_btf_index *index, uint32_t structure,
                            const char *name, size_t length, struct marker_btf_member *member)
{
    return find_member(index, structure, name, length, 0, member);
}
