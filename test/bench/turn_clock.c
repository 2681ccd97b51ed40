/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into flowd (LD_PRELOAD): the CPU time that its thread takes between two waits for
 * events, which is a turn of the loop. What it finds stands in the file that TURN_CLOCK names,
 * which others may set to zero; without that variable it does nothing.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* turns.py reads it too. */
struct turn_clock {
    uint64_t longest_ns; /* since it was set to zero */
    uint64_t turns;
    uint64_t start_ns; /* before the first wait */
};

typedef int wait_function(int fd, struct epoll_event *events, int count, int timeout);

static struct turn_clock *clock_page;

static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

__attribute__((constructor)) static void open_page(void)
{
    const char *path = getenv("TURN_CLOCK");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page;

    if (fd < 0)
        return;
    page = mmap(NULL, sizeof(*clock_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        clock_page = page;
}

static void note(uint64_t turn_ns)
{
    clock_page->turns++;
    if (turn_ns > clock_page->longest_ns)
        clock_page->longest_ns = turn_ns;
}

/* In place of the C library's, which it calls. */
int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    static wait_function *wait_for;
    static uint64_t began_ns;
    int result;

    if (wait_for == NULL)
        *(void **)&wait_for = dlsym(RTLD_NEXT, "epoll_wait");
    if (clock_page == NULL)
        return wait_for(fd, events, count, timeout);
    if (began_ns > 0)
        note(cpu_ns() - began_ns);
    else
        clock_page->start_ns = cpu_ns();
    result = wait_for(fd, events, count, timeout);
    began_ns = cpu_ns();
    return result;
}
