/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client of flowctl: connects within a time limit, sends one request, and lets llhttp read
 * the answer until it is complete. Blocking, because flowctl has nothing else to do meanwhile.
 */
#include "client.h"

#include <errno.h>
#include <llhttp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "daemon/net/address.h"

#define PORT_DEFAULT 7777
#define AUTHORITY_SIZE 128
#define SCHEME "http://"
#define ANSWER_MAX (256u << 20)

struct exchange {
    llhttp_t parser; /* first: callbacks get it back */
    struct flowd_text *answer;
    bool complete;
};

/* Waits until fd is ready or the deadline (CLOCK_MONOTONIC, ms) has passed. */
static int wait_for(int fd, short events, int64_t deadline, struct flowd_error *err)
{
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = events};
        int64_t left = deadline - clock_now_ms();
        int count = poll(&ready, 1, left > 0 ? (int)left : 0);

        if (count > 0)
            return 0;
        if (count == 0)
            return flowd_fail(err, ETIMEDOUT, "no answer in time");
        if (errno != EINTR)
            return flowd_fail_errno(err, errno, "poll");
    }
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

static int address_of_url(const char *authority, struct sockaddr_storage *address,
                          socklen_t *length, struct flowd_error *err)
{
    static const char local[] = "localhost";
    char numeric[AUTHORITY_SIZE + 16];
    size_t name = sizeof(local) - 1;

    snprintf(numeric, sizeof(numeric), "%s", authority);
    if (strncmp(authority, local, name) == 0 && (authority[name] == '\0' || authority[name] == ':'))
        snprintf(numeric, sizeof(numeric), "127.0.0.1%s", authority + name);
    if (flowd_endpoint_parse(numeric, PORT_DEFAULT, address, length) < 0)
        return flowd_fail(err, EINVAL, "%s: is neither a numeric address nor localhost", authority);
    return 0;
}

static int address_of_path(const char *path, struct sockaddr_storage *address, socklen_t *length,
                           struct flowd_error *err)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(local.sun_path))
        return flowd_fail(err, ENAMETOOLONG, "%s: too long for a unix socket", path);
    memcpy(local.sun_path, path, strlen(path) + 1);
    *address = (struct sockaddr_storage){0};
    memcpy(address, &local, sizeof(local));
    *length = sizeof(local);
    return 0;
}

static int connect_in_time(int fd, const struct sockaddr_storage *address, socklen_t length,
                           int64_t deadline, struct flowd_error *err)
{
    socklen_t size = sizeof(int);
    int error = 0;
    int result;

    if (connect(fd, (const struct sockaddr *)address, length) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return flowd_fail_errno(err, errno, "connect");
    result = wait_for(fd, POLLOUT, deadline, err);
    if (result < 0)
        return result;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
        return flowd_fail_errno(err, error != 0 ? error : errno, "connect");
    return 0;
}

static int open_connection(const struct client_endpoint *endpoint,
                           char authority[static AUTHORITY_SIZE], int64_t deadline, int *out,
                           struct flowd_error *err)
{
    struct sockaddr_storage address;
    socklen_t length = 0;
    int fd, result;

    if (endpoint->unix_path != NULL) {
        snprintf(authority, AUTHORITY_SIZE, "localhost");
        result = address_of_path(endpoint->unix_path, &address, &length, err);
    } else {
        result = read_authority(endpoint->url, authority, err);
        if (result == 0)
            result = address_of_url(authority, &address, &length, err);
    }
    if (result < 0)
        return result;
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return flowd_fail_errno(err, errno, "socket");
    result = connect_in_time(fd, &address, length, deadline, err);
    if (result < 0) {
        close(fd);
        return flowd_error_wrap(err, result, "%s",
                                endpoint->unix_path != NULL ? endpoint->unix_path : endpoint->url);
    }
    *out = fd;
    return 0;
}

static int send_all(int fd, const struct flowd_text *request, int64_t deadline,
                    struct flowd_error *err)
{
    size_t sent = 0;

    while (sent < request->length) {
        ssize_t count = send(fd, request->data + sent, request->length - sent, MSG_NOSIGNAL);
        int result;

        if (count >= 0) {
            sent += (size_t)count;
            continue;
        }
        /* A server that refuses early answers and closes: what it said is worth reading. */
        if (errno == EPIPE || errno == ECONNRESET)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return flowd_fail_errno(err, errno, "send");
        result = wait_for(fd, POLLOUT, deadline, err);
        if (result < 0)
            return result;
    }
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t length)
{
    struct exchange *exchange = (struct exchange *)parser;

    if (exchange->answer->length + length > ANSWER_MAX)
        return -1;
    flowd_text_append(exchange->answer, at, length);
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct exchange *exchange = (struct exchange *)parser;

    exchange->complete = true;
    return 0;
}

static int receive(int fd, struct exchange *exchange, int64_t deadline, struct flowd_error *err)
{
    char bytes[65536];

    while (!exchange->complete) {
        ssize_t count;
        int result = wait_for(fd, POLLIN, deadline, err);

        if (result < 0)
            return result;
        count = recv(fd, bytes, sizeof(bytes), 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (count < 0)
            return flowd_fail_errno(err, errno, "receive");
        if (count > 0 && llhttp_execute(&exchange->parser, bytes, (size_t)count) != HPE_OK)
            return flowd_fail(err, EPROTO, "the answer is not proper HTTP");
        if (count == 0 && (llhttp_finish(&exchange->parser) != HPE_OK || !exchange->complete))
            return flowd_fail(err, EPROTO, "the answer ends in the middle");
    }
    return 0;
}

static void compose(struct flowd_text *request, const char *method, const char *path,
                    const char *authority, const char *token, const char *body)
{
    flowd_text_printf(request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, path,
                      authority);
    if (token != NULL)
        flowd_text_printf(request, "Authorization: Bearer %s\r\n", token);
    if (body != NULL)
        flowd_text_printf(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                          strlen(body));
    flowd_text_puts(request, "\r\n");
    if (body != NULL)
        flowd_text_puts(request, body);
}

int client_request(const struct client_endpoint *endpoint, const char *method, const char *path,
                   const char *body, int *status, struct flowd_text *answer,
                   struct flowd_error *err)
{
    struct flowd_text request = {0};
    struct exchange exchange = {.answer = answer};
    llhttp_settings_t settings;
    char authority[AUTHORITY_SIZE];
    int64_t deadline = clock_now_ms() + endpoint->timeout_ms;
    int fd = -1;
    int result = open_connection(endpoint, authority, deadline, &fd, err);

    if (result < 0)
        return result;
    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    llhttp_init(&exchange.parser, HTTP_RESPONSE, &settings);
    compose(&request, method, path, authority, endpoint->token, body);
    result = flowd_text_failed(&request) ? flowd_fail_errno(err, ENOMEM, "request")
                                         : send_all(fd, &request, deadline, err);
    if (result == 0)
        result = receive(fd, &exchange, deadline, err);
    if (result == 0 && flowd_text_failed(answer))
        result = flowd_fail_errno(err, ENOMEM, "answer");
    if (result == 0)
        *status = exchange.parser.status_code;
    flowd_text_fini(&request);
    close(fd);
    return result;
}
