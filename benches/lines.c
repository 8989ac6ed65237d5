/* What logs.py measures with: writes lines of 100 bytes, numbered, 8 KiB at a time as programs with a buffer do.
 *
 *   lines BYTES FILE      writes so many to standard output, the last line says END; then it appends "BEGIN END" to FILE,
 *                         nanoseconds of CLOCK_MONOTONIC from the first write to the return of the last one, and waits
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 100, BLOCK = 8192 };

static char block[BLOCK + LINE];
static size_t held;

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "lines: %s: %s\n", what, strerror(errno));
    exit(127);
}

static void write_out(size_t count)
{
    size_t from = 0;
    while (from < count) {
        ssize_t done = write(1, block + from, count - from);
        if (done < 0 && errno != EINTR)
            die("write");
        from += done < 0 ? 0 : (size_t)done;
    }
    memmove(block, block + count, held - count);
    held -= count;
}

static void add(long number, const char *rest)
{
    int front = sprintf(block + held, "%010ld %s", number, rest);
    memset(block + held + front, '.', LINE - 1 - (size_t)front);
    block[held + LINE - 1] = '\n';
    held += LINE;
    if (held >= BLOCK)
        write_out(BLOCK);
}

int main(int count, char **argument)
{
    if (count != 3) {
        fprintf(stderr, "usage: lines BYTES FILE\n");
        return 2;
    }
    long lines = atol(argument[1]) / LINE;
    long long begin = now();
    for (long number = 1; number < lines; number++)
        add(number, "GET /api/v1/orders 200 12ms ");
    add(lines, "END ");
    write_out(held);
    char line[64];
    int length = snprintf(line, sizeof line, "%lld %lld\n", begin, now());
    int out = open(argument[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (out < 0 || write(out, line, (size_t)length) != length)
        die(argument[2]);
    for (;;)
        pause();
}
