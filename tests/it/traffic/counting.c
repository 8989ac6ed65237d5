/* A server that counts, in memory that outlives it: how many connections it has taken, and how many it has answered.
 * Usage: counting PORT FOLDER. One after the other, a few milliseconds each, so that some wait in its queue. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct counts { volatile unsigned long taken, answered; };

static struct counts *open_counts(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, sizeof(struct counts)) != 0) { perror(path); exit(1); }
    void *memory = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) { perror("mmap"); exit(1); }
    return memory;
}

static void answer(int connection)
{
    char request[2048], body[64], text[256];
    size_t length = 0;
    while (length < sizeof request - 1) {
        ssize_t count = read(connection, request + length, sizeof request - 1 - length);
        if (count <= 0) break;
        length += (size_t)count;
        request[length] = 0;
        if (strstr(request, "\r\n\r\n")) break;
    }
    usleep(3000);
    int size = snprintf(body, sizeof body, "pid %d", (int)getpid());
    int total = snprintf(text, sizeof text,
        "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", size, body);
    if (write(connection, text, (size_t)total) != total) perror("write");
    close(connection);
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    struct counts *counts = open_counts(argv[2]);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) { perror("bind"); return 1; }
    if (listen(listener, 200) != 0) { perror("listen"); return 1; }
    for (;;) {
        struct pollfd waited = { .fd = listener, .events = POLLIN };
        if (poll(&waited, 1, -1) <= 0) continue;
        /* Before it is taken: whoever is killed in the call that takes it has it in hand. */
        counts->taken++;
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) {
            counts->taken--;
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) { perror("accept"); return 1; }
            continue;
        }
        answer(connection);
        counts->answered++;
    }
}
