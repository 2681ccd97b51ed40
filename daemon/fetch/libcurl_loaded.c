/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, loaded as a shared library. It is never unloaded: a thread of its resolver may still run
 * when flowd wants nothing of it any more.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/fetch/libcurl.h"

#define LIBRARY "libcurl.so.4"

/* A pointer to a function is not to be cast from one to data (C11 6.3.2.3). */
static bool find(void *library, const char *name, void *function, size_t size)
{
    void *symbol = dlsym(library, name);

    memcpy(function, &symbol, size);
    return symbol != NULL;
}

int flowd_libcurl_load(struct flowd_libcurl *curl, struct flowd_error *err)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool found = library != NULL;

    curl->certificates = NULL;
#define FIND(name) found = found && find(library, #name, &curl->f_##name, sizeof(curl->f_##name));
    FLOWD_LIBCURL_FUNCTIONS(FIND)
#undef FIND
    if (!found)
        return flowd_fail(err, ENOSYS,
                          "libcurl can't be loaded (%s): install libcurl4 (Debian) or libcurl (EL)",
                          dlerror());
    return 0;
}
