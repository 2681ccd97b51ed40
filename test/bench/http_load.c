/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts flow events to the HTTP API over keep-alive connections and measures the answers.
 *
 * Each connection has one request under way. Requests are made beforehand and only the digits that
 * tell one flow from the next are written between two of them, so that the generator costs little
 * beside the server that it measures. Every event starts a flow that no other event of the run
 * names. One line of JSON on stdout says how it went.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"
#include "daemon/net/address.h"

#define CONNECTIONS_MAX 1024
#define ARRAY_MAX 10000
#define PORT_FIRST 10000u /* so that all ports have five digits */
#define PORTS 50000u
/* Latencies are counted by microseconds; what takes longer than this counts as this. */
#define LATENCY_MAX_US (1u << 20)
#define ANSWER_SIZE 16384
/* Without any answer for this long, the server is taken for dead. */
#define SILENCE_MS 30000

#define EVENT_PORT "{\"state\":\"start\",\"protocol\":\"tcp\",\"src\":\"::1\",\"srcPort\":"
#define EVENT_ADDRESS ",\"dst\":\"fd00::"
#define EVENT_REST "\",\"dstPort\":1094,\"experiment\":2,\"activity\":17}"
#define EVENT EVENT_PORT "00000" EVENT_ADDRESS "0000:0000" EVENT_REST
#define EVENT_LENGTH (sizeof(EVENT) - 1)
#define PORT_AT (sizeof(EVENT_PORT) - 1)
#define ADDRESS_AT (PORT_AT + 5 + sizeof(EVENT_ADDRESS) - 1)

struct load {
    const char *host;
    uint64_t port;
    uint64_t connections;
    uint64_t requests; /* 0: as many as the time allows */
    uint64_t seconds;
    uint64_t array; /* events of a request; 0: one, without an array around it */
    uint64_t flow;  /* the next one's number */

    int epoll;
    uint64_t sent;
    uint64_t answered;
    uint64_t failed;  /* answers other than 2xx */
    uint64_t refused; /* events inside arrays */
    double begin;
    double end;
    uint32_t *latencies; /* how many answers took so many microseconds */
    uint64_t latency_max_us;
};

struct connection {
    int fd;
    char *request;
    size_t request_length;
    size_t body; /* where it begins in the request */
    size_t written;
    bool waiting; /* for room in the socket */
    double begin;
    char *answer;
    size_t answer_length;
    size_t answer_capacity;
};

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Writes what makes flow n: its source port and the last 32 bits of its destination. */
static void patch_event(char *event, uint64_t n)
{
    static const char hex[] = "0123456789abcdef";
    unsigned port = PORT_FIRST + (unsigned)(n % PORTS);
    uint32_t address = (uint32_t)(n / PORTS) + 1;

    for (int i = 4; i >= 0; i--, port /= 10)
        event[PORT_AT + (size_t)i] = (char)('0' + port % 10);
    for (int i = 8; i >= 0; i--) {
        if (i == 4)
            continue; /* the colon */
        event[ADDRESS_AT + (size_t)i] = hex[address & 15];
        address >>= 4;
    }
}

static int compose_request(const struct load *load, struct connection *c)
{
    size_t count = load->array > 0 ? load->array : 1;
    size_t body = load->array > 0 ? count * (EVENT_LENGTH + 1) + 1 : EVENT_LENGTH;
    size_t capacity = body + 256;
    char *at;
    int head;

    c->request = malloc(capacity);
    if (c->request == NULL)
        return -ENOMEM;
    head = snprintf(c->request, capacity,
                    "POST /v1/flows HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                    body);
    if (head < 0)
        return -EINVAL;
    c->body = (size_t)head;
    c->request_length = c->body + body;
    at = c->request + c->body;
    for (size_t i = 0; i < count; i++) {
        if (load->array > 0)
            *at++ = i == 0 ? '[' : ',';
        memcpy(at, EVENT, EVENT_LENGTH);
        at += EVENT_LENGTH;
    }
    if (load->array > 0)
        *at = ']';
    return 0;
}

static int open_connection(struct load *load, struct connection *c)
{
    struct flowd_address address;
    struct sockaddr_storage endpoint;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    socklen_t length;
    int on = 1;

    if (flowd_address_parse(load->host, strlen(load->host), &address) < 0)
        return -EINVAL;
    length = flowd_endpoint_make(address.family, &address.addr, (uint16_t)load->port, &endpoint);
    c->fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&endpoint, length) < 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        return -errno;
    c->answer = malloc(ANSWER_SIZE);
    c->answer_capacity = ANSWER_SIZE;
    return c->answer != NULL ? compose_request(load, c) : -ENOMEM;
}

static int wait_for_room(struct load *load, struct connection *c, bool wanted)
{
    struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};

    if (c->waiting == wanted)
        return 0;
    c->waiting = wanted;
    return epoll_ctl(load->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0 ? -errno : 0;
}

static int write_request(struct load *load, struct connection *c)
{
    while (c->written < c->request_length) {
        ssize_t written =
            send(c->fd, c->request + c->written, c->request_length - c->written, MSG_NOSIGNAL);

        if (written < 0 && errno == EAGAIN)
            return wait_for_room(load, c, true);
        if (written < 0)
            return -errno;
        c->written += (size_t)written;
    }
    return wait_for_room(load, c, false);
}

static bool is_over(const struct load *load, double now)
{
    return load->requests > 0 ? load->sent == load->requests
                              : now - load->begin >= (double)load->seconds;
}

/* Begins the next request, unless there have been enough. */
static int send_next(struct load *load, struct connection *c, double now)
{
    char *event = c->request + c->body + (load->array > 0 ? 1 : 0);

    if (is_over(load, now))
        return 0;
    for (uint64_t i = 0; i < load->array || i == 0; i++)
        patch_event(event + i * (EVENT_LENGTH + 1), load->flow++);
    load->sent++;
    c->written = 0;
    c->begin = now;
    return write_request(load, c);
}

static size_t count_in(const char *text, size_t length, const char *word)
{
    size_t count = 0;
    const char *end = text + length;

    while ((text = memmem(text, (size_t)(end - text), word, strlen(word))) != NULL) {
        text += strlen(word);
        count++;
    }
    return count;
}

/* The length of a whole answer at the beginning of the buffer; 0: not there yet; -EBADMSG. */
static ssize_t answer_size(const struct connection *c)
{
    static const char name[] = "Content-Length: ";
    const char *end = memmem(c->answer, c->answer_length, "\r\n\r\n", 4);
    const char *number;
    const char *line_end;
    uint64_t length;
    size_t head;

    if (end == NULL)
        return 0;
    head = (size_t)(end - c->answer) + 4;
    number = memmem(c->answer, head, name, sizeof(name) - 1);
    if (head < 16 || number == NULL)
        return -EBADMSG;
    number += sizeof(name) - 1;
    line_end = memchr(number, '\r', (size_t)(c->answer + head - number));
    if (flowd_integer_parse(number, (size_t)(line_end - number), 0, INT32_MAX, &length) < 0)
        return -EBADMSG;
    return c->answer_length >= head + length ? (ssize_t)(head + length) : 0;
}

static void count_answer(struct load *load, const struct connection *c, double now)
{
    uint64_t us = (uint64_t)((now - c->begin) * 1e6);

    load->answered++;
    load->end = now;
    if (c->answer[9] != '2')
        load->failed++;
    if (load->array > 0)
        load->refused += count_in(c->answer, c->answer_length, "\"about:blank\"");
    if (us > load->latency_max_us)
        load->latency_max_us = us;
    load->latencies[us < LATENCY_MAX_US ? us : LATENCY_MAX_US - 1]++;
}

static int read_answer(struct load *load, struct connection *c)
{
    ssize_t size;
    double now;

    if (c->answer_length == c->answer_capacity) {
        char *larger = realloc(c->answer, c->answer_capacity * 2);

        if (larger == NULL)
            return -ENOMEM;
        c->answer = larger;
        c->answer_capacity *= 2;
    }
    size = recv(c->fd, c->answer + c->answer_length, c->answer_capacity - c->answer_length, 0);
    if (size < 0)
        return errno == EAGAIN ? 0 : -errno;
    if (size == 0)
        return -ECONNRESET;
    c->answer_length += (size_t)size;
    size = answer_size(c);
    if (size <= 0)
        return (int)size;
    if ((size_t)size != c->answer_length)
        return -EBADMSG;
    now = now_s();
    count_answer(load, c, now);
    c->answer_length = 0;
    return send_next(load, c, now);
}

static int exchange_all(struct load *load, struct connection *connections)
{
    struct epoll_event events[256];
    int result = 0;

    load->begin = now_s();
    for (uint64_t i = 0; result == 0 && i < load->connections; i++)
        result = send_next(load, &connections[i], load->begin);
    while (result == 0 && load->answered < load->sent) {
        int count = epoll_wait(load->epoll, events, 256, SILENCE_MS);

        if (count <= 0)
            return count < 0 ? -errno : -ETIMEDOUT;
        for (int i = 0; result == 0 && i < count; i++) {
            struct connection *c = events[i].data.ptr;

            if (events[i].events & EPOLLOUT)
                result = write_request(load, c);
            if (result == 0 && (events[i].events & ~(uint32_t)EPOLLOUT))
                result = read_answer(load, c);
        }
    }
    return result;
}

/* The latency in ms that this part of all answers did not exceed. */
static double percentile_ms(const struct load *load, double part)
{
    uint64_t wanted = (uint64_t)((double)load->answered * part);
    uint64_t seen = 0;
    uint32_t us = 0;

    while (us < LATENCY_MAX_US - 1 && (seen += load->latencies[us]) < wanted)
        us++;
    return (double)us / 1000.0;
}

static void report(const struct load *load)
{
    double seconds = load->end - load->begin;
    uint64_t events = load->answered * (load->array > 0 ? load->array : 1);

    printf("{\"requests\": %llu, \"events\": %llu, \"seconds\": %.6f, "
           "\"requests_per_s\": %.1f, \"events_per_s\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
           "\"non_2xx\": %llu, \"refused\": %llu}\n",
           (unsigned long long)load->answered, (unsigned long long)events, seconds,
           (double)load->answered / seconds, (double)events / seconds, percentile_ms(load, 0.5),
           percentile_ms(load, 0.99), (double)load->latency_max_us / 1000.0,
           (unsigned long long)load->failed, (unsigned long long)load->refused);
}

static int run(struct load *load)
{
    struct connection *connections = calloc(load->connections, sizeof(*connections));
    int result = 0;

    load->latencies = calloc(LATENCY_MAX_US, sizeof(*load->latencies));
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (connections == NULL || load->latencies == NULL || load->epoll < 0)
        result = -ENOMEM;
    for (uint64_t i = 0; connections != NULL && i < load->connections; i++)
        connections[i].fd = -1;
    for (uint64_t i = 0; result == 0 && i < load->connections; i++)
        result = open_connection(load, &connections[i]);
    if (result == 0)
        result = exchange_all(load, connections);
    if (result == 0)
        report(load);
    for (uint64_t i = 0; connections != NULL && i < load->connections; i++) {
        if (connections[i].fd >= 0)
            close(connections[i].fd);
        free(connections[i].request);
        free(connections[i].answer);
    }
    if (load->epoll >= 0)
        close(load->epoll);
    free(load->latencies);
    free(connections);
    return result;
}

static int read_options(int argc, char **argv, struct load *load)
{
    static const struct option options[] = {
        {"host", required_argument, NULL, 'h'},     {"port", required_argument, NULL, 'p'},
        {"requests", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 's'},
        {"array", required_argument, NULL, 'a'},    {"connections", required_argument, NULL, 'c'},
        {"first", required_argument, NULL, 'f'},    {0},
    };
    const struct {
        int letter;
        uint64_t min, max;
        uint64_t *out;
    } numbers[] = {
        {'p', 1, 65535, &load->port},      {'n', 1, 100000000, &load->requests},
        {'s', 1, 3600, &load->seconds},    {'a', 0, ARRAY_MAX, &load->array},
        {'f', 0, UINT32_MAX, &load->flow}, {'c', 1, CONNECTIONS_MAX, &load->connections},
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int result = letter == 'h' ? 0 : -EINVAL;

        if (letter == 'h')
            load->host = optarg;
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            if (numbers[i].letter == letter)
                result = flowd_integer_parse(optarg, strlen(optarg), numbers[i].min, numbers[i].max,
                                             numbers[i].out);
        if (result < 0)
            return result;
    }
    return optind == argc && (load->requests > 0) != (load->seconds > 0) ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    struct load load = {.host = "127.0.0.1", .port = 7777, .connections = 64, .epoll = -1};
    int result = read_options(argc, argv, &load);

    if (result < 0) {
        fputs("usage: http_load --requests N | --seconds S [--host ADDRESS] [--port N]\n"
              "                 [--connections N] [--array EVENTS] [--first FLOW]\n",
              stderr);
        return 2;
    }
    result = run(&load);
    if (result < 0)
        fprintf(stderr, "http_load: %s\n", strerror(-result));
    return result < 0 ? 1 : 0;
}
