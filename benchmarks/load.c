/* The load generator: many WebSocket connections in one thread, which count what arrives and how late.
 *
 *     load PORT PATH CONNECTIONS [--first FILE] [--ready TEXT] [--stalled N] [--at-once N] [--step N] [--send TEXT]
 *
 * --first    one line for each connection, sent as its first frame
 * --ready    a connection is ready once it got a frame that holds TEXT; without, once it is open
 * --stalled  so many connections never read once they are ready; they aren't counted
 * --at-once  how many are opened at the same time (100)
 * --step     write "done" each time so many more deliveries were counted
 * --send     what `send` sends: %t becomes the time, %n a number
 *
 * A delivery is a frame with "bench t=NANOSECONDS" of the monotonic clock in it. On a connection these have to ascend.
 * Commands on standard input: "reset", "report", "send RATE COUNT" (RATE 0: each sender as fast as it is answered).
 * Answers are JSON, a line each. It ends with its standard input. Only 127.0.0.1 is ever connected to.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { NEW, CONNECTING, HANDSHAKE, OPEN, READY, GONE };

struct connection {
    int fd;
    enum state state;
    int stalled, waiting;
    uint64_t began, last, sent_at;
    char *part;
    size_t part_size;
    char *first;
};

/* Microseconds: exact to 4096, then 64 to an octave. */
#define EXACT 4096
#define BUCKETS (EXACT + 64 * 40)
struct histogram {
    uint64_t count, bucket[BUCKETS], most;
};

static struct connection *all;
static int connections, stalled, at_once = 100, port, poller;
static const char *path, *ready_text, *send_text;
static uint64_t step, received, bytes, unordered, closed, refused, acked, failed, numbered;
static int opened, ready, under_way, last_code;
static uint64_t started, all_ready;
static struct histogram delivery, ack, becoming_ready;
static char buffer[1 << 18];
static double rate;
static uint64_t to_send, next_send;
static int next_sender;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void note(struct histogram *h, uint64_t nanoseconds) {
    uint64_t us = nanoseconds / 1000;
    size_t at = us;
    if (us >= EXACT) {
        int octave = 63 - __builtin_clzll(us);
        at = EXACT + 64 * (octave - 12) + ((us >> (octave - 6)) & 63);
        if (at >= BUCKETS) at = BUCKETS - 1;
    }
    h->bucket[at]++;
    h->count++;
    if (us > h->most) h->most = us;
}

static double percentile(const struct histogram *h, double share) {
    uint64_t wanted = h->count * share, seen = 0;
    for (size_t at = 0; at < BUCKETS; at++) {
        seen += h->bucket[at];
        if (seen > wanted) {
            if (at < EXACT) return at / 1000.0;
            size_t octave = (at - EXACT) / 64 + 12, rest = (at - EXACT) % 64;
            return (double)((64 + rest) << (octave - 6)) / 1000.0;
        }
    }
    return h->most / 1000.0;
}

static void print_histogram(const char *name, const struct histogram *h) {
    printf("\"%s\":{\"count\":%lu,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name, h->count,
           percentile(h, 0.5), percentile(h, 0.99), percentile(h, 0.999), h->most / 1000.0);
}

static void report(const char *event) {
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    printf("{\"event\":\"%s\",\"received\":%lu,\"bytes\":%lu,\"unordered\":%lu,\"closed\":%lu,\"code\":%d,"
           "\"refused\":%lu,\"ready\":%d,\"ready_seconds\":%.6f,\"acked\":%lu,\"failed\":%lu,\"cpu\":%.6f,",
           event, received, bytes, unordered, closed, last_code, refused, ready, (all_ready - started) / 1e9, acked,
           failed, cpu.tv_sec + cpu.tv_nsec / 1e9);
    print_histogram("delivery", &delivery);
    putchar(',');
    print_histogram("ack", &ack);
    putchar(',');
    print_histogram("becoming_ready", &becoming_ready);
    printf("}\n");
    fflush(stdout);
}

static void drop(struct connection *c) {
    if (c->state == GONE) return;
    if (c->state < READY) {
        refused++;
        under_way--;
    } else {
        closed++;
    }
    c->state = GONE;
    close(c->fd);
    free(c->part);
    c->part = NULL;
}

/* A frame of a client; the mask's key is zero, so the payload stands as it is. */
static void write_frame(struct connection *c, int opcode, const char *payload, size_t size) {
    unsigned char head[14];
    size_t length = 2;
    head[0] = 0x80 | opcode;
    if (size < 126) {
        head[1] = 0x80 | size;
    } else {
        head[1] = 0x80 | 126;
        head[2] = size >> 8;
        head[3] = size;
        length = 4;
    }
    memset(head + length, 0, 4);
    length += 4;
    char *frame = malloc(length + size);
    memcpy(frame, head, length);
    memcpy(frame + length, payload, size);
    ssize_t written = write(c->fd, frame, length + size);
    free(frame);
    if (written != (ssize_t)(length + size)) drop(c);
}

static void is_ready(struct connection *c) {
    c->state = READY;
    under_way--;
    ready++;
    note(&becoming_ready, now() - c->began);
    if (c->stalled) epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
}

static void frame(struct connection *c, int opcode, const char *payload, size_t size) {
    if (opcode == 9) {
        write_frame(c, 10, payload, size);
        return;
    }
    if (opcode == 8) {
        last_code = size >= 2 ? (unsigned char)payload[0] << 8 | (unsigned char)payload[1] : 1005;
        drop(c);
        return;
    }
    if (opcode != 1 && opcode != 2) return;
    if (c->state == OPEN && (!ready_text || memmem(payload, size, ready_text, strlen(ready_text)))) is_ready(c);
    if (c->waiting && memmem(payload, size, "\"type\":\"ack\"", 12)) {
        c->waiting = 0;
        acked++;
        note(&ack, now() - c->sent_at);
        return;
    }
    if (c->waiting && memmem(payload, size, "\"type\":\"error\"", 14)) {
        c->waiting = 0;
        failed++;
        return;
    }
    const char *mark = memmem(payload, size, "bench t=", 8);
    if (!mark || c->stalled) return;
    uint64_t sent = 0;
    for (mark += 8; mark < payload + size && *mark >= '0' && *mark <= '9'; mark++) sent = sent * 10 + (*mark - '0');
    if (sent <= c->last) unordered++;
    c->last = sent;
    note(&delivery, now() - sent);
    received++;
    bytes += size;
    if (step && received % step == 0) {
        if (write(1, "done\n", 5) != 5) exit(1);
    }
}

/* How much of it was whole frames. */
static size_t parse(struct connection *c, const char *data, size_t size) {
    size_t at = 0;
    while (c->state != GONE) {
        if (c->state == HANDSHAKE) {
            const char *end = memmem(data + at, size - at, "\r\n\r\n", 4);
            if (!end) break;
            if (memcmp(data + at, "HTTP/1.1 101", 12) != 0) {
                drop(c);
                break;
            }
            at = end + 4 - data;
            c->state = OPEN;
            if (c->first) write_frame(c, 1, c->first, strlen(c->first));
            if (!ready_text && c->state == OPEN) is_ready(c);
            continue;
        }
        if (size - at < 2) break;
        const unsigned char *head = (const unsigned char *)data + at;
        size_t length = head[1] & 127, header = 2;
        if (length == 126) {
            if (size - at < 4) break;
            length = head[2] << 8 | head[3];
            header = 4;
        } else if (length == 127) {
            if (size - at < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | head[i];
            header = 10;
        }
        if (size - at < header + length) break;
        frame(c, head[0] & 15, data + at + header, length);
        at += header + length;
    }
    return at;
}

static void readable(struct connection *c) {
    ssize_t got = read(c->fd, buffer, sizeof buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        drop(c);
        return;
    }
    char *data = buffer, *joined = NULL;
    size_t size = got;
    if (c->part) {
        joined = realloc(c->part, c->part_size + got);
        c->part = NULL;
        memcpy(joined + c->part_size, buffer, got);
        data = joined;
        size += c->part_size;
    }
    size_t done = parse(c, data, size);
    if (c->state != GONE && done < size) {
        c->part_size = size - done;
        c->part = malloc(c->part_size);
        memcpy(c->part, data + done, c->part_size);
    }
    free(joined);
}

static void open_one(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket");
    int one = 1, small = 4096;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->stalled) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    c->began = now();
    c->state = CONNECTING;
    under_way++;
    opened++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        drop(c);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    char request[1024];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          path, port);
    if (error || write(c->fd, request, length) != length) {
        drop(c);
        return;
    }
    c->state = HANDSHAKE;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Send what is due; how many milliseconds to wait at most. */
static int send_due(void) {
    while (to_send) {
        uint64_t at = now();
        if (rate > 0 && at < next_send) return (next_send - at) / 1000000;
        struct connection *c = NULL;
        for (int i = 0; i < connections && !c; i++) {
            struct connection *one = &all[(next_sender + i) % connections];
            if (one->state == READY && !one->waiting && !one->stalled) c = one;
        }
        if (!c) return -1; /* all wait for their answer */
        next_sender = c - all + 1;
        char text[4096];
        size_t length = 0;
        for (const char *from = send_text; *from && length < sizeof text - 32; from++) {
            if (from[0] == '%' && from[1] == 't')
                length += sprintf(text + length, "%lu", at), from++;
            else if (from[0] == '%' && from[1] == 'n')
                length += sprintf(text + length, "%lu", ++numbered), from++;
            else
                text[length++] = *from;
        }
        c->waiting = 1;
        c->sent_at = rate > 0 ? next_send : at; /* late sending counts as waiting */
        if (rate > 0) next_send += 1e9 / rate;
        to_send--;
        write_frame(c, 1, text, length);
    }
    return -1;
}

static void command(char *line) {
    if (!strcmp(line, "report")) {
        report("report");
    } else if (!strcmp(line, "reset")) {
        received = bytes = unordered = acked = failed = 0;
        memset(&delivery, 0, sizeof delivery);
        memset(&ack, 0, sizeof ack);
    } else if (!strncmp(line, "send ", 5)) {
        rate = strtod(line + 5, &line);
        to_send = strtoull(line, NULL, 10);
        next_send = now();
    }
}

static void commands(void) {
    static char line[256];
    static size_t length;
    ssize_t got = read(0, line + length, sizeof line - length - 1);
    if (got <= 0) exit(0);
    length += got;
    line[length] = 0;
    char *end;
    while ((end = strchr(line, '\n'))) {
        *end = 0;
        command(line);
        length -= end + 1 - line;
        memmove(line, end + 1, length + 1);
    }
}

int main(int count, char **given) {
    if (count < 4) {
        fprintf(stderr, "usage: load PORT PATH CONNECTIONS [options], see the head of load.c\n");
        return 2;
    }
    port = atoi(given[1]);
    path = given[2];
    connections = atoi(given[3]);
    all = calloc(connections, sizeof *all);
    FILE *first = NULL;
    for (int i = 4; i + 1 < count; i += 2) {
        const char *name = given[i], *value = given[i + 1];
        if (!strcmp(name, "--first")) first = fopen(value, "r");
        if (!strcmp(name, "--first") && !first) fail(value);
        if (!strcmp(name, "--ready")) ready_text = value;
        if (!strcmp(name, "--stalled")) stalled = atoi(value);
        if (!strcmp(name, "--at-once")) at_once = atoi(value);
        if (!strcmp(name, "--step")) step = strtoull(value, NULL, 10);
        if (!strcmp(name, "--send")) send_text = value;
    }
    for (int i = 0; i < connections; i++) {
        size_t room = 0;
        ssize_t length = first ? getline(&all[i].first, &room, first) : 0;
        if (length > 0 && all[i].first[length - 1] == '\n') all[i].first[length - 1] = 0;
        all[i].stalled = i < stalled;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    started = now();
    int told = 0;
    struct epoll_event events[512];
    while (1) {
        while (opened < connections && under_way < at_once) open_one(&all[opened]);
        if (!told && ready + (int)refused == connections) {
            told = 1;
            all_ready = now();
            report("ready");
        }
        int happened = epoll_wait(poller, events, 512, send_due());
        for (int i = 0; i < happened; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) commands();
            else if (c->state == CONNECTING) connected(c);
            else if (c->state != GONE) readable(c);
        }
    }
}
