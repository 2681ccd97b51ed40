/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify without libsystemd: the protocol is one datagram. The environment is read once, because
 * the daemon may outlive what it was started with.
 */
#include "daemon/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/integer.h"

void flowd_notify(const char *message)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path != NULL ? strlen(path) : 0;
    int fd;

    /* "@name" is an abstract socket; its address has no NUL at the end. */
    if (length < 2 || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

int64_t flowd_notify_watchdog_us(void)
{
    const char *interval = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t number;

    if (interval == NULL ||
        flowd_integer_parse(interval, strlen(interval), 1, INT64_MAX, &number) < 0)
        return 0;
    if (pid != NULL) {
        uint64_t meant;

        if (flowd_integer_parse(pid, strlen(pid), 1, INT32_MAX, &meant) < 0 ||
            meant != (uint64_t)getpid())
            return 0;
    }
    return (int64_t)number / 2;
}
