/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The description of the kernel's structures that a program is loaded with: BTF that holds the
 * members which the programs read, and nothing else.
 *
 * The loader would go through all of the kernel's BTF, some hundred thousand types, for each of
 * those members. Where the kernel's BTF is not as expected the loader is left to do so: it may know
 * better.
 */
#include "kernel_btf.h"

#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "btf_index.h"
#include "daemon/base/log.h"

#define MEMBERS_MAX 8
#define INTEGER_SIZES 4
#define BTF_SIZE_MAX (256u << 20)

/* What the programs read (ebpf/marker_kernel.bpf.h); "a.b" is the member b of the member a. */
static const struct {
    const char *name;
    const char *members[MEMBERS_MAX];
} structures[] = {
    {"sk_buff", {"dev", "sk", "_skb_refdst", "head", "data", "hdr_len", "cloned", "ip_summed"}},
    {"dst_entry", {"dev", "_metrics"}},
    {"dst_metrics", {NULL}},
    {"net_device", {"mtu", "ip6_ptr"}},
    {"inet6_dev", {"cnf.mtu6"}},
    {"ipv6_devconf", {"mtu6"}},
    {"inet_sock", {"pinet6"}},
    {"ipv6_pinfo", {"frag_size"}},
    {"inet_connection_sock", {"icsk_mtup.enabled"}},
};
#define STRUCTURES (sizeof(structures) / sizeof(structures[0]))
/* And the functions that make direct reading possible. */
#define CAST_CONTEXT STRUCTURES
#define CAST_POINTER (STRUCTURES + 1)
#define WANTED (STRUCTURES + 2)

/* BTF that is being made, of what is in the kernel's. */
struct making {
    struct btf *btf;
    const struct marker_btf_index *kernel;
    int integers[INTEGER_SIZES][2]; /* their numbers, by the logarithm of their size, and sign */
    int pointer;
};

static int add_simple_types(struct making *making)
{
    for (unsigned i = 0; i < INTEGER_SIZES; i++)
        for (unsigned sign = 0; sign < 2; sign++) {
            static const char *const names[INTEGER_SIZES][2] = {
                {"u8", "s8"}, {"u16", "s16"}, {"u32", "s32"}, {"u64", "s64"}};

            making->integers[i][sign] = btf__add_int(making->btf, names[i][sign], (size_t)1 << i,
                                                     sign ? BTF_INT_SIGNED : 0);
            if (making->integers[i][sign] < 0)
                return making->integers[i][sign];
        }
    making->pointer = btf__add_ptr(making->btf, 0);
    return making->pointer < 0 ? making->pointer : 0;
}

/* The number of a type like the kernel's, of those that were added first; or -EINVAL. */
static int simple_type(const struct making *making, uint32_t id)
{
    const struct btf_type *type = marker_btf_index_type(making->kernel, id);

    if (type != NULL && btf_kind(type) == BTF_KIND_PTR)
        return making->pointer;
    if (type == NULL || btf_kind(type) != BTF_KIND_INT)
        return -EINVAL;
    for (unsigned i = 0; i < INTEGER_SIZES; i++)
        if (type->size == 1u << i)
            return making->integers[i][(btf_int_encoding(type) & BTF_INT_SIGNED) != 0];
    return -EINVAL;
}

/* Adds a structure with one member: the first step of a path of two. */
static int add_inner(struct making *making, uint32_t id, const char *name)
{
    const struct btf_type *type = marker_btf_index_type(making->kernel, id);
    struct marker_btf_member member;
    int result = marker_btf_index_member(making->kernel, id, name, strlen(name), &member);
    int simple;
    int added;

    if (result < 0)
        return result;
    simple = simple_type(making, member.type);
    if (simple < 0)
        return simple;
    added = btf__add_struct(making->btf, marker_btf_index_name(making->kernel, type->name_off),
                            type->size);
    if (added < 0)
        return added;
    result = btf__add_field(making->btf, name, simple, member.bit_offset, member.bit_size);
    return result < 0 ? result : added;
}

/* A member of a structure as it is added. */
struct field {
    char name[32];
    int type;
    struct marker_btf_member member;
};

/* Returns 1, 0 if the kernel's structure has no such member, or -errno. */
static int find_field(struct making *making, uint32_t id, const char *path, struct field *field)
{
    size_t length = strcspn(path, ".");
    int result = marker_btf_index_member(making->kernel, id, path, length, &field->member);

    if (result == 0) {
        field->type = path[length] == '.' ? add_inner(making, field->member.type, path + length + 1)
                                          : simple_type(making, field->member.type);
        result = field->type < 0 ? field->type : 1;
        memcpy(field->name, path, length);
        field->name[length] = '\0';
    }
    return result == -ENOENT ? 0 : result;
}

/* The types of members come before the structure, whose members have to follow it at once. */
static int add_structure(struct making *making, uint32_t id, unsigned number)
{
    struct field fields[MEMBERS_MAX];
    unsigned count = 0;
    int result = 0;

    for (unsigned i = 0; i < MEMBERS_MAX && structures[number].members[i] != NULL; i++) {
        result = find_field(making, id, structures[number].members[i], &fields[count]);
        if (result < 0)
            return result;
        count += (unsigned)result;
    }
    result = btf__add_struct(making->btf, structures[number].name,
                             marker_btf_index_type(making->kernel, id)->size);
    for (unsigned i = 0; i < count && result >= 0; i++)
        result = btf__add_field(making->btf, fields[i].name, fields[i].type,
                                fields[i].member.bit_offset, fields[i].member.bit_size);
    return result < 0 ? result : 0;
}

/* A file with what is in the BTF. Returns its descriptor or -errno. */
static int make_file(const struct btf *btf)
{
    uint32_t size;
    const void *bytes = btf__raw_data(btf, &size);
    int fd = memfd_create("flowd-btf", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (bytes == NULL || write(fd, bytes, size) != (ssize_t)size) {
        close(fd);
        return -EIO;
    }
    return fd;
}

static int add_structures(struct making *making, const struct marker_btf_wanted *wanted)
{
    int result = add_simple_types(making);

    for (unsigned i = 0; i < STRUCTURES && result == 0; i++)
        if (wanted[i].id != 0)
            result = add_structure(making, wanted[i].id, i);
        else if (wanted[i].found > 0)
            result = -EINVAL;
    return result;
}

/* A file with BTF of the structures that were found, or none; or -errno. */
static int make_btf(const struct marker_btf_index *kernel, const struct marker_btf_wanted *wanted)
{
    struct making making = {.btf = btf__new_empty(), .kernel = kernel};
    int result;

    if (making.btf == NULL)
        return -ENOMEM;
    result = kernel != NULL ? add_structures(&making, wanted) : add_simple_types(&making);
    if (result == 0)
        result = make_file(making.btf);
    btf__free(making.btf);
    return result;
}

static uint32_t id_of(const struct marker_btf_wanted *wanted, const char *name)
{
    for (unsigned i = 0; i < STRUCTURES; i++)
        if (strcmp(wanted[i].name, name) == 0)
            return wanted[i].id;
    return 0;
}

int marker_kernel_describe(struct marker_kernel *kernel, const void *bytes, size_t size)
{
    struct marker_btf_wanted wanted[WANTED] = {
        [CAST_CONTEXT] = {.name = "bpf_cast_to_kern_ctx", .kind = BTF_KIND_FUNC},
        [CAST_POINTER] = {.name = "bpf_rdonly_cast", .kind = BTF_KIND_FUNC},
    };
    struct marker_btf_index index;
    int result;

    for (unsigned i = 0; i < STRUCTURES; i++)
        wanted[i] = (struct marker_btf_wanted){.name = structures[i].name, .kind = BTF_KIND_STRUCT};
    result = marker_btf_index_init(&index, bytes, size, wanted, WANTED);
    if (result < 0)
        return result;
    result = make_btf(&index, wanted);
    marker_btf_index_fini(&index);
    if (result < 0)
        return result;
    *kernel = (struct marker_kernel){
        .btf = result,
        .types = {.sk_buff = id_of(wanted, "sk_buff"),
                  .dst_entry = id_of(wanted, "dst_entry"),
                  .dst_metrics = id_of(wanted, "dst_metrics"),
                  .net_device = id_of(wanted, "net_device"),
                  .inet6_dev = id_of(wanted, "inet6_dev"),
                  .inet_sock = id_of(wanted, "inet_sock"),
                  .ipv6_pinfo = id_of(wanted, "ipv6_pinfo"),
                  .inet_connection_sock = id_of(wanted, "inet_connection_sock")},
        .cast_context = wanted[CAST_CONTEXT].id,
        .cast_pointer = wanted[CAST_POINTER].id,
    };
    return 0;
}

/* Since Linux 6.16 the file can be mapped; before that it is copied. Returns NULL on failure. */
static void *map_file(int fd, size_t size)
{
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    size_t length = 0;

    if (bytes != MAP_FAILED)
        return bytes;
    bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return NULL;
    while (length < size) {
        ssize_t got = read(fd, (char *)bytes + length, size - length);

        if (got <= 0) {
            munmap(bytes, size);
            return NULL;
        }
        length += (size_t)got;
    }
    return bytes;
}

static int describe_kernel(struct marker_kernel *kernel)
{
    int fd = open(MARKER_KERNEL_BTF, O_RDONLY | O_CLOEXEC);
    struct stat file;
    int result = -EINVAL;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &file) == 0 && file.st_size > 0 && file.st_size < BTF_SIZE_MAX) {
        void *bytes = map_file(fd, (size_t)file.st_size);

        result = -EIO;
        if (bytes != NULL) {
            result = marker_kernel_describe(kernel, bytes, (size_t)file.st_size);
            munmap(bytes, (size_t)file.st_size);
        }
    }
    close(fd);
    return result;
}

static bool can_read_directly(const struct marker_kernel *kernel)
{
    const struct flowd_marker_kernel_types *types = &kernel->types;

    return kernel->cast_context != 0 && kernel->cast_pointer != 0 && types->sk_buff != 0 &&
           types->dst_entry != 0 && types->dst_metrics != 0 && types->net_device != 0 &&
           types->inet6_dev != 0 && types->inet_sock != 0 && types->ipv6_pinfo != 0 &&
           types->inet_connection_sock != 0;
}

int marker_kernel_open(struct marker_kernel *kernel, enum marker_reading reading,
                       struct flowd_error *err)
{
    struct marker_kernel found = MARKER_KERNEL_CLOSED;
    int result;

    if (reading == MARKER_READS_NOTHING) {
        found.btf = make_btf(NULL, NULL);
        if (found.btf < 0)
            return flowd_fail_errno(err, -found.btf, "BTF for the BPF object");
    } else {
        result = describe_kernel(&found);
        if (result < 0)
            flowd_debug("marker", "%s is not as expected (%s); libbpf reads it", MARKER_KERNEL_BTF,
                        strerror(-result));
    }
    if (reading == MARKER_READS_DIRECTLY && !can_read_directly(&found)) {
        marker_kernel_close(&found);
        return flowd_fail(err, EOPNOTSUPP, "this kernel has no typed pointers for programs");
    }
    found.reading = reading;
    *kernel = found;
    return 0;
}

void marker_kernel_close(struct marker_kernel *kernel)
{
    if (kernel->btf >= 0)
        close(kernel->btf);
    kernel->btf = -1;
}
