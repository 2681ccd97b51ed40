/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcurl is told of a request, and the callbacks by which it hands over what arrives. Nobody
 * on the other side can have more than the request allows: bytes, redirects, other protocols.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "daemon/fetch/internal.h"

#define REDIRECTS_MAX 3L
#define FIRST_CAPACITY 4096
#define HTTP "http://"
#define HTTPS "https://"
/*
 * CURLOPT_QUICK_EXIT (libcurl 7.87): the end of flowd does not wait for a name. An older one does
 * not know it, and says so without harm.
 */
#define QUICK_EXIT ((CURLoption)322)

static bool begins(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* Makes room for so many more bytes and the NUL behind them. */
static bool reserve(struct flowd_fetch *fetch, size_t more)
{
    size_t capacity = fetch->capacity > 0 ? fetch->capacity : FIRST_CAPACITY;
    char *body;

    while (capacity < fetch->size + more + 1)
        capacity *= 2;
    if (capacity == fetch->capacity)
        return true;
    body = realloc(fetch->body, capacity);
    if (body == NULL)
        return false;
    fetch->body = body;
    fetch->capacity = capacity;
    return true;
}

/* CURLOPT_WRITEFUNCTION: anything but the length ends the transfer. */
static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct flowd_fetch *fetch = context;
    size_t length = size * count;

    fetch->too_large = length > fetch->size_max - fetch->size;
    if (fetch->given_up || fetch->too_large || !reserve(fetch, length))
        return 0;
    memcpy(fetch->body + fetch->size, data, length);
    fetch->size += length;
    fetch->body[fetch->size] = '\0';
    return length;
}

/* Copies a field's value, which ends with CRLF; one that is too long for it is none. */
static void take_value(char *out, size_t out_size, const char *value, size_t length)
{
    while (length > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        length--;
    }
    while (length > 0 && (unsigned char)value[length - 1] <= ' ')
        length--;
    if (length >= out_size || memchr(value, '\0', length) != NULL)
        length = 0;
    memcpy(out, value, length);
    out[length] = '\0';
}

/* CURLOPT_HEADERFUNCTION: a line. Those of an answer that redirects come first. */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    static const char etag[] = "etag:", modified[] = "last-modified:";
    struct flowd_fetch *fetch = context;
    size_t length = size * count;

    if (length > 5 && strncasecmp(line, "http/", 5) == 0)
        fetch->etag[0] = fetch->last_modified[0] = '\0';
    else if (length >= sizeof(etag) && strncasecmp(line, etag, sizeof(etag) - 1) == 0)
        take_value(fetch->etag, sizeof(fetch->etag), line + sizeof(etag) - 1,
                   length - (sizeof(etag) - 1));
    else if (length >= sizeof(modified) && strncasecmp(line, modified, sizeof(modified) - 1) == 0)
        take_value(fetch->last_modified, sizeof(fetch->last_modified), line + sizeof(modified) - 1,
                   length - (sizeof(modified) - 1));
    return length;
}

/* CURLOPT_RESOLVER_START_FUNCTION: a name is going to be asked for. */
static int on_resolve(void *resolver, void *reserved, void *context)
{
    struct flowd_fetch *fetch = context;

    (void)resolver;
    (void)reserved;
    fetch->resolving = true;
    return fetch->given_up;
}

/* CURLOPT_OPENSOCKETFUNCTION: the address is there. */
static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct flowd_fetch *fetch = context;

    (void)purpose;
    fetch->resolving = false;
    if (fetch->given_up)
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  address->protocol);
}

/* Adds "name: value" to the request. Returns whether there was memory. */
static bool add_header(struct flowd_fetch *fetch, const char *name, const char *value)
{
    char line[FETCH_ETAG_SIZE + 32];
    struct curl_slist *headers;

    if (value == NULL || value[0] == '\0' || strlen(value) >= FETCH_ETAG_SIZE ||
        strpbrk(value, "\r\n") != NULL)
        return true;
    snprintf(line, sizeof(line), "%s: %s", name, value);
    headers = fetch->fetcher->curl.f_curl_slist_append(fetch->headers, line);
    if (headers == NULL)
        return false;
    fetch->headers = headers;
    return true;
}

/*
 * libcurl's limit of connecting divides itself among the addresses. It lies behind the request's
 * own, which gives up without waiting for a name.
 */
static long connect_limit_ms(const struct flowd_fetch_request *request)
{
    return (long)(request->connect_timeout_ms + request->connect_timeout_ms / 4 + 1000);
}

static void set_transport(const struct flowd_fetch *fetch,
                          const struct flowd_fetch_request *request)
{
    const struct flowd_libcurl *curl = &fetch->fetcher->curl;
    const bool secure = begins(request->url, HTTPS);
    const long allowed = CURLPROTO_HTTP | CURLPROTO_HTTPS;

    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_PROTOCOLS, allowed);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_REDIR_PROTOCOLS,
                                   secure ? (long)CURLPROTO_HTTPS : allowed);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_FORBID_REUSE, 1L);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_CONNECTTIMEOUT_MS,
                                   connect_limit_ms(request));
    if (request->family != AF_UNSPEC)
        (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_IPRESOLVE,
                                       request->family == AF_INET6 ? (long)CURL_IPRESOLVE_V6
                                                                   : (long)CURL_IPRESOLVE_V4);
    (void)curl->f_curl_easy_setopt(fetch->easy, QUICK_EXIT, 1L);
}

/* "host!" says that it is no interface's name. libcurl copies the text. */
static void set_local_address(const struct flowd_fetch *fetch, const char *address)
{
    char interface[64];

    if (address == NULL)
        return;
    snprintf(interface, sizeof(interface), "host!%s", address);
    (void)fetch->fetcher->curl.f_curl_easy_setopt(fetch->easy, CURLOPT_INTERFACE, interface);
}

/*
 * A libcurl that was built with a file of certificates (Debian's) does not look at the variables
 * that the curl program and OpenSSL have for others.
 */
static void set_certificates(const struct flowd_fetch *fetch)
{
    static const struct {
        const char *variable;
        CURLoption option;
    } places[] = {{"SSL_CERT_FILE", CURLOPT_CAINFO}, {"SSL_CERT_DIR", CURLOPT_CAPATH}};

    if (fetch->fetcher->curl.certificates != NULL)
        (void)fetch->fetcher->curl.f_curl_easy_setopt(fetch->easy, CURLOPT_CAINFO,
                                                      fetch->fetcher->curl.certificates);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *place = getenv(places[i].variable);

        if (place != NULL && place[0] != '\0')
            (void)fetch->fetcher->curl.f_curl_easy_setopt(fetch->easy, places[i].option, place);
    }
}

static void set_callbacks(struct flowd_fetch *fetch)
{
    const struct flowd_libcurl *curl = &fetch->fetcher->curl;

    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_PRIVATE, fetch);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_ERRORBUFFER, fetch->error);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_WRITEDATA, fetch);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_HEADERDATA, fetch);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_RESOLVER_START_DATA, fetch);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_OPENSOCKETDATA, fetch);
}

int fetch_options_set(struct flowd_fetch *fetch, const struct flowd_fetch_request *request,
                      struct flowd_error *err)
{
    const struct flowd_libcurl *curl = &fetch->fetcher->curl;

    if (!begins(request->url, HTTP) && !begins(request->url, HTTPS))
        return flowd_fail(err, EINVAL, "%.200s: neither http:// nor https://", request->url);
    if (!add_header(fetch, "If-None-Match", request->etag) ||
        !add_header(fetch, "If-Modified-Since", request->last_modified) ||
        curl->f_curl_easy_setopt(fetch->easy, CURLOPT_URL, request->url) != CURLE_OK)
        return flowd_fail_errno(err, ENOMEM, "%.200s", request->url);
    set_transport(fetch, request);
    set_local_address(fetch, request->local_address);
    set_certificates(fetch);
    set_callbacks(fetch);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_HTTPHEADER, fetch->headers);
    (void)curl->f_curl_easy_setopt(fetch->easy, CURLOPT_USERAGENT, "flowd/" FLOWD_VERSION);
    return 0;
}
