/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The description of the kernel's structures: what libbpf finds of a member in it is what it finds
 * in the kernel's own BTF, and of BTF that is damaged there is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/btf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "btf_index.h"
#include "kernel_btf.h"

/* Bits of struct sk_buff below, of which each member is somewhere else. */
enum { SK = 192, REFDST = 704, HDR_LEN = 1104, CLONED = 1121, IP_SUMMED = 1125, HEAD = 1600 };

/* The numbers of what make_kernel() makes. */
static int sk_buff, dst_entry, inet6_dev, cast_context, cast_pointer;

/*
 * BTF as the kernel's: members in structures and unions without a name, bit fields, types with
 * qualifiers and names, a structure within another.
 */
static struct btf *make_kernel(void)
{
    struct btf *btf = btf__new_empty();
    int s32, u32, u16, u8, word, byte, pointer, refdst, group, bits, devconf, qualified, proto;

    assert_non_null(btf);
    s32 = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
    u32 = btf__add_int(btf, "unsigned int", 4, 0);
    u16 = btf__add_int(btf, "unsigned short", 2, 0);
    u8 = btf__add_int(btf, "unsigned char", 1, 0);
    word = btf__add_int(btf, "unsigned long", 8, 0);
    byte = btf__add_typedef(btf, "__u8", u8);
    pointer = btf__add_ptr(btf, 0);
    qualified = btf__add_const(btf, btf__add_volatile(btf, btf__add_typedef(btf, "u16_t", u16)));
    refdst = btf__add_union(btf, NULL, 8);
    btf__add_field(btf, "tcp_tsorted_anchor", pointer, 0, 0);
    btf__add_field(btf, "_skb_refdst", word, 0, 0);
    group = btf__add_struct(btf, NULL, 16);
    btf__add_field(btf, "other", word, 0, 0);
    btf__add_field(btf, NULL, refdst, 64, 0);
    bits = btf__add_struct(btf, NULL, 4);
    btf__add_field(btf, "probe_size", u32, 0, 31);
    btf__add_field(btf, "enabled", u32, 31, 1);
    sk_buff = btf__add_struct(btf, "sk_buff", 224);
    btf__add_field(btf, "sk", pointer, SK, 0);
    btf__add_field(btf, NULL, group, REFDST - 64, 0);
    btf__add_field(btf, "hdr_len", qualified, HDR_LEN, 0);
    btf__add_field(btf, NULL, byte, CLONED - 1, 1);
    btf__add_field(btf, "cloned", byte, CLONED, 1);
    btf__add_field(btf, "ip_summed", byte, IP_SUMMED, 2);
    btf__add_field(btf, "head", pointer, HEAD, 0);
    dst_entry = btf__add_struct(btf, "dst_entry", 128);
    btf__add_field(btf, "dev", pointer, 0, 0);
    btf__add_field(btf, "_metrics", word, 128, 0);
    devconf = btf__add_struct(btf, "ipv6_devconf", 264);
    btf__add_field(btf, "mtu6", s32, 96, 0);
    inet6_dev = btf__add_struct(btf, "inet6_dev", 1056);
    btf__add_field(btf, "cnf", devconf, 4096, 0);
    btf__add_struct(btf, "inet_connection_sock", 1400);
    btf__add_field(btf, "icsk_mtup", bits, 8000, 0);
    proto = btf__add_func_proto(btf, pointer);
    btf__add_func_param(btf, "obj", pointer);
    cast_context = btf__add_func(btf, "bpf_cast_to_kern_ctx", BTF_FUNC_STATIC, proto);
    btf__add_enum(btf, "sk_buff", 4);
    btf__add_enum_value(btf, "one", 1);
    cast_pointer = btf__add_func(btf, "bpf_rdonly_cast", BTF_FUNC_STATIC, proto);
    assert_true(cast_pointer > 0);
    return btf;
}

/* Describes what is in the BTF. */
static int describe(const struct btf *btf, struct marker_kernel *kernel)
{
    uint32_t size;
    const void *bytes = btf__raw_data(btf, &size);

    assert_non_null(bytes);
    return marker_kernel_describe(kernel, bytes, size);
}

/* What was described, as libbpf reads it. */
static struct btf *read_description(const struct marker_kernel *kernel)
{
    char path[32];
    struct btf *btf;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", kernel->btf);
    btf = btf__parse(path, NULL);
    assert_non_null(btf);
    return btf;
}

/* The member of a structure that has the name; its number counts from 0. */
static const struct btf_type *find(const struct btf *btf, const char *structure, const char *name,
                                   uint32_t *member)
{
    int id = btf__find_by_name_kind(btf, structure, BTF_KIND_STRUCT);
    const struct btf_type *type = btf__type_by_id(btf, (uint32_t)id);

    assert_true(id > 0);
    for (uint32_t i = 0; i < btf_vlen(type); i++)
        if (strcmp(btf__name_by_offset(btf, btf_members(type)[i].name_off), name) == 0) {
            *member = i;
            return type;
        }
    return NULL;
}

static void check(const struct btf *btf, const char *structure, const char *name, uint32_t offset,
                  uint32_t bits, int64_t size)
{
    uint32_t member = 0;
    const struct btf_type *type = find(btf, structure, name, &member);

    assert_non_null(type);
    assert_int_equal(btf_member_bit_offset(type, member), offset);
    assert_int_equal(btf_member_bitfield_size(type, member), bits);
    assert_int_equal(btf__resolve_size(btf, btf_members(type)[member].type), size);
}

static void test_members(void **state)
{
    struct btf *kernel_btf = make_kernel();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;
    struct btf *found;
    uint32_t member;

    (void)state;
    assert_int_equal(describe(kernel_btf, &kernel), 0);
    found = read_description(&kernel);
    check(found, "sk_buff", "sk", SK, 0, 8);
    check(found, "sk_buff", "_skb_refdst", REFDST, 0, 8);
    check(found, "sk_buff", "hdr_len", HDR_LEN, 0, 2);
    check(found, "sk_buff", "cloned", CLONED, 1, 1);
    check(found, "sk_buff", "ip_summed", IP_SUMMED, 2, 1);
    check(found, "sk_buff", "head", HEAD, 0, 8);
    check(found, "dst_entry", "_metrics", 128, 0, 8);
    check(found, "ipv6_devconf", "mtu6", 96, 0, 4);
    check(found, "inet6_dev", "cnf", 4096, 0, 264);
    check(found, "inet_connection_sock", "icsk_mtup", 8000, 0, 4);
    /* What the kernel does not have is left out. */
    assert_null(find(found, "sk_buff", "data", &member));
    assert_int_equal(btf__find_by_name(found, "net_device"), -ENOENT);
    btf__free(found);
    btf__free(kernel_btf);
    marker_kernel_close(&kernel);
}

static void test_numbers(void **state)
{
    struct btf *kernel_btf = make_kernel();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;

    (void)state;
    assert_int_equal(describe(kernel_btf, &kernel), 0);
    assert_int_equal(kernel.types.dst_entry, dst_entry);
    assert_int_equal(kernel.types.inet6_dev, inet6_dev);
    assert_int_equal(kernel.types.net_device, 0);
    assert_int_equal(kernel.cast_context, cast_context);
    assert_int_equal(kernel.cast_pointer, cast_pointer);
    btf__free(kernel_btf);
    marker_kernel_close(&kernel);
}

/* Two structures of one name: nobody knows which one is meant. */
static void test_ambiguous(void **state)
{
    struct btf *kernel_btf = make_kernel();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;

    (void)state;
    assert_true(btf__add_struct(kernel_btf, "dst_entry", 8) > 0);
    assert_int_equal(describe(kernel_btf, &kernel), -EINVAL);
    btf__free(kernel_btf);
}

/* A member of a type that can't be described. */
static void test_unusual_member(void **state)
{
    struct btf *kernel_btf = make_kernel();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;

    (void)state;
    assert_true(btf__add_struct(kernel_btf, "ipv6_pinfo", 8) > 0);
    assert_int_equal(btf__add_field(kernel_btf, "frag_size", sk_buff, 0, 0), 0);
    assert_int_equal(describe(kernel_btf, &kernel), -EINVAL);
    btf__free(kernel_btf);
}

/* Cut off anywhere, and with any byte changed: refused, or described, and never read beyond. */
static void test_damaged(void **state)
{
    struct btf *kernel_btf = make_kernel();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;
    uint32_t size;
    const uint8_t *bytes = btf__raw_data(kernel_btf, &size);

    (void)state;
    for (uint32_t length = 0; length < size; length++) {
        uint8_t *cut = malloc(length + 1);

        assert_non_null(cut);
        memcpy(cut, bytes, length);
        assert_int_equal(marker_kernel_describe(&kernel, cut, length), -EINVAL);
        free(cut);
    }
    for (uint32_t at = 0; at < size; at++) {
        static const uint8_t changes[] = {0x01, 0x80, 0xff};

        for (unsigned i = 0; i < sizeof(changes); i++) {
            uint8_t *changed = malloc(size);

            assert_non_null(changed);
            memcpy(changed, bytes, size);
            changed[at] ^= changes[i];
            if (marker_kernel_describe(&kernel, changed, size) == 0)
                marker_kernel_close(&kernel);
            free(changed);
        }
    }
    btf__free(kernel_btf);
}

/* A kind that is not known: nobody knows how long it is. */
static void test_unknown_kind(void **state)
{
    struct btf *kernel_btf = make_kernel();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;
    uint32_t size;
    const void *bytes = btf__raw_data(kernel_btf, &size);
    uint8_t *changed = malloc(size);
    struct btf_type *first;

    (void)state;
    assert_non_null(changed);
    memcpy(changed, bytes, size);
    first = (struct btf_type *)(changed + sizeof(struct btf_header));
    first->info = 31u << 24;
    assert_int_equal(marker_kernel_describe(&kernel, changed, size), -EINVAL);
    free(changed);
    btf__free(kernel_btf);
}

/* A structure within itself, which has no end. */
static void test_endless(void **state)
{
    struct btf *btf = btf__new_empty();
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;

    (void)state;
    assert_int_equal(btf__add_struct(btf, "sk_buff", 8), 1);
    assert_int_equal(btf__add_field(btf, NULL, 1, 0, 0), 0);
    assert_int_equal(describe(btf, &kernel), -EINVAL);
    btf__free(btf);
}

/* The running kernel's, by both readers. */
static void test_running_kernel(void **state)
{
    static const struct {
        const char *structure, *member;
    } plain[] = {{"dst_entry", "_metrics"}, {"net_device", "mtu"}, {"ipv6_devconf", "mtu6"},
                 {"inet6_dev", "cnf"},      {"sk_buff", "data"},   {"sk_buff", "hdr_len"}};
    struct marker_kernel kernel = MARKER_KERNEL_CLOSED;
    struct btf *theirs = btf__parse(MARKER_KERNEL_BTF, NULL);
    struct btf *ours;
    struct flowd_error err;

    (void)state;
    if (theirs == NULL) {
        print_message("this kernel does not describe its structures\n");
        skip();
    }
    assert_int_equal(marker_kernel_open(&kernel, MARKER_READS_BY_HELPER, &err), 0);
    ours = read_description(&kernel);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        uint32_t member = 0;
        const struct btf_type *type = find(theirs, plain[i].structure, plain[i].member, &member);
        int64_t size;

        /* Some versions have a member within another without a name. */
        if (type == NULL)
            continue;
        size = btf__resolve_size(theirs, btf_members(type)[member].type);
        check(ours, plain[i].structure, plain[i].member, btf_member_bit_offset(type, member), 0,
              size);
    }
    assert_int_equal(kernel.types.dst_entry,
                     btf__find_by_name_kind(theirs, "dst_entry", BTF_KIND_STRUCT));
    btf__free(ours);
    btf__free(theirs);
    marker_kernel_close(&kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_ambiguous), cmocka_unit_test(test_unusual_member),
        cmocka_unit_test(test_damaged),   cmocka_unit_test(test_unknown_kind),
        cmocka_unit_test(test_endless),   cmocka_unit_test(test_running_kernel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
