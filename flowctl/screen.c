/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as a screen. Signals that would end or stop the program put the terminal back first
 * and then do what they always do, so that Ctrl-C works at any moment, also while flowd does not
 * answer.
 */
#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"

/* The alternate page, no cursor, no wrapping of lines that are too long; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

/* Handlers get no argument of their own. */
static struct termios before;
static bool has_keys;
static volatile sig_atomic_t is_open;
static volatile sig_atomic_t is_resized;

static void write_bytes(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes += written;
        length -= (size_t)written;
    }
}

static void take_terminal(void)
{
    struct termios raw = before;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    write_bytes(ENTER, sizeof(ENTER) - 1);
    is_open = 1;
}

static void give_terminal_back(void)
{
    if (!is_open)
        return;
    is_open = 0;
    write_bytes(LEAVE, sizeof(LEAVE) - 1);
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void set_handler(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* Lets the signal that is being handled do what it does without a handler. */
static void obey(int number)
{
    sigset_t one;

    set_handler(number, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static void on_end(int number)
{
    give_terminal_back();
    obey(number);
}

static void on_stop(int number)
{
    int error = errno;

    give_terminal_back();
    obey(number);
    /* The program goes on here when it is in the foreground again. */
    set_handler(number, on_stop);
    take_terminal();
    is_resized = 1;
    errno = error;
}

static void on_resize(int number)
{
    (void)number;
    is_resized = 1;
}

bool screen_is_there(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDOUT_FILENO) && kind != NULL && kind[0] != '\0' && strcmp(kind, "dumb") != 0;
}

int screen_open(struct flowd_error *err)
{
    has_keys = isatty(STDIN_FILENO);
    if (has_keys && tcgetattr(STDIN_FILENO, &before) < 0)
        return flowd_fail_errno(err, errno, "terminal");
    for (size_t i = 0; i < ENDING_SIGNALS; i++)
        set_handler(ending_signals[i], on_end);
    set_handler(SIGTSTP, on_stop);
    set_handler(SIGWINCH, on_resize);
    take_terminal();
    return 0;
}

void screen_close(void)
{
    give_terminal_back();
    for (size_t i = 0; i < ENDING_SIGNALS; i++)
        set_handler(ending_signals[i], SIG_DFL);
    set_handler(SIGTSTP, SIG_DFL);
    set_handler(SIGWINCH, SIG_DFL);
}

void screen_size(size_t *columns, size_t *lines)
{
    struct winsize size = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;

    *columns = known ? size.ws_col : 80;
    *lines = known ? size.ws_row : 24;
}

int screen_write(const struct flowd_text *text)
{
    if (flowd_text_failed(text))
        return -ENOMEM;
    write_bytes(text->data, text->length);
    return 0;
}

enum screen_event screen_wait(int64_t deadline_ms, char *key)
{
    struct pollfd input = {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    sigset_t resize, usual;
    enum screen_event event = SCREEN_TIME;

    /* So that a change of size between the look and the wait is not missed. */
    sigemptyset(&resize);
    sigaddset(&resize, SIGWINCH);
    sigaddset(&resize, SIGTSTP);
    sigprocmask(SIG_BLOCK, &resize, &usual);
    while (!is_resized && event == SCREEN_TIME) {
        int64_t left_ms = deadline_ms - clock_now_ms();
        struct timespec left = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};

        if (left_ms <= 0 || (ppoll(&input, 1, &left, &usual) < 0 && errno != EINTR))
            break;
        if (input.revents != 0)
            event = read(STDIN_FILENO, key, 1) == 1 ? SCREEN_KEY : SCREEN_GONE;
    }
    if (is_resized && event == SCREEN_TIME) {
        is_resized = 0;
        event = SCREEN_RESIZED;
    }
    sigprocmask(SIG_SETMASK, &usual, NULL);
    return event;
}
