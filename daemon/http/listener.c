/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets on TCP and unix. What stands in the way (a port in use, a file where the
 * socket should be) is told with the address or path, and nothing of anybody else is removed.
 */
#include "listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/group.h"
#include "daemon/net/address.h"

#define BACKLOG 1024

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 ? fd : -errno;
}

static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t length)
{
    if (bind(fd, address, length) != 0 || listen(fd, BACKLOG) != 0)
        return -errno;
    return 0;
}

int flowd_http_listener_name(const char *address, uint16_t port, char *name, size_t size,
                             struct flowd_error *err)
{
    struct flowd_address parsed;
    struct sockaddr_storage endpoint;
    char text[FLOWD_ENDPOINT_SIZE];

    if (flowd_address_parse(address, strlen(address), &parsed) != 0)
        return flowd_fail(err, EINVAL, "\"%s\" is not a numeric address", address);
    flowd_endpoint_make(parsed.family, &parsed.addr, port, &endpoint);
    flowd_endpoint_format(&endpoint, text);
    snprintf(name, size, "%s", text);
    return 0;
}

int flowd_http_listener_open(const char *address, uint16_t port, char *name, size_t size,
                             struct flowd_error *err)
{
    struct flowd_address parsed;
    struct sockaddr_storage endpoint;
    char text[FLOWD_ENDPOINT_SIZE];
    socklen_t length;
    int on = 1;
    int off = 0;
    int result;
    int fd;

    if (flowd_address_parse(address, strlen(address), &parsed) != 0)
        return flowd_fail(err, EINVAL, "\"%s\" is not a numeric address", address);
    length = flowd_endpoint_make(parsed.family, &parsed.addr, port, &endpoint);
    flowd_endpoint_format(&endpoint, text);
    fd = open_socket(parsed.family);
    if (fd < 0)
        return flowd_fail_errno(err, -fd, "open a socket for %s", text);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (parsed.family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    result = bind_and_listen(fd, (const struct sockaddr *)&endpoint, length);
    if (result != 0) {
        close(fd);
        return flowd_fail_errno(err, -result, "listen on %s", text);
    }
    snprintf(name, size, "%s", text);
    return fd;
}

/* Removes a socket file that nobody listens on. Returns 0 if path is free, or -errno. */
static int clear_stale(const char *path, const struct sockaddr_un *address, struct flowd_error *err)
{
    struct stat found;
    int fd;
    int result;

    if (lstat(path, &found) != 0)
        return errno == ENOENT ? 0 : flowd_fail_errno(err, errno, "%s", path);
    if (!S_ISSOCK(found.st_mode))
        return flowd_fail(err, EEXIST, "%s is there and is not a socket; it is left alone", path);
    fd = open_socket(AF_UNIX);
    if (fd < 0)
        return flowd_fail_errno(err, -fd, "open a socket for %s", path);
    result = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    close(fd);
    if (result != ECONNREFUSED)
        return flowd_fail_errno(err, result == 0 || result == EAGAIN ? EADDRINUSE : result,
                                "listen on %s", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return flowd_fail_errno(err, errno, "remove the stale socket %s", path);
    return 0;
}

static int set_access(const char *path, mode_t mode, const char *group, struct flowd_error *err)
{
    if (group[0] != '\0') {
        gid_t gid;

        if (flowd_group_find(group, &gid) < 0)
            return flowd_fail(err, ENOENT, "there is no group \"%s\"", group);
        if (lchown(path, (uid_t)-1, gid) != 0)
            return errno == EPERM
                       ? flowd_fail(err, EPERM,
                                    "%s can't be given to group %s by who is neither root nor a "
                                    "member of it: start flowd as root, or add its user to the "
                                    "group",
                                    path, group)
                       : flowd_fail_errno(err, errno, "give %s to group %s", path, group);
    }
    if (chmod(path, mode) != 0)
        return flowd_fail_errno(err, errno, "set the mode of %s", path);
    return 0;
}

int flowd_http_listener_open_unix(const char *path, mode_t mode, const char *group,
                                  uint64_t *device, uint64_t *inode, struct flowd_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat made;
    mode_t mask;
    int result;
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return flowd_fail(err, ENAMETOOLONG, "%s is longer than %zu bytes", path,
                          sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path));
    result = clear_stale(path, &address, err);
    if (result != 0)
        return result;
    fd = open_socket(AF_UNIX);
    if (fd < 0)
        return flowd_fail_errno(err, -fd, "open a socket for %s", path);
    /* Nobody else gets in before mode and group are what was asked for. */
    mask = umask(0177);
    result = bind_and_listen(fd, (const struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (result != 0) {
        close(fd);
        return flowd_fail_errno(err, -result, "listen on %s", path);
    }
    result = lstat(path, &made) == 0 ? set_access(path, mode, group, err)
                                     : flowd_fail_errno(err, errno, "%s", path);
    if (result != 0) {
        unlink(path);
        close(fd);
        return result;
    }
    *device = (uint64_t)made.st_dev;
    *inode = (uint64_t)made.st_ino;
    return fd;
}

void flowd_http_listener_remove(const char *path, uint64_t device, uint64_t inode)
{
    struct stat found;

    if (lstat(path, &found) == 0 && (uint64_t)found.st_dev == device &&
        (uint64_t)found.st_ino == inode)
        unlink(path);
}
