#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_BYTES_MAX = 64 * 1024,
    EVENTS_MAX = 256,
    READ_BYTES = 64 * 1024,
    SETTLE_MS = 50, /* between connecting and the first request */
};
static const uint64_t SWEEP_NS = 100000000; /* how often timeouts are looked for */

/* ---- connections ---- */

static void push_idle(struct load *load, struct connection *connection)
{
    connection->state = IDLE;
    connection->next_idle = NULL;
    if (load->idle_first == NULL)
        load->idle_first = connection;
    else
        load->idle_last->next_idle = connection;
    load->idle_last = connection;
}

/* The longest idle connection that is still open, or NULL. */
static struct connection *pop_idle(struct load *load)
{
    struct connection *connection = load->idle_first;
    if (connection != NULL)
        load->idle_first = connection->next_idle;
    return connection;
}

static void watch(struct load *load, struct connection *connection, int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (connection->waits_for_room)
        event.events |= EPOLLOUT;
    if (epoll_ctl(load->epoll_fd, operation, connection->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static bool open_connection(struct load *load, struct connection *connection)
{
    const struct sockaddr_in *address = &load->options.address;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die("socket: %s", strerror(errno));
    if (connect(connection->fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        close(connection->fd);
        connection->state = DEAD;
        load->counts.refused++;
        return false;
    }
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    connection->waits_for_room = false;
    watch(load, connection, EPOLL_CTL_ADD);
    load->alive++;
    return true;
}

/* Closes and opens anew; a connection that cannot be opened again is out of the run. */
static void reopen(struct load *load, struct connection *connection)
{
    bool was_idle = connection->state == IDLE;
    if (connection->state == WAITING)
        load->waiting--;
    close(connection->fd);
    load->alive--;
    if (!open_connection(load, connection))
        return; /* an idle one stays in the list, and is skipped as dead */
    load->counts.reconnects++;
    if (!was_idle)
        push_idle(load, connection);
}

static void fail(struct load *load, struct connection *connection, uint64_t *counter)
{
    const struct response *response = &connection->response;
    (*counter)++;
    if (load->counts.wrong_status + load->counts.wrong_body + load->counts.broken == 1 &&
        counter != &load->counts.closed)
        fprintf(stderr, "load: first wrong answer: request %llu, status %d, %zu bytes: %.*s\n",
                (unsigned long long)response->sequence, response->status, response->text_size,
                response->text_size < 400 ? (int)response->text_size : 400, response->text);
}

static bool flush(struct load *load, struct connection *connection)
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
    if (has_rest != connection->waits_for_room) {
        connection->waits_for_room = has_rest;
        watch(load, connection, EPOLL_CTL_MOD);
    }
    return true;
}

/* Sends the next request; start_ns is the moment its latency counts from. */
static void send_request(struct load *load, struct connection *connection, uint64_t start_ns)
{
    uint64_t sequence = load->options.first_sequence + load->counts.sent++;
    memcpy(connection->out, load->request, load->request_size);
    stamp(connection->out + load->sequence_place, sequence);
    connection->out_size = load->request_size;
    connection->out_sent = 0;
    connection->state = WAITING;
    connection->has_first_byte = false;
    connection->start_ns = start_ns;
    connection->sent_ns = now_ns();
    load->waiting++;
    response_start(&connection->response, &load->expected, sequence);
    if (!flush(load, connection)) {
        fail(load, connection, &load->counts.closed);
        reopen(load, connection);
    }
}

/* ---- answers ---- */

static bool is_measured(const struct load *load, const struct connection *connection)
{
    return connection->response.sequence - load->options.first_sequence >= load->options.warmup;
}

static void finish(struct load *load, struct connection *connection, uint64_t now)
{
    struct response *response = &connection->response;
    load->counts.answered++;
    load->counts.events += response->events;
    load->waiting--;
    if (response->status != 200)
        fail(load, connection, &load->counts.wrong_status);
    else if (!response_is_right(response))
        fail(load, connection, &load->counts.wrong_body);
    else
        load->counts.right++;
    if (is_measured(load, connection))
        histogram_add(&load->latency, now - connection->start_ns);
    push_idle(load, connection);
    if (response->closes)
        reopen(load, connection);
}

static void on_bytes(struct load *load, struct connection *connection, const char *data, size_t size)
{
    uint64_t now = now_ns();
    load->counts.bytes += size;
    if (connection->state != WAITING) { /* bytes nobody asked for */
        load->counts.broken++;
        reopen(load, connection);
        return;
    }
    if (!connection->has_first_byte) {
        connection->has_first_byte = true;
        if (is_measured(load, connection))
            histogram_add(&load->first_byte, now - connection->start_ns);
    }
    size_t used = response_feed(&connection->response, data, size);
    if (connection->response.phase == BROKEN || used < size) {
        fail(load, connection, &load->counts.broken);
        reopen(load, connection);
    } else if (connection->response.phase == WHOLE) {
        finish(load, connection, now);
    }
}

static void on_event(struct load *load, struct connection *connection, uint32_t events)
{
    static char buffer[READ_BYTES];
    if (connection->state == DEAD)
        return;
    bool is_open = true;
    if (events & EPOLLOUT)
        is_open = flush(load, connection);
    ssize_t got = is_open ? recv(connection->fd, buffer, sizeof buffer, 0) : 0;
    if (got > 0) {
        on_bytes(load, connection, buffer, (size_t)got);
        return;
    }
    if (got < 0 && errno == EAGAIN)
        return;
    if (connection->state == WAITING)
        fail(load, connection, &load->counts.closed);
    reopen(load, connection);
}

static void sweep_timeouts(struct load *load, uint64_t now)
{
    uint64_t span = (uint64_t)(load->options.timeout_s * 1e9);
    for (unsigned i = 0; i < load->options.connections; i++) {
        struct connection *connection = &load->connections[i];
        if (connection->state != WAITING || now < connection->sent_ns + span)
            continue;
        load->counts.timed_out++;
        reopen(load, connection);
    }
}

/* ---- the loop ---- */

uint64_t due_count(const struct load *load, uint64_t now)
{
    const struct options *options = &load->options;
    if (options->rate == 0)
        return options->requests;
    uint64_t due = (uint64_t)((double)(now - load->start_ns) * options->rate / 1e9) + 1;
    return due < options->requests ? due : options->requests;
}

static uint64_t intended_ns(const struct load *load, uint64_t index)
{
    return load->start_ns + (uint64_t)((double)index * 1e9 / load->options.rate);
}

static void send_due(struct load *load)
{
    uint64_t now = now_ns();
    if (now >= load->stop_ns)
        return;
    uint64_t due = due_count(load, now);
    while (load->counts.sent < due) {
        struct connection *connection = pop_idle(load);
        if (connection == NULL)
            return;
        if (connection->state == DEAD)
            continue;
        uint64_t start = load->options.rate > 0 ? intended_ns(load, load->counts.sent) : now_ns();
        send_request(load, connection, start);
    }
}

static bool is_over(const struct load *load, uint64_t now)
{
    if (load->alive == 0)
        return true;
    bool all_sent = load->counts.sent >= load->options.requests || now >= load->stop_ns;
    return all_sent && load->waiting == 0;
}

static uint64_t next_wake(const struct load *load, uint64_t sweep_ns)
{
    const struct options *options = &load->options;
    if (options->rate == 0 || load->idle_first == NULL || load->counts.sent >= options->requests)
        return sweep_ns;
    uint64_t next = intended_ns(load, load->counts.sent);
    return next < sweep_ns ? next : sweep_ns;
}

void run(struct load *load)
{
    struct epoll_event events[EVENTS_MAX];
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_MS * 1000000l}, NULL);
    load->start_ns = now_ns();
    load->stop_ns = load->start_ns + (uint64_t)(load->options.seconds * 1e9);
    uint64_t sweep_ns = load->start_ns + SWEEP_NS;
    while (!is_over(load, now_ns())) {
        send_due(load);
        int count = wait_until(load->epoll_fd, events, EVENTS_MAX, next_wake(load, sweep_ns));
        for (int i = 0; i < count; i++)
            on_event(load, events[i].data.ptr, events[i].events);
        uint64_t now = now_ns();
        if (now >= sweep_ns) {
            sweep_timeouts(load, now);
            sweep_ns = now + SWEEP_NS;
        }
    }
}

/* ---- setting up ---- */

void prepare_request(struct load *load, const char *body_path)
{
    struct expectation file = {0};
    expect_body(&file, body_path);
    if (file.sequence_count != 1)
        die("%s must have one ########## for the sequence number, not %u", body_path,
            file.sequence_count);
    load->request = malloc(REQUEST_BYTES_MAX);
    if (load->request == NULL || file.body_size > REQUEST_BYTES_MAX - 1024)
        die("the request body is too long");
    int head = snprintf(load->request, 1024,
                        "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%u\r\nuser-agent: pointsman-bench\r\n"
                        "accept: application/json\r\nauthorization: Bearer bench\r\n"
                        "content-type: application/json\r\ncontent-length: %zu\r\n\r\n",
                        load->options.path, ntohs(load->options.address.sin_port), file.body_size);
    if (head >= 1024)
        die("--path is too long");
    memcpy(load->request + head, file.body, file.body_size);
    load->request_size = (size_t)head + file.body_size;
    load->sequence_place = (size_t)head + (size_t)(file.sequence_places[0] - file.body);
    free(file.body);
}

void connect_all(struct load *load)
{
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->connections = calloc(load->options.connections, sizeof *load->connections);
    if (load->connections == NULL)
        die("out of memory");
    for (unsigned i = 0; i < load->options.connections; i++) {
        struct connection *connection = &load->connections[i];
        connection->out = malloc(load->request_size);
        if (connection->out == NULL)
            die("out of memory");
        if (!open_connection(load, connection))
            die("cannot connect to port %u: %s", ntohs(load->options.address.sin_port),
                strerror(errno));
        push_idle(load, connection);
    }
}
