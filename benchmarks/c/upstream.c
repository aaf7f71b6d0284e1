/* An OpenAI-compatible upstream that costs next to nothing: one thread, epoll, prepared bytes.
 *
 * POST .../chat/completions answers a fixed 1 KB completion, or, where the body says "stream": true,
 * a chunked SSE stream: role, N content events of about 200 bytes, finish_reason, usage (if
 * include_usage is asked for), [DONE]. GET .../models answers a list; all else is 404.
 *
 * The prompt may carry "bench-SSSSSSSSSS-CCCCC-IIIIIII": a sequence number, the content events wanted
 * and the microseconds between them (0: as fast as the socket takes them, one write each). The number
 * comes back in the answer, so that the load generator sees answers that were mixed up or mangled.
 * Streams start at spread-out phases, or all of them would send in the same instant.
 */
#include "answers.h"
#include "support.h"
#include "timers.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REQUEST_BYTES_MAX = 64 * 1024, /* head and body; more is 413 */
    CONNECTIONS_MAX = TIMERS_MAX,  /* a descriptor and a timer each */
    EVENTS_MAX = 256,
};

enum state { READING, DELAYED, STREAMING };

struct connection {
    struct timer timer; /* first, so that a due timer is its connection */
    int fd;
    enum state state;
    bool is_streaming, include_usage, waits_for_room, closes_after;
    uint64_t sequence;
    unsigned content_sent, content_count;
    uint64_t interval_ns;
    uint64_t content_due_ns; /* when the next content event is meant to leave */
    size_t in_size, out_size, out_sent;
    char in[REQUEST_BYTES_MAX];
    char out[ANSWER_BYTES_MAX];
};

struct server {
    int epoll_fd, listener;
    unsigned connections, content_count;
    uint64_t delay_ns, interval_ns;
    uint64_t completions, streams, events, cut;
    struct templates templates;
    struct timers timers;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* ---- connections ---- */

static void close_connection(struct server *server, struct connection *connection)
{
    if (connection->state != READING)
        server->cut++;
    timer_clear(&server->timers, &connection->timer);
    close(connection->fd);
    server->connections--;
    free(connection);
}

static void watch(struct server *server, struct connection *connection, int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (connection->waits_for_room)
        event.events |= EPOLLOUT;
    if (epoll_ctl(server->epoll_fd, operation, connection->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* Sends what lies in `out`. False when the peer is gone. */
static bool flush(struct server *server, struct connection *connection)
{
    while (connection->out_sent < connection->out_size) {
        ssize_t sent = send(connection->fd, connection->out + connection->out_sent,
                            connection->out_size - connection->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return false;
        connection->out_sent += (size_t)sent;
    }
    bool has_rest = connection->out_sent < connection->out_size;
    if (!has_rest)
        connection->out_sent = connection->out_size = 0;
    if (has_rest != connection->waits_for_room) {
        connection->waits_for_room = has_rest;
        watch(server, connection, EPOLL_CTL_MOD);
    }
    return true;
}

static void append(struct connection *connection, const struct template *template)
{
    connection->out_size += copy_stamped(connection->out + connection->out_size, template,
                                         connection->sequence, connection->content_sent);
}

static bool send_content(struct server *server, struct connection *connection)
{
    append(connection, &server->templates.content[connection->include_usage]);
    connection->content_sent++;
    server->events++;
    return flush(server, connection);
}

static bool send_end(struct server *server, struct connection *connection)
{
    append(connection, &server->templates.finish[connection->include_usage]);
    if (connection->include_usage)
        append(connection, &server->templates.usage);
    append(connection, &server->templates.done);
    connection->state = READING;
    server->streams++;
    server->events += 2u + connection->include_usage;
    return flush(server, connection);
}

/* Sends what of a stream is due, and sets the next timer. False when the peer is gone. */
static bool advance_stream(struct server *server, struct connection *connection, uint64_t now)
{
    while (!connection->waits_for_room && connection->content_sent < connection->content_count) {
        if (connection->interval_ns > 0 && connection->content_due_ns > now) {
            timer_set(&server->timers, &connection->timer, connection->content_due_ns);
            return true;
        }
        if (!send_content(server, connection))
            return false;
        connection->content_due_ns += connection->interval_ns;
    }
    if (connection->waits_for_room)
        return true;
    return send_end(server, connection);
}

static bool start_stream(struct server *server, struct connection *connection)
{
    uint64_t now = now_ns();
    connection->state = STREAMING;
    connection->content_sent = 0;
    append(connection, &server->templates.role[connection->include_usage]);
    server->events++;
    if (!flush(server, connection))
        return false;
    /* The golden ratio spreads consecutive numbers evenly over one interval. */
    uint64_t phase = (connection->sequence * 2654435769u) & 0xffffffffu;
    connection->content_due_ns = now + (connection->interval_ns * phase >> 32);
    return advance_stream(server, connection, now);
}

static bool answer(struct server *server, struct connection *connection)
{
    if (connection->is_streaming)
        return start_stream(server, connection);
    connection->state = READING;
    append(connection, &server->templates.completion);
    server->completions++;
    return flush(server, connection);
}

static unsigned digits(const char *text, int count)
{
    unsigned number = 0;
    for (int i = 0; i < count && text[i] >= '0' && text[i] <= '9'; i++)
        number = number * 10 + (unsigned)(text[i] - '0');
    return number;
}

static bool says_true(const char *body, size_t size, const char *name)
{
    const char *at = find(body, size, name);
    if (at == NULL)
        return false;
    at += strlen(name);
    const char *end = body + size;
    while (at < end && (*at == ':' || *at == ' '))
        at++;
    return end - at >= 4 && memcmp(at, "true", 4) == 0;
}

/* Reads what the body asks for; the marker's numbers win over the flags. */
static void read_wishes(struct server *server, struct connection *connection, const char *body,
                        size_t size)
{
    connection->is_streaming = says_true(body, size, "\"stream\"");
    connection->include_usage =
        connection->is_streaming && says_true(body, size, "\"include_usage\"");
    connection->sequence = 0;
    connection->content_count = server->content_count;
    connection->interval_ns = server->interval_ns;
    const char *marker = find(body, size, "bench-0");
    if (marker == NULL || body + size - marker < 30 || marker[16] != '-' || marker[22] != '-')
        return;
    connection->sequence = digits(marker + 6, SEQUENCE_DIGITS);
    connection->content_count = digits(marker + 17, 5);
    connection->interval_ns = digits(marker + 23, 7) * 1000ull;
}

static bool refuse(struct server *server, struct connection *connection,
                   const struct template *template)
{
    connection->closes_after = template == &server->templates.too_large;
    append(connection, template);
    return flush(server, connection) && !connection->closes_after;
}

static bool respond(struct server *server, struct connection *connection, const char *head,
                    size_t head_bytes, size_t body_bytes)
{
    const char *line_end = memchr(head, '\r', head_bytes);
    size_t line = (size_t)(line_end - head);
    if (memcmp(head, "GET ", 4) == 0 && find(head, line, "/models") != NULL)
        return refuse(server, connection, &server->templates.models);
    if (memcmp(head, "POST ", 5) != 0 || find(head, line, "/chat/completions") == NULL)
        return refuse(server, connection, &server->templates.missing);
    read_wishes(server, connection, head + head_bytes, body_bytes);
    if (server->delay_ns == 0)
        return answer(server, connection);
    connection->state = DELAYED;
    timer_set(&server->timers, &connection->timer, now_ns() + server->delay_ns);
    return true;
}

/* Answers every whole request in the buffer. False when the connection is to be closed. */
static bool serve_buffer(struct server *server, struct connection *connection)
{
    size_t used = 0;
    bool stays = true;
    while (stays && connection->state == READING && connection->out_size == 0) {
        const char *head = connection->in + used;
        size_t left = connection->in_size - used;
        size_t head_bytes = head_size(head, left);
        if (head_bytes == 0) {
            stays = left < HEAD_BYTES_MAX;
            break;
        }
        int64_t length = content_length(head, head_bytes);
        bool has_body = memcmp(head, "POST ", 5) == 0;
        if (has_body && (length < 0 || head_bytes + (size_t)length > REQUEST_BYTES_MAX))
            return refuse(server, connection, &server->templates.too_large);
        size_t body_bytes = length > 0 ? (size_t)length : 0;
        if (left < head_bytes + body_bytes)
            break;
        used += head_bytes + body_bytes;
        stays = respond(server, connection, head, head_bytes, body_bytes);
    }
    connection->in_size -= used;
    if (connection->in_size > 0)
        memmove(connection->in, connection->in + used, connection->in_size);
    return stays;
}

static bool on_readable(struct server *server, struct connection *connection)
{
    size_t room = REQUEST_BYTES_MAX - connection->in_size;
    ssize_t got = recv(connection->fd, connection->in + connection->in_size, room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return false;
    connection->in_size += (size_t)got;
    return serve_buffer(server, connection);
}

static bool on_writable(struct server *server, struct connection *connection)
{
    if (!flush(server, connection))
        return false;
    if (connection->waits_for_room)
        return true;
    if (connection->state == STREAMING && !advance_stream(server, connection, now_ns()))
        return false;
    return serve_buffer(server, connection);
}

static bool on_due(struct server *server, struct connection *connection, uint64_t now)
{
    bool stays = connection->state == DELAYED ? answer(server, connection)
                                              : advance_stream(server, connection, now);
    return stays && serve_buffer(server, connection);
}

static void accept_all(struct server *server)
{
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (server->connections == CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            die("out of memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        connection->fd = fd;
        connection->timer.place = NO_TIMER;
        server->connections++;
        watch(server, connection, EPOLL_CTL_ADD);
    }
}

static void serve(struct server *server)
{
    struct epoll_event events[EVENTS_MAX];
    while (!stopped) {
        int count = wait_until(server->epoll_fd, events, EVENTS_MAX, next_due(&server->timers));
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) {
                accept_all(server);
                continue;
            }
            bool stays = true;
            if (events[i].events & EPOLLOUT)
                stays = on_writable(server, connection);
            if (stays && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                stays = on_readable(server, connection);
            if (!stays)
                close_connection(server, connection);
        }
        uint64_t now = now_ns();
        struct timer *timer;
        while ((timer = take_due(&server->timers, now)) != NULL) {
            struct connection *connection = (struct connection *)timer;
            if (!on_due(server, connection, now))
                close_connection(server, connection);
        }
    }
}

static void start_listening(struct server *server, struct sockaddr_in address)
{
    socklen_t size = sizeof address;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(server->listener, (struct sockaddr *)&address, size) < 0 ||
        listen(server->listener, SOMAXCONN) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) < 0)
        die("cannot listen: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listener, &event);
    printf("upstream listening port=%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the runner */
    prctl(PR_SET_TIMERSLACK, 1);      /* the default 50 us would blur every interval */
}

static const char usage[] =
    "usage: upstream [--address 127.0.0.1] [--port 0] [--delay-us 0] [--chunks 100]\n"
    "                [--interval-us 20000] [--print-body]\n"
    "Prints its port, serves until SIGTERM, then prints what it served as JSON.\n"
    "--print-body prints the completion's body with ten # for each sequence number, and ends.\n";

static struct sockaddr_in read_flags(struct server *server, int count, char **arguments)
{
    static const struct option flags[] = {
        {"address", required_argument, NULL, 'a'},     {"port", required_argument, NULL, 'p'},
        {"delay-us", required_argument, NULL, 'd'},    {"chunks", required_argument, NULL, 'c'},
        {"interval-us", required_argument, NULL, 'i'}, {"print-body", no_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},              {NULL, 0, NULL, 0}};
    const char *address = "127.0.0.1";
    uint16_t port = 0;
    char body[BODY_BYTES + 1];
    int flag;
    server->content_count = 100;
    server->interval_ns = 20000000;
    while ((flag = getopt_long(count, arguments, "", flags, NULL)) != -1) {
        switch (flag) {
        case 'a': address = optarg; break;
        case 'p': port = (uint16_t)parse_number("port", optarg, 0, 65535); break;
        case 'd': server->delay_ns = parse_number("delay-us", optarg, 0, 60000000) * 1000; break;
        case 'c': server->content_count = (unsigned)parse_number("chunks", optarg, 0, 99999); break;
        case 'i': server->interval_ns = parse_number("interval-us", optarg, 0, 9999999) * 1000; break;
        case 'b': write_body(body); fputs(body, stdout); exit(0);
        case 'h': fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(2);
        }
    }
    return loopback_address(address, port);
}

int main(int count, char **arguments)
{
    static struct server server;
    struct sockaddr_in address = read_flags(&server, count, arguments);
    fill_templates(&server.templates);
    catch_signals();
    start_listening(&server, address);
    serve(&server);
    printf("{\"completions\":%llu,\"streams\":%llu,\"events\":%llu,\"cut\":%llu}\n",
           (unsigned long long)server.completions, (unsigned long long)server.streams,
           (unsigned long long)server.events, (unsigned long long)server.cut);
    return 0;
}
