/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client of flowctl: one request by libcurl, which is told the address and the target as
 * they are to be used, and has all switched off that it might do by itself: proxies, redirects,
 * other protocols. Blocking, because flowctl has nothing else to do meanwhile.
 */
#include "client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/fetch/libcurl.h"
#include "daemon/net/address.h"

#define PORT_DEFAULT 7777
#define AUTHORITY_SIZE 128
#define SCHEME "http://"
#define ANSWER_MAX (256u << 20)
#define CUT_OFF "the answer ends in the middle"
#define NOT_HTTP "the answer is not proper HTTP"

/* Where a request goes. */
struct target {
    char url[sizeof(SCHEME) + FLOWD_ENDPOINT_SIZE];
    char authority[AUTHORITY_SIZE]; /* for the field Host */
};

struct exchange {
    const struct flowd_libcurl *curl; /* borrowed */
    CURL *easy;                       /* owned */
    struct curl_slist *headers;       /* owned */
    struct flowd_text *answer;        /* the caller's */
    bool has_head;                    /* all of the answer's header is there */
};

/* libcurl, which is loaded by the first request and stays. NULL: there is none, and err says why.
 */
static const struct flowd_libcurl *load(struct flowd_error *err)
{
    static struct flowd_libcurl curl;
    static bool loaded;

    if (loaded)
        return &curl;
    if (flowd_libcurl_load(&curl, err) < 0)
        return NULL;
    /* Without what TLS wants, which takes longer than all the rest. */
    if (curl.f_curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK) {
        (void)flowd_fail_errno(err, ENOMEM, "libcurl");
        return NULL;
    }
    loaded = true;
    return &curl;
}

/* The "host:port" of the url. */
static int read_authority(const char *url, char authority[static AUTHORITY_SIZE],
                          struct flowd_error *err)
{
    size_t length;

    if (strncmp(url, SCHEME, sizeof(SCHEME) - 1) != 0)
        return flowd_fail(err, EINVAL, "%s: wants http://ADDRESS[:PORT]", url);
    url += sizeof(SCHEME) - 1;
    length = strcspn(url, "/");
    if (length == 0 || length >= AUTHORITY_SIZE || (url[length] == '/' && url[length + 1] != '\0'))
        return flowd_fail(err, EINVAL, "%s: wants http://ADDRESS[:PORT]", url);
    memcpy(authority, url, length);
    authority[length] = '\0';
    return 0;
}

/* No name is ever asked for: localhost is what it is everywhere. */
static int address_of(const char *authority, struct sockaddr_storage *address,
                      struct flowd_error *err)
{
    static const char local[] = "localhost";
    char numeric[AUTHORITY_SIZE + 16];
    size_t name = sizeof(local) - 1;
    socklen_t length;

    snprintf(numeric, sizeof(numeric), "%s", authority);
    if (strncmp(authority, local, name) == 0 && (authority[name] == '\0' || authority[name] == ':'))
        snprintf(numeric, sizeof(numeric), "127.0.0.1%s", authority + name);
    if (flowd_endpoint_parse(numeric, PORT_DEFAULT, address, &length) < 0)
        return flowd_fail(err, EINVAL, "%s: is neither a numeric address nor localhost", authority);
    return 0;
}

static int find_target(const struct client_endpoint *endpoint, struct target *target,
                       struct flowd_error *err)
{
    struct sockaddr_storage address;
    char text[FLOWD_ENDPOINT_SIZE] = "localhost";
    int result;

    if (endpoint->unix_path != NULL) {
        if (strlen(endpoint->unix_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            return flowd_fail(err, ENAMETOOLONG, "%s: too long for a unix socket",
                              endpoint->unix_path);
        snprintf(target->authority, sizeof(target->authority), "localhost");
    } else {
        result = read_authority(endpoint->url, target->authority, err);
        if (result == 0)
            result = address_of(target->authority, &address, err);
        if (result < 0)
            return result;
        flowd_endpoint_format(&address, text);
    }
    snprintf(target->url, sizeof(target->url), SCHEME "%s", text);
    return 0;
}

/* CURLOPT_WRITEFUNCTION: anything but the length ends the transfer. */
static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    size_t length = size * count;

    if (exchange->answer->length + length > ANSWER_MAX)
        return 0;
    flowd_text_append(exchange->answer, data, length);
    return flowd_text_failed(exchange->answer) ? 0 : length;
}

/*
 * CURLOPT_HEADERFUNCTION: a line. To libcurl an answer that ends within its header is an empty one.
 */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    size_t length = size * count;

    if (length > 0 && (line[0] == '\r' || line[0] == '\n'))
        exchange->has_head = true;
    else if (length > 5 && memcmp(line, "HTTP/", 5) == 0)
        exchange->has_head = false;
    return length;
}

/* Adds a line to the request's header. Returns whether there was memory. */
static bool add_header(struct exchange *exchange, const char *name, const char *value)
{
    struct flowd_text line = {0};
    struct curl_slist *headers = NULL;

    flowd_text_printf(&line, "%s %s", name, value);
    if (!flowd_text_failed(&line))
        headers = exchange->curl->f_curl_slist_append(exchange->headers, line.data);
    flowd_text_fini(&line);
    if (headers == NULL)
        return false;
    exchange->headers = headers;
    return true;
}

static bool set_text(const struct exchange *exchange, CURLoption option, const char *text)
{
    return exchange->curl->f_curl_easy_setopt(exchange->easy, option, text) == CURLE_OK;
}

static bool set_number(const struct exchange *exchange, CURLoption option, long number)
{
    return exchange->curl->f_curl_easy_setopt(exchange->easy, option, number) == CURLE_OK;
}

/* The environment's proxies are for the world outside; flowd's API is no part of it. */
static bool set_way(const struct exchange *exchange, const struct client_endpoint *endpoint,
                    const struct target *target)
{
    return set_text(exchange, CURLOPT_URL, target->url) &&
           set_text(exchange, CURLOPT_UNIX_SOCKET_PATH, endpoint->unix_path) &&
           set_text(exchange, CURLOPT_PROXY, "") && set_text(exchange, CURLOPT_NOPROXY, "*") &&
           set_number(exchange, CURLOPT_PROTOCOLS, CURLPROTO_HTTP) &&
           set_number(exchange, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) &&
           set_number(exchange, CURLOPT_FOLLOWLOCATION, 0) &&
           set_number(exchange, CURLOPT_NETRC, CURL_NETRC_IGNORED) &&
           set_number(exchange, CURLOPT_NOSIGNAL, 1) &&
           set_number(exchange, CURLOPT_CONNECTTIMEOUT_MS, endpoint->timeout_ms) &&
           set_number(exchange, CURLOPT_TIMEOUT_MS, endpoint->timeout_ms);
}

static bool set_request(struct exchange *exchange, const struct client_endpoint *endpoint,
                        const struct target *target, const char *method, const char *path,
                        const char *body)
{
    const struct flowd_libcurl *curl = exchange->curl;

    if (!add_header(exchange, "Host:", target->authority) ||
        !add_header(exchange, "Connection:", "close") ||
        (endpoint->token != NULL &&
         !add_header(exchange, "Authorization: Bearer", endpoint->token)) ||
        (body != NULL &&
         (!add_header(exchange, "Content-Type:", "application/json") ||
          !add_header(exchange, "Expect:", "") || !set_text(exchange, CURLOPT_POSTFIELDS, body))))
        return false;
    return curl->f_curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->headers) ==
               CURLE_OK &&
           set_text(exchange, CURLOPT_CUSTOMREQUEST, method) &&
           set_text(exchange, CURLOPT_REQUEST_TARGET, path);
}

static void set_callbacks(struct exchange *exchange)
{
    const struct flowd_libcurl *curl = exchange->curl;

    (void)curl->f_curl_easy_setopt(exchange->easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl->f_curl_easy_setopt(exchange->easy, CURLOPT_WRITEDATA, exchange);
    (void)curl->f_curl_easy_setopt(exchange->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl->f_curl_easy_setopt(exchange->easy, CURLOPT_HEADERDATA, exchange);
}

static bool is_connected(const struct exchange *exchange)
{
    double after_s = 0;

    (void)exchange->curl->f_curl_easy_getinfo(exchange->easy, CURLINFO_CONNECT_TIME, &after_s);
    return after_s > 0;
}

/* The system's word for it. Without one it was libcurl that did not like what it read. */
static int fail_in(const struct exchange *exchange, const char *call, struct flowd_error *err)
{
    long error = 0;

    (void)exchange->curl->f_curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &error);
    return error > 0 ? flowd_fail_errno(err, (int)error, "%s", call)
                     : flowd_fail(err, EPROTO, NOT_HTTP);
}

static int explain(const struct exchange *exchange, CURLcode code, struct flowd_error *err)
{
    switch (code) {
    case CURLE_OK:
        if (exchange->has_head)
            return 0;
        return flowd_fail(err, EPROTO, CUT_OFF);
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
        return flowd_fail(err, EPROTO, CUT_OFF);
    case CURLE_COULDNT_CONNECT:
        return fail_in(exchange, "connect", err);
    case CURLE_SEND_ERROR:
        return fail_in(exchange, "send", err);
    case CURLE_RECV_ERROR:
        return fail_in(exchange, "receive", err);
    case CURLE_OPERATION_TIMEDOUT:
        return flowd_fail(err, ETIMEDOUT, "no answer in time");
    case CURLE_OUT_OF_MEMORY:
        return flowd_fail_errno(err, ENOMEM, "request");
    default:
        if (flowd_text_failed(exchange->answer))
            return flowd_fail_errno(err, ENOMEM, "answer");
        return flowd_fail(err, EPROTO, NOT_HTTP);
    }
}

int client_request(const struct client_endpoint *endpoint, const char *method, const char *path,
                   const char *body, int *status, struct flowd_text *answer,
                   struct flowd_error *err)
{
    struct exchange exchange = {.answer = answer};
    struct target target;
    long said = 0;
    int result = find_target(endpoint, &target, err);

    if (result < 0)
        return result;
    exchange.curl = load(err);
    if (exchange.curl == NULL)
        return -ENOSYS;
    exchange.easy = exchange.curl->f_curl_easy_init();
    if (exchange.easy == NULL || !set_way(&exchange, endpoint, &target) ||
        !set_request(&exchange, endpoint, &target, method, path, body)) {
        result = flowd_fail_errno(err, ENOMEM, "request");
    } else {
        set_callbacks(&exchange);
        result = explain(&exchange, exchange.curl->f_curl_easy_perform(exchange.easy), err);
        if (result < 0 && !is_connected(&exchange))
            result =
                flowd_error_wrap(err, result, "%s",
                                 endpoint->unix_path != NULL ? endpoint->unix_path : endpoint->url);
        (void)exchange.curl->f_curl_easy_getinfo(exchange.easy, CURLINFO_RESPONSE_CODE, &said);
    }
    if (result == 0)
        *status = (int)said;
    exchange.curl->f_curl_easy_cleanup(exchange.easy);
    exchange.curl->f_curl_slist_free_all(exchange.headers);
    return result;
}
