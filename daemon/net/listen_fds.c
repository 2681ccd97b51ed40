/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of socket activation without libsystemd: $LISTEN_PID is the process that is meant,
 * $LISTEN_FDS counts descriptors from 3 on, $LISTEN_FDNAMES has a name for each. Whom a descriptor
 * is for follows from its name, or else from what it is: a fifo, or a listening socket at the place
 * that is configured. A descriptor that nobody takes is left alone and told in the log.
 */
#include "daemon/net/listen_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/integer.h"
#include "daemon/base/log.h"
#include "daemon/net/address.h"

#define FIRST_FD 3
#define DELETED " (deleted)"

struct flowd_listen_fds {
    size_t count;
    struct flowd_listen_fd items[FLOWD_LISTEN_FDS_MAX];
};

static const struct {
    const char *name;
    enum flowd_listen_use use;
} uses[] = {
    {"fifo", FLOWD_LISTEN_FOR_FIFO},
    {"namedPipe", FLOWD_LISTEN_FOR_FIFO},
    {"api", FLOWD_LISTEN_FOR_API},
    {"metrics", FLOWD_LISTEN_FOR_METRICS},
    {"prometheus", FLOWD_LISTEN_FOR_METRICS},
    {"firefly", FLOWD_LISTEN_FOR_FIREFLY},
};

static const char *const kinds[] = {
    [FLOWD_LISTEN_OTHER] = "something that is no fifo and does not listen",
    [FLOWD_LISTEN_FIFO] = "a fifo",
    [FLOWD_LISTEN_TCP] = "a listening socket",
    [FLOWD_LISTEN_UNIX] = "a listening unix socket",
    [FLOWD_LISTEN_DATAGRAM] = "a datagram socket",
};

/* How many descriptors are meant for this process. */
static uint64_t count_of_environment(void)
{
    const char *pid = getenv("LISTEN_PID"), *number = getenv("LISTEN_FDS");
    uint64_t meant, count;

    if (pid == NULL || number == NULL ||
        flowd_integer_parse(pid, strlen(pid), 1, INT32_MAX, &meant) < 0 ||
        meant != (uint64_t)getpid())
        return 0;
    if (flowd_integer_parse(number, strlen(number), 0, INT16_MAX, &count) < 0) {
        flowd_warning("daemon",
                      "LISTEN_FDS is \"%s\", which is not a number: nothing is taken over", number);
        return 0;
    }
    return count;
}

/* Copies the next of the names that colons separate, and goes on behind it. */
static void next_name(const char **names, char *name, size_t size)
{
    const char *rest = *names;
    size_t length = rest != NULL ? strcspn(rest, ":") : 0;

    snprintf(name, size, "%.*s", (int)length, rest != NULL ? rest : "");
    if (rest != NULL)
        *names = rest[length] == ':' ? rest + length + 1 : NULL;
}

static enum flowd_listen_use use_of_name(const char *name)
{
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
        if (strcmp(name, uses[i].name) == 0)
            return uses[i].use;
    return FLOWD_LISTEN_ANY;
}

/* The path of an open file as the kernel knows it, also when it has been removed. */
static void find_path(struct flowd_listen_fd *item)
{
    char link[32];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", item->fd);
    length = readlink(link, item->text, sizeof(item->text) - 1);
    /* A path that is cut off is none. */
    if (length < 0 || item->text[0] != '/' || length == (ssize_t)sizeof(item->text) - 1)
        length = 0;
    item->text[length] = '\0';
    if ((size_t)length > strlen(DELETED) &&
        strcmp(item->text + length - strlen(DELETED), DELETED) == 0)
        item->text[(size_t)length - strlen(DELETED)] = '\0';
}

static void describe_unix(struct flowd_listen_fd *item, socklen_t length)
{
    const struct sockaddr_un *address = (const struct sockaddr_un *)&item->address;
    size_t path = length > offsetof(struct sockaddr_un, sun_path)
                      ? length - offsetof(struct sockaddr_un, sun_path)
                      : 0;

    if (path > 0 && address->sun_path[0] == '\0')
        snprintf(item->text, sizeof(item->text), "@%.*s", (int)path - 1, address->sun_path + 1);
    else
        snprintf(item->text, sizeof(item->text), "%.*s", (int)path, address->sun_path);
}

static enum flowd_listen_kind look_at_socket(struct flowd_listen_fd *item)
{
    socklen_t length = sizeof(item->address), size = sizeof(int);
    int type = 0, listens = 0;

    if (getsockname(item->fd, (struct sockaddr *)&item->address, &length) < 0 ||
        getsockopt(item->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return FLOWD_LISTEN_OTHER;
    (void)getsockopt(item->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
    if (item->address.ss_family == AF_UNIX) {
        describe_unix(item, length);
    } else if (item->address.ss_family == AF_INET || item->address.ss_family == AF_INET6) {
        flowd_endpoint_format(&item->address, item->text);
    } else {
        return FLOWD_LISTEN_OTHER;
    }
    if (type == SOCK_DGRAM)
        return FLOWD_LISTEN_DATAGRAM;
    if (type != SOCK_STREAM || !listens)
        return FLOWD_LISTEN_OTHER;
    return item->address.ss_family == AF_UNIX ? FLOWD_LISTEN_UNIX : FLOWD_LISTEN_TCP;
}

/* Finds out what the descriptor is. Returns 0 or -errno. */
static int look_at(struct flowd_listen_fd *item)
{
    int flags = fcntl(item->fd, F_GETFL);
    struct stat status;

    if (flags < 0 || fcntl(item->fd, F_SETFD, FD_CLOEXEC) < 0 || fstat(item->fd, &status) < 0)
        return -errno;
    item->kind = FLOWD_LISTEN_OTHER;
    if (S_ISFIFO(status.st_mode)) {
        find_path(item);
        /* One that is open for reading only would report its end again and again. */
        if ((flags & O_ACCMODE) == O_RDWR)
            item->kind = FLOWD_LISTEN_FIFO;
    } else if (S_ISSOCK(status.st_mode)) {
        item->kind = look_at_socket(item);
    }
    if (item->kind != FLOWD_LISTEN_OTHER && fcntl(item->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static void take_over(struct flowd_listen_fds *fds, uint64_t count, const char *names)
{
    for (uint64_t i = 0; i < count; i++) {
        struct flowd_listen_fd surplus, *item = &surplus;
        int result;

        if (fds->count < FLOWD_LISTEN_FDS_MAX)
            item = &fds->items[fds->count];
        *item = (struct flowd_listen_fd){.fd = FIRST_FD + (int)i};
        next_name(&names, item->name, sizeof(item->name));
        item->use = use_of_name(item->name);
        result = item != &surplus ? look_at(item) : -E2BIG;
        if (result == 0) {
            fds->count++;
            continue;
        }
        (void)fcntl(item->fd, F_SETFD, FD_CLOEXEC);
        flowd_warning("daemon", "descriptor %d (\"%s\"), which was handed over, is unusable: %s",
                      item->fd, item->name, strerror(-result));
    }
}

struct flowd_listen_fds *flowd_listen_fds_new(void)
{
    uint64_t count = count_of_environment();
    struct flowd_listen_fds *fds = count > 0 ? calloc(1, sizeof(*fds)) : NULL;

    if (fds != NULL)
        take_over(fds, count, getenv("LISTEN_FDNAMES"));
    else if (count > 0)
        flowd_err("daemon", "no memory to take over what LISTEN_FDS names");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return fds;
}

void flowd_listen_fds_free(struct flowd_listen_fds *fds)
{
    if (fds == NULL)
        return;
    for (size_t i = 0; i < fds->count; i++)
        if (!fds->items[i].taken)
            close(fds->items[i].fd);
    free(fds);
}

static bool is_any(const struct flowd_address *address)
{
    static const struct in6_addr zeroes;

    return memcmp(&address->addr, &zeroes, sizeof(zeroes)) == 0;
}

/* The same port; and the same address, unless one of them stands for every address. */
static bool is_at(const struct flowd_listen_fd *item, const struct flowd_listen_wish *wish)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&item->address;
    const struct sockaddr_in *four = (const struct sockaddr_in *)&item->address;
    bool is_six = item->address.ss_family == AF_INET6;
    struct flowd_address bound = {.family = (uint8_t)item->address.ss_family}, wished;

    if (wish->port == 0 || (!is_six && item->address.ss_family != AF_INET) ||
        ntohs(is_six ? six->sin6_port : four->sin_port) != wish->port ||
        flowd_address_parse(wish->address, strlen(wish->address), &wished) < 0)
        return false;
    if (is_six)
        bound.addr = six->sin6_addr;
    else
        memcpy(&bound.addr, &four->sin_addr, sizeof(four->sin_addr));
    return is_any(&bound) || is_any(&wished) ||
           (bound.family == wished.family &&
            memcmp(&bound.addr, &wished.addr, sizeof(bound.addr)) == 0);
}

static bool fits(const struct flowd_listen_fd *item, const struct flowd_listen_wish *wish)
{
    if (item->taken || item->kind != wish->kind)
        return false;
    if (item->use != FLOWD_LISTEN_ANY)
        return item->use == wish->use;
    if (item->kind == FLOWD_LISTEN_TCP || item->kind == FLOWD_LISTEN_DATAGRAM)
        return is_at(item, wish);
    if (item->kind == FLOWD_LISTEN_UNIX)
        return wish->path != NULL && wish->path[0] != '\0' && strcmp(item->text, wish->path) == 0;
    return item->kind == FLOWD_LISTEN_FIFO && wish->use == FLOWD_LISTEN_FOR_FIFO;
}

const struct flowd_listen_fd *flowd_listen_fds_take(struct flowd_listen_fds *fds,
                                                    const struct flowd_listen_wish *wish)
{
    for (size_t i = 0; fds != NULL && i < fds->count; i++) {
        if (!fits(&fds->items[i], wish))
            continue;
        fds->items[i].taken = true;
        return &fds->items[i];
    }
    return NULL;
}

static void report_item(const struct flowd_listen_fd *item)
{
    const char *what = kinds[item->kind], *space = item->text[0] != '\0' ? " " : "";

    flowd_warning("daemon",
                  "%s%s%s was handed over as \"%s\", and nothing that is configured uses it: "
                  "who writes to it is not heard",
                  what, space, item->text, item->name);
}

void flowd_listen_fds_report(const struct flowd_listen_fds *fds)
{
    for (size_t i = 0; fds != NULL && i < fds->count; i++)
        if (!fds->items[i].taken)
            report_item(&fds->items[i]);
}
