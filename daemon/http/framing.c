/*
 * The strict framing checker: header blocks, byte by byte (chunked bodies: chunks.c).
 *
 * Its rules are those of RFC 9112 without the tolerances that the RFC leaves to recipients, because
 * each tolerance is a place where two programs on one path may see different messages.
 */
#include "framing.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "daemon/base/integer.h"

#define METHOD_MAX 32

#define is(name, length, literal)                                                                  \
    ((length) == sizeof(literal) - 1 && strncasecmp((name), (literal), sizeof(literal) - 1) == 0)

struct head_counts {
    unsigned content_length;
    unsigned transfer_encoding;
    unsigned host;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool flowd_http_is_token(char c)
{
    return is_alphanumeric(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

int flowd_http_hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool flowd_http_is_control(char c)
{
    unsigned char byte = (unsigned char)c;

    return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

int64_t flowd_http_head_scan(const char *data, size_t length, size_t *scanned, const char **reason)
{
    for (size_t i = *scanned; i < length; i++) {
        char c = data[i];
        bool after_cr = i > 0 && data[i - 1] == '\r';

        if (c == '\n') {
            if (!after_cr) {
                *reason = "a line ends with LF alone";
                return -EBADMSG;
            }
            if (i == 1) {
                *reason = "the request line is empty";
                return -EBADMSG;
            }
            if (i >= 3 && data[i - 2] == '\n') {
                *scanned = i + 1;
                return (int64_t)(i + 1);
            }
        } else if (after_cr) {
            *reason = "CR without LF";
            return -EBADMSG;
        } else if (c != '\r' && flowd_http_is_control(c)) {
            *reason = "a control character in the header";
            return -EBADMSG;
        }
    }
    *scanned = length;
    return 0;
}

/* The host of a Host header: a name or an address, perhaps with a port. Empty is allowed. */
static bool is_host(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(text[i]) && (text[i] == '\0' || strchr("-._~:[]%", text[i]) == NULL))
            return false;
    return true;
}

static bool is_target(const char *target, size_t length, bool options)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)target[i] <= 0x20 || (unsigned char)target[i] >= 0x7f ||
            target[i] == '#')
            return false;
    if (length >= 1 && target[0] == '/')
        return true;
    if (length > 7 && strncasecmp(target, "http://", 7) == 0)
        return target[7] != '/';
    return options && length == 1 && target[0] == '*';
}

static int check_request_line(const char *line, size_t length, struct flowd_http_framing *out,
                              const char **reason)
{
    size_t method = 0;
    const char *space;
    const char *target;
    const char *version;

    while (method < length && flowd_http_is_token(line[method]))
        method++;
    if (method == 0 || method > METHOD_MAX || method == length || line[method] != ' ') {
        *reason = "the request line has no proper method";
        return 400;
    }
    target = line + method + 1;
    space = memchr(target, ' ', length - method - 1);
    if (space == NULL) {
        *reason = "the request line has no version";
        return 400;
    }
    if (!is_target(target, (size_t)(space - target), is(line, method, "OPTIONS"))) {
        *reason = "the request target is not a path";
        return 400;
    }
    version = space + 1;
    if (line + length - version != 8 || memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7])) {
        *reason = "the request line does not end with an HTTP version";
        return 400;
    }
    if (version[5] != '1' || version[7] > '1') {
        *reason = "only HTTP/1.0 and HTTP/1.1 are spoken here";
        return 505;
    }
    out->minor = (uint8_t)(version[7] - '0');
    return 0;
}

static const char *check_field(const char *name, size_t name_length, const char *value,
                               size_t length, struct flowd_http_framing *out,
                               struct head_counts *counts)
{
    if (is(name, name_length, "Content-Length")) {
        if (counts->content_length++ > 0)
            return "more than one Content-Length";
        if (flowd_integer_parse(value, length, 0, INT64_MAX, &out->content_length) != 0)
            return "Content-Length is not a number";
    } else if (is(name, name_length, "Transfer-Encoding")) {
        if (counts->transfer_encoding++ > 0)
            return "more than one Transfer-Encoding";
        if (!is(value, length, "chunked"))
            return "a Transfer-Encoding other than chunked";
        out->chunked = true;
    } else if (is(name, name_length, "Host")) {
        if (counts->host++ > 0)
            return "more than one Host";
        if (!is_host(value, length))
            return "Host is not a host";
    } else if (is(name, name_length, "Expect")) {
        out->expect_continue = is(value, length, "100-continue");
    } else if (is(name, name_length, "Content-Encoding")) {
        out->encoded |= !is(value, length, "identity");
    }
    return NULL;
}

static const char *check_line(const char *line, size_t length, struct flowd_http_framing *out,
                              struct head_counts *counts)
{
    size_t name = 0;
    const char *value;

    if (line[0] == ' ' || line[0] == '\t')
        return "a header line that begins with a blank";
    while (name < length && flowd_http_is_token(line[name]))
        name++;
    if (name < length && (line[name] == ' ' || line[name] == '\t'))
        return "a blank in or after a header name";
    if (name == 0 || name == length || line[name] != ':')
        return "a header line without a proper name";
    value = line + name + 1;
    length -= name + 1;
    for (size_t i = 0; i < length; i++)
        if (flowd_http_is_control(value[i]))
            return "a control character in a header value";
    while (length > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        length--;
    }
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
        length--;
    return check_field(line, name, value, length, out, counts);
}

int flowd_http_head_check(const char *head, size_t length, struct flowd_http_framing *out,
                          const char **reason)
{
    struct flowd_http_framing framing = {0};
    struct head_counts counts = {0};
    const char *end = head + length - 2; /* the empty line */
    const char *line = head;
    const char *line_end = memchr(line, '\r', length);
    int status = check_request_line(line, (size_t)(line_end - line), &framing, reason);

    if (status != 0)
        return status;
    for (line = line_end + 2; line < end; line = line_end + 2) {
        const char *wrong;

        line_end = memchr(line, '\r', (size_t)(head + length - line));
        wrong = check_line(line, (size_t)(line_end - line), &framing, &counts);
        if (wrong != NULL) {
            *reason = wrong;
            return 400;
        }
    }
    if (counts.transfer_encoding > 0 && counts.content_length > 0) {
        *reason = "both Content-Length and Transfer-Encoding";
        return 400;
    }
    if (counts.transfer_encoding > 0 && framing.minor == 0) {
        *reason = "Transfer-Encoding in an HTTP/1.0 request";
        return 400;
    }
    if (framing.minor == 1 && counts.host == 0) {
        *reason = "an HTTP/1.1 request without Host";
        return 400;
    }
    *out = framing;
    return 0;
}

void flowd_http_head_blank_tabs(char *head, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (head[i] == '\t')
            head[i] = ' ';
}
