/* What compare.py measures with: one program, four roles.
 *
 *   probe mark FILE            its first act is to read the clock; then it appends "PID NANOSECONDS" to FILE and waits
 *   probe ready FILE           the same, and says that it is ready, in each way that a manager may listen for
 *   probe spawn N FILE         starts N copies of `probe mark FILE` by posix_spawn: the least that this can take; they
 *                              end with it
 *   probe time COMMAND ARG...  runs the command, its output going nowhere, and prints "EXIT-CODE BEGIN END"
 *
 * All times are CLOCK_MONOTONIC in nanoseconds, the clock of Python's time.monotonic_ns() on Linux.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what, int error)
{
    fprintf(stderr, "probe: %s: %s\n", what, strerror(error));
    exit(127);
}

/* One write to a file opened for appending: lines of many copies do not mix. */
static void mark(const char *file, long long born)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%d %lld\n", getpid(), born);
    int out = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (out < 0 || write(out, line, length) != length)
        die(file, errno);
    close(out);
}

static void say_ready(void)
{
    const char *notify = getenv("NOTIFY_SOCKET");
    const char *channel = getenv("NODE_CHANNEL_FD");
    if (notify != NULL) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        size_t length = strlen(notify);
        if (length >= sizeof to.sun_path)
            die("NOTIFY_SOCKET", ENAMETOOLONG);
        memcpy(to.sun_path, notify, length);
        if (to.sun_path[0] == '@')
            to.sun_path[0] = '\0';
        int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (sendto(out, "READY=1", 7, 0, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + length) != 7)
            die(notify, errno);
        close(out);
    }
    if (channel != NULL && write(atoi(channel), "\"ready\"\n", 8) != 8)
        die("NODE_CHANNEL_FD", errno);
}

static void run_copies(const char *self, int count, const char *file)
{
    char *arguments[] = {(char *)self, "child", (char *)file, NULL};
    for (int copy = 0; copy < count; copy++) {
        pid_t pid;
        int error = posix_spawn(&pid, self, NULL, NULL, arguments, environ);
        if (error != 0)
            die(self, error);
    }
}

static int run_timed(char **command)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int status;
    long long begin = now();
    int error = posix_spawnp(&pid, command[0], &actions, NULL, command, environ);
    if (error != 0)
        die(command[0], error);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid", errno);
    long long end = now();
    printf("%d %lld %lld\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), begin, end);
    return 0;
}

int main(int count, char **argument)
{
    long long born = now();
    if (count == 3 && strcmp(argument[1], "mark") == 0) {
        mark(argument[2], born);
    } else if (count == 3 && strcmp(argument[1], "child") == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        mark(argument[2], born);
    } else if (count == 3 && strcmp(argument[1], "ready") == 0) {
        mark(argument[2], born);
        say_ready();
    } else if (count == 4 && strcmp(argument[1], "spawn") == 0) {
        run_copies(argument[0], atoi(argument[2]), argument[3]);
        /* Ends when its starter closes the pipe. */
        char byte;
        return read(0, &byte, 1) < 0;
    } else if (count >= 3 && strcmp(argument[1], "time") == 0) {
        return run_timed(argument + 2);
    } else {
        fprintf(stderr, "usage: probe mark|ready FILE, probe spawn N FILE, probe time COMMAND ARG...\n");
        return 2;
    }
    for (;;)
        pause();
}
