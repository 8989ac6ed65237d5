/* A client for HTTP that never tries twice: each failure counts.
 *
 *   load new|kept PORT CONNECTIONS THINK_MS SECONDS
 *
 * new: a connection for each request. kept: as many requests on a connection as the server lets it have; one that the
 * server has closed between two requests is opened anew, which is no failure, and one that it closes while a request is on
 * its way is. After an answer each connection pauses for THINK_MS to twice that; 0: not at all.
 *
 * A failure is a connection that is refused or reset, an answer that is cut off, another status than 200, and more than
 * five seconds. SIGUSR1 takes what there was so far for what is usual; SIGTERM, or the end of SECONDS, ends it. Prints one
 * JSON object. One thread; an answer is complete by its Content-Length, its last chunk, or the end of its connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TOO_LONG_NS 5000000000ull
#define BUFFER 16384
#define MOST 1024

enum state { PAUSING, CONNECTING, WAITING };

struct client {
    enum state state;
    int fd;
    unsigned long long began, wake;
    size_t length;
    char bytes[BUFFER];
};

static struct client clients[MOST];
static int epoll, count, kept, think_ms;
static struct sockaddr_in server;
static unsigned *times;
static size_t done, room;
static unsigned long long failed, began_at, steady_count;
static double steady_p999;
static volatile sig_atomic_t over, mark;
static struct { char what[96]; unsigned long long count; } reasons[16];

static unsigned long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned long long)time.tv_sec * 1000000000ull + (unsigned long long)time.tv_nsec;
}

static unsigned long long dice(void)
{
    static unsigned long long state = 88172645463325252ull;
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    return state;
}

static void on_signal(int number)
{
    if (number == SIGUSR1) mark = 1; else over = 1;
}

static void rest(struct client *client)
{
    unsigned long long pause = (unsigned long long)think_ms * 1000000ull;
    client->wake = now() + (pause ? pause + dice() % pause : 0);
    client->state = PAUSING;
}

static void drop(struct client *client)
{
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
}

static void fail(struct client *client, const char *what, int error)
{
    char text[96];
    snprintf(text, sizeof text, "%s%s%s", what, error ? ": " : "", error ? strerror(error) : "");
    failed++;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (!reasons[i].count) snprintf(reasons[i].what, sizeof reasons[i].what, "%s", text);
        if (!strcmp(reasons[i].what, text)) { reasons[i].count++; break; }
    }
    drop(client);
    rest(client);
}

static void send_request(struct client *client)
{
    const char *text = kept ? "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
                            : "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    ssize_t sent = send(client->fd, text, strlen(text), MSG_NOSIGNAL);
    if (sent != (ssize_t)strlen(text)) { fail(client, "request not taken", errno); return; }
    client->state = WAITING;
    client->length = 0;
}

static void begin(struct client *client)
{
    client->began = now();
    if (client->fd >= 0) {
        /* As every client with a pool of connections does: one that its server has closed is not used. */
        char byte;
        ssize_t peeked = recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (peeked < 0 && errno == EAGAIN) { send_request(client); return; }
        drop(client);
    }
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    if (client->fd < 0) { fail(client, "socket", errno); return; }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client };
    int connected = connect(client->fd, (struct sockaddr *)&server, sizeof server);
    if (connected != 0 && errno != EINPROGRESS) { fail(client, "connect", errno); return; }
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
    client->state = CONNECTING;
}

static void answered(struct client *client, int closes)
{
    unsigned long long took = now() - client->began;
    if (done == room) {
        room = room ? 2 * room : 1 << 16;
        times = realloc(times, room * sizeof *times);
        if (!times) abort();
    }
    times[done++] = (unsigned)(took / 1000);
    if (closes || !kept) drop(client);
    rest(client);
}

static const char *field(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) : NULL;
}

/* Whether the answer is complete: 1 yes, 0 not yet, -1 it is none. */
static int complete(struct client *client, int ended, int *closes)
{
    client->bytes[client->length] = 0;
    char *body = strstr(client->bytes, "\r\n\r\n");
    if (!body) return ended ? -1 : 0;
    if (strncmp(client->bytes, "HTTP/1.", 7) || strncmp(client->bytes + 8, " 200", 4)) return -1;
    size_t head = (size_t)(body - client->bytes) + 4;
    char kept_byte = *body;
    *body = 0;
    const char *length = field(client->bytes, "\r\ncontent-length:");
    const char *coding = field(client->bytes, "\r\ntransfer-encoding: chunked");
    const char *connection = field(client->bytes, "\r\nconnection:");
    *closes = ended || (connection && strcasestr(connection, "close")) ||
              (client->bytes[7] == '0' && !(connection && strcasestr(connection, "keep-alive")));
    size_t wanted = length ? (size_t)atol(length) : 0;
    int has_length = length != NULL, is_chunked = coding != NULL;
    *body = kept_byte;
    if (has_length) return client->length >= head + wanted ? 1 : ended ? -1 : 0;
    if (is_chunked) {
        int last = client->length >= head + 5 && !memcmp(client->bytes + client->length - 5, "0\r\n\r\n", 5);
        return last ? 1 : ended ? -1 : 0;
    }
    return ended ? 1 : 0;
}

static void on_event(struct client *client)
{
    if (client->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { fail(client, "connect", error); return; }
        struct tcp_info info;
        size = sizeof info;
        if (getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == TCP_SYN_SENT) return;
        send_request(client);
    }
    while (client->state == WAITING) {
        ssize_t got = recv(client->fd, client->bytes + client->length, BUFFER - 1 - client->length, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) { fail(client, client->length ? "answer cut off" : "no answer", errno); return; }
        client->length += (size_t)got;
        int closes = 0, is_complete = complete(client, got == 0, &closes);
        if (is_complete < 0) { fail(client, client->length ? "bad answer" : "closed without an answer", 0); return; }
        if (is_complete > 0) answered(client, closes);
        else if (client->length == BUFFER - 1) { fail(client, "too long", 0); return; }
    }
}

static int compare(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

static double percentile(size_t number, double share)
{
    if (!number) return 0;
    unsigned *sorted = malloc(number * sizeof *sorted);
    if (!sorted) abort();
    memcpy(sorted, times, number * sizeof *sorted);
    qsort(sorted, number, sizeof *sorted, compare);
    size_t at = (size_t)(share * (double)number);
    double value = sorted[at < number ? at : number - 1] / 1000.0;
    free(sorted);
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 6) { fprintf(stderr, "usage: load new|kept PORT CONNECTIONS THINK_MS SECONDS\n"); return 2; }
    kept = !strcmp(argv[1], "kept");
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    count = atoi(argv[3]);
    think_ms = atoi(argv[4]);
    unsigned long long limit = (unsigned long long)(atof(argv[5]) * 1e9);
    if (count < 1 || count > MOST) return 2;
    signal(SIGUSR1, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    began_at = now();
    for (int i = 0; i < count; i++) {
        clients[i].fd = -1;
        clients[i].state = PAUSING;
        clients[i].wake = began_at + (think_ms ? dice() % ((unsigned long long)think_ms * 1000000ull) : 0);
    }
    while (!over && now() - began_at < limit) {
        struct epoll_event events[256];
        unsigned long long moment = now(), next = moment + 50000000ull;
        for (int i = 0; i < count; i++) {
            struct client *client = &clients[i];
            if (client->state == PAUSING && client->wake <= moment) begin(client);
            else if (client->state != PAUSING && moment - client->began > TOO_LONG_NS) fail(client, "took more than 5 s", 0);
            if (client->state == PAUSING && client->wake < next) next = client->wake;
        }
        moment = now();
        int wait = next <= moment ? 0 : (int)((next - moment) / 1000000ull) + 1;
        int ready = epoll_wait(epoll, events, 256, wait);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (client->state != PAUSING) on_event(client);
        }
        if (mark) { mark = 0; steady_count = done; steady_p999 = percentile(done, 0.999); }
    }
    double seconds = (double)(now() - began_at) / 1e9;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"requests\": %zu, \"failed\": %llu, \"seconds\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f, "
           "\"steady\": %llu, \"steady_p999\": %.3f, \"cpu\": %.3f, \"reasons\": {",
           done, failed, seconds, percentile(done, 0.5), percentile(done, 0.99), percentile(done, 0.999),
           percentile(done, 1.0), steady_count, steady_p999,
           (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6 + (double)used.ru_stime.tv_sec +
               (double)used.ru_stime.tv_usec / 1e6);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons && reasons[i].count; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", reasons[i].what, reasons[i].count);
    printf("}}\n");
    return 0;
}
