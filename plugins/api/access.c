/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of who may use the API: the token file and the comparison of tokens, requests that a
 * browser makes for another site's page, and the content type. Pure but for reading the file.
 */
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define TOKEN_FILE_MAX (1024 * 1024)

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Fills items from text; returns how many there are. items may be NULL, to count. */
static size_t split_lines(const char *text, size_t length, struct flowd_http_slice *items)
{
    size_t count = 0;

    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        size_t line = newline != NULL ? (size_t)(newline - text) : length;
        const char *begin = text;
        size_t kept = line;

        while (kept > 0 && is_blank(*begin)) {
            begin++;
            kept--;
        }
        while (kept > 0 && is_blank(begin[kept - 1]))
            kept--;
        if (kept > 0) {
            if (items != NULL)
                items[count] = (struct flowd_http_slice){begin, kept};
            count++;
        }
        text += newline != NULL ? line + 1 : line;
        length -= newline != NULL ? line + 1 : line;
    }
    return count;
}

/* Reads the file into *out (owned). Returns its length or -errno. */
static ssize_t read_file(const char *path, char **out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    char *text = NULL;
    ssize_t length = -1;
    int result = 0;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) != 0)
        result = -errno;
    else if (!S_ISREG(status.st_mode))
        result = -EINVAL;
    else if (status.st_size > TOKEN_FILE_MAX)
        result = -EFBIG;
    if (result == 0 && (status.st_mode & S_IROTH) != 0)
        flowd_warning("api", "everybody on this machine can read the tokens in %s", path);
    if (result == 0) {
        text = malloc((size_t)status.st_size + 1);
        length = text != NULL ? read(fd, text, (size_t)status.st_size) : -1;
        result = text == NULL ? -ENOMEM : length < 0 ? -errno : 0;
    }
    close(fd);
    if (result != 0) {
        free(text);
        return result;
    }
    *out = text;
    return length;
}

int api_tokens_read(const char *path, struct api_tokens *out, struct flowd_error *err)
{
    struct api_tokens tokens = {0};
    ssize_t length;

    if (path[0] == '\0') {
        *out = tokens;
        return 0;
    }
    length = read_file(path, &tokens.text);
    if (length < 0)
        return flowd_fail_errno(err, (int)-length, "tokenFile %s", path);
    tokens.count = split_lines(tokens.text, (size_t)length, NULL);
    if (tokens.count == 0) {
        free(tokens.text);
        return flowd_fail(err, EINVAL, "tokenFile %s: holds no token", path);
    }
    tokens.items = calloc(tokens.count, sizeof(*tokens.items));
    if (tokens.items == NULL) {
        free(tokens.text);
        return flowd_fail_errno(err, ENOMEM, "tokenFile %s", path);
    }
    split_lines(tokens.text, (size_t)length, tokens.items);
    *out = tokens;
    return 0;
}

void api_tokens_fini(struct api_tokens *tokens)
{
    free(tokens->items);
    free(tokens->text);
    *tokens = (struct api_tokens){0};
}

/* Takes the same time wherever the two differ; the length of a token is no secret. */
static bool equal(struct flowd_http_slice token, struct flowd_http_slice given)
{
    volatile unsigned char difference = token.length != given.length;

    for (size_t i = 0; i < given.length; i++)
        difference |= (unsigned char)(token.data[i % token.length] ^ given.data[i]);
    return difference == 0;
}

bool api_tokens_match(const struct api_tokens *tokens, struct flowd_http_slice authorization)
{
    static const char scheme[] = "Bearer ";
    struct flowd_http_slice given;
    bool match = false;

    if (authorization.length < sizeof(scheme) - 1 ||
        strncasecmp(authorization.data, scheme, sizeof(scheme) - 1) != 0)
        return false;
    given.data = authorization.data + sizeof(scheme) - 1;
    given.length = authorization.length - (sizeof(scheme) - 1);
    while (given.length > 0 && *given.data == ' ') {
        given.data++;
        given.length--;
    }
    for (size_t i = 0; i < tokens->count; i++)
        match |= equal(tokens->items[i], given);
    return match;
}

static bool is_text(struct flowd_http_slice slice, const char *text)
{
    return slice.length == strlen(text) && strncasecmp(slice.data, text, slice.length) == 0;
}

/* Whether an origin is that of the host that is asked. "null" is none. */
static bool is_own_origin(struct flowd_http_slice origin, struct flowd_http_slice host)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t length = strlen(schemes[i]);

        if (origin.length == length + host.length &&
            strncasecmp(origin.data, schemes[i], length) == 0 &&
            strncasecmp(origin.data + length, host.data, host.length) == 0)
            return true;
    }
    return false;
}

bool api_is_cross_site(const struct flowd_http_request *request)
{
    if (request->fetch_site.length > 0 && !is_text(request->fetch_site, "none") &&
        !is_text(request->fetch_site, "same-origin"))
        return true;
    return request->origin.length > 0 && !is_own_origin(request->origin, request->host);
}

bool api_is_json(struct flowd_http_slice content_type)
{
    const char *semicolon =
        content_type.length > 0 ? memchr(content_type.data, ';', content_type.length) : NULL;
    size_t length =
        semicolon != NULL ? (size_t)(semicolon - content_type.data) : content_type.length;

    while (length > 0 && is_blank(content_type.data[length - 1]))
        length--;
    return length == 16 && strncasecmp(content_type.data, "application/json", 16) == 0;
}
