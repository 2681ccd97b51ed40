/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warnings that several modules share: a listener or a file that few or none of those reach who are
 * to, found by asking the host and the file system.
 */
#include "daemon/options/warnings.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/messages.h"
#include "daemon/net/address.h"
#include "daemon/net/host.h"

void flowd_warnings_address(const char *address, const char *path, const struct flowd_host *host,
                            struct flowd_messages *warnings)
{
    static const struct in6_addr unspecified;
    struct flowd_address parsed;

    if (flowd_address_parse(address, strlen(address), &parsed) < 0 ||
        memcmp(&parsed.addr, &unspecified, sizeof(unspecified)) == 0 ||
        flowd_host_is_local(host, parsed.family, &parsed.addr))
        return;
    flowd_messages_add(warnings, "%s: no interface has the address %s, so nobody reaches it", path,
                       address);
}

void flowd_warnings_access(int64_t mode, const char *group, const char *path,
                           struct flowd_messages *warnings)
{
    if ((mode & S_IWOTH) != 0)
        return;
    if ((mode & S_IWGRP) == 0)
        flowd_messages_add(
            warnings,
            "%s: \"%04o\" lets nobody in but flowd's own user%s%s%s; \"0660\" with a "
            "group lets its members in, \"0666\" everybody",
            path, (unsigned)mode & 0777u, group[0] != '\0' ? ", not even group \"" : "", group,
            group[0] != '\0' ? "\"" : "");
    else if (group[0] == '\0')
        flowd_messages_add(warnings,
                           "%s: \"%04o\" without a group lets only flowd's own user and group in",
                           path, (unsigned)mode & 0777u);
}

void flowd_warnings_passage(const char *file, const char *path, struct flowd_messages *warnings)
{
    for (const char *slash = strchr(file, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        char directory[PATH_MAX];
        struct stat status;

        snprintf(directory, sizeof(directory), "%.*s", (int)(slash - file), file);
        if (slash == file || stat(directory, &status) < 0 || (status.st_mode & S_IXOTH) != 0)
            continue;
        flowd_messages_add(warnings, "%s: only user %u and group %u get through directory %s", path,
                           (unsigned)status.st_uid, (unsigned)status.st_gid, directory);
        return;
    }
}
