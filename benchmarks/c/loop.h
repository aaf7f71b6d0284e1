/* The load generator's loop: connections, sending on time, taking answers. */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include "histogram.h"
#include "response.h"
#include "support.h"

enum { CONNECTIONS_MAX = 10000 };

enum state { IDLE, WAITING, DEAD };

struct connection {
    int fd;
    enum state state;
    bool waits_for_room, has_first_byte;
    uint64_t start_ns; /* sent, or intended to be sent */
    uint64_t sent_ns;
    size_t out_size, out_sent;
    char *out;
    struct connection *next_idle;
    struct response response;
};

struct options {
    struct sockaddr_in address;
    const char *path;
    unsigned connections;
    uint64_t requests, warmup, first_sequence;
    double seconds, rate, timeout_s;
};

struct counts {
    uint64_t sent, answered, right, reconnects;
    uint64_t wrong_status, wrong_body, broken, closed, timed_out, refused;
    uint64_t events, bytes;
};

struct load {
    struct options options;
    struct expectation expected;
    int epoll_fd;
    char *request; /* head and body, the sequence number still "##########" */
    size_t request_size, sequence_place;
    struct connection *connections;
    struct connection *idle_first, *idle_last; /* oldest first: all take their turn */
    unsigned waiting, alive;
    uint64_t start_ns, stop_ns, interval_ns;
    struct counts counts;
    struct histogram latency, first_byte;
};

/* Reads the request's body from a file, with one "##########", and puts the head before it. */
void prepare_request(struct load *load, const char *body_path);

/* Opens all connections, or ends the program. */
void connect_all(struct load *load);

/* Sends and takes answers until the bounds are reached and nothing is under way. */
void run(struct load *load);

/* How many requests are meant to have been sent at a moment. */
uint64_t due_count(const struct load *load, uint64_t now);

#endif
