/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A STUN message is a header of 20 bytes and attributes of type, length and value, padded to four
 * bytes. The header's magic cookie and transaction id also mask the address in XOR-MAPPED-ADDRESS,
 * so that routers which rewrite addresses in payloads leave it alone.
 */
#include "stun_message.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#define HEADER_SIZE 20
#define ATTRIBUTE_HEADER_SIZE 4
#define MAGIC_COOKIE 0x2112a442u

#define BINDING_REQUEST 0x0001
#define BINDING_SUCCESS 0x0101
#define BINDING_ERROR 0x0111

#define MAPPED_ADDRESS 0x0001
#define ERROR_CODE 0x0009
#define XOR_MAPPED_ADDRESS 0x0020
#define FINGERPRINT 0x8028
/* Attributes below must be understood, or the answer must not be used (RFC 8489, 14). */
#define COMPREHENSION_OPTIONAL 0x8000
/* ... of which a server may send those of authentication, which do not change the address. */
#define USERNAME 0x0006
#define MESSAGE_INTEGRITY 0x0008
#define MESSAGE_INTEGRITY_SHA256 0x001c
#define REALM 0x0014
#define NONCE 0x0015
#define UNKNOWN_ATTRIBUTES 0x000a
/* ... and those of RFC 3489, 11.2, by which old servers tell of themselves. */
#define RESPONSE_ADDRESS 0x0002
#define CHANGE_REQUEST 0x0003
#define SOURCE_ADDRESS 0x0004
#define CHANGED_ADDRESS 0x0005
#define PASSWORD 0x0007
#define REFLECTED_FROM 0x000b

#define FAMILY_IPV4 1
#define FAMILY_IPV6 2
#define FINGERPRINT_MASK 0x5354554eu

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

static void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void flowd_stun_request(const struct flowd_stun_id *id,
                        uint8_t request[static FLOWD_STUN_REQUEST_SIZE])
{
    put_u16(request, BINDING_REQUEST);
    put_u16(request + 2, 0);
    put_u16(request + 4, MAGIC_COOKIE >> 16);
    put_u16(request + 6, MAGIC_COOKIE & 0xffff);
    memcpy(request + 8, id->bytes, FLOWD_STUN_ID_SIZE);
}

/* One attribute; its value lies in the message. */
struct attribute {
    uint16_t type;
    uint16_t length;
    const uint8_t *value;
};

/* What the attributes say. */
struct findings {
    bool has_address, is_xored; /* an XOR-MAPPED-ADDRESS goes before a MAPPED-ADDRESS, and of two
                                   the first counts (RFC 8489, 14) */
    struct flowd_address address;
    uint16_t port;
    int error_code;
    bool is_unusable; /* it has an attribute that would have to be understood */
    bool is_damaged;
};

/* Reads the value of a (XOR-)MAPPED-ADDRESS. mask: the cookie and the id, or NULL. */
static bool read_address(const struct attribute *attribute, const uint8_t *mask,
                         struct findings *findings)
{
    struct flowd_address address = {0};
    size_t size = attribute->length - 4u;

    if (attribute->length < 4 || !((attribute->value[1] == FAMILY_IPV4 && size == 4) ||
                                   (attribute->value[1] == FAMILY_IPV6 && size == 16)))
        return false;
    address.family = size == 4 ? AF_INET : AF_INET6;
    memcpy(&address.addr, attribute->value + 4, size);
    findings->port = get_u16(attribute->value + 2);
    for (size_t i = 0; mask != NULL && i < size; i++)
        address.addr.s6_addr[i] ^= mask[i];
    if (mask != NULL)
        findings->port ^= get_u16(mask);
    findings->address = address;
    findings->has_address = true;
    findings->is_xored = mask != NULL;
    return true;
}

static void read_error(const struct attribute *attribute, struct findings *findings)
{
    unsigned class, number;

    if (attribute->length < 4) {
        findings->is_damaged = true;
        return;
    }
    class = attribute->value[2] & 7;
    number = attribute->value[3];
    if (class < 3 || class > 6 || number > 99)
        findings->is_damaged = true;
    else
        findings->error_code = (int)(class * 100 + number);
}

/* The checksum covers the message up to the attribute, whose length counts already. */
static bool is_fingerprint(const struct attribute *attribute, const uint8_t *message)
{
    uLong sum = crc32(0, NULL, 0);

    sum = crc32(sum, message, (uInt)(attribute->value - ATTRIBUTE_HEADER_SIZE - message));
    return attribute->length == 4 &&
           get_u32(attribute->value) == ((uint32_t)sum ^ FINGERPRINT_MASK);
}

static void read_attribute(const struct attribute *attribute, const uint8_t *message,
                           struct findings *findings)
{
    switch (attribute->type) {
    case XOR_MAPPED_ADDRESS:
        if (!findings->is_xored)
            findings->is_damaged |= !read_address(attribute, message + 4, findings);
        break;
    case MAPPED_ADDRESS:
        if (!findings->has_address)
            findings->is_damaged |= !read_address(attribute, NULL, findings);
        break;
    case ERROR_CODE:
        read_error(attribute, findings);
        break;
    case FINGERPRINT:
        findings->is_damaged |= !is_fingerprint(attribute, message);
        break;
    case USERNAME:
    case MESSAGE_INTEGRITY:
    case MESSAGE_INTEGRITY_SHA256:
    case REALM:
    case NONCE:
    case UNKNOWN_ATTRIBUTES:
    case RESPONSE_ADDRESS:
    case CHANGE_REQUEST:
    case SOURCE_ADDRESS:
    case CHANGED_ADDRESS:
    case PASSWORD:
    case REFLECTED_FROM:
        break;
    default:
        findings->is_unusable |= attribute->type < COMPREHENSION_OPTIONAL;
        break;
    }
}

static void read_attributes(const uint8_t *message, size_t length, struct findings *findings)
{
    size_t at = HEADER_SIZE;

    while (at < length && !findings->is_damaged) {
        struct attribute attribute;
        size_t padded;

        if (length - at < ATTRIBUTE_HEADER_SIZE) {
            findings->is_damaged = true;
            return;
        }
        attribute.type = get_u16(message + at);
        attribute.length = get_u16(message + at + 2);
        attribute.value = message + at + ATTRIBUTE_HEADER_SIZE;
        padded = (attribute.length + 3u) & ~(size_t)3;
        if (padded > length - at - ATTRIBUTE_HEADER_SIZE) {
            findings->is_damaged = true;
            return;
        }
        read_attribute(&attribute, message, findings);
        /* Nothing behind the fingerprint counts (RFC 8489, 14.7). */
        if (attribute.type == FINGERPRINT)
            return;
        at += ATTRIBUTE_HEADER_SIZE + padded;
    }
}

/* Whether the header is that of a message whose size and id are right. */
static bool is_answer(const uint8_t *data, size_t length, const struct flowd_stun_id *id)
{
    return length >= HEADER_SIZE && (length & 3) == 0 &&
           (get_u16(data) == BINDING_SUCCESS || get_u16(data) == BINDING_ERROR) &&
           get_u16(data + 2) == length - HEADER_SIZE && get_u32(data + 4) == MAGIC_COOKIE &&
           memcmp(data + 8, id->bytes, FLOWD_STUN_ID_SIZE) == 0;
}

enum flowd_stun_verdict flowd_stun_read(const uint8_t *data, size_t length,
                                        const struct flowd_stun_id *id,
                                        struct flowd_stun_answer *answer)
{
    struct findings findings = {0};

    if (!is_answer(data, length, id))
        return FLOWD_STUN_FOREIGN;
    read_attributes(data, length, &findings);
    if (findings.is_damaged)
        return FLOWD_STUN_FOREIGN;
    if (get_u16(data) == BINDING_ERROR) {
        answer->error_code = findings.error_code;
        return FLOWD_STUN_ERROR;
    }
    if (findings.is_unusable || !findings.has_address)
        return FLOWD_STUN_UNUSABLE;
    answer->mapped = findings.address;
    answer->port = findings.port;
    return FLOWD_STUN_ADDRESS;
}
