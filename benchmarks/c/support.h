/* What the load generator and the upstream share: the clock, loopback sockets,
 * the marker that ties a request to its answer, and HTTP/1.1 framing. */
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEQUENCE_DIGITS = 10,       /* "##########" in a template, digits once stamped */
    HEAD_BYTES_MAX = 16 * 1024, /* a longer head is a broken peer */
};

/* Nanoseconds of the monotonic clock. */
uint64_t now_ns(void);

/* Sleeps in epoll up to due_ns (absolute; UINT64_MAX for ever). Returns the number of events. */
struct epoll_event;
int wait_until(int epoll_fd, struct epoll_event *events, int count, uint64_t due_ns);

/* Prints "PROGRAM: message" to standard error and exits with 2. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Parses a whole decimal number within the bounds, else dies naming the flag. */
uint64_t parse_number(const char *flag, const char *text, uint64_t low, uint64_t high);

/* Parses a dotted address; anything outside 127.0.0.0/8 ends the program. */
struct sockaddr_in loopback_address(const char *text, uint16_t port);

/* Writes the sequence number over the ten bytes at `place`, zero padded. */
void stamp(char *place, uint64_t sequence);

/* Finds `needle` (a C string) in data, or NULL. */
const char *find(const char *data, size_t size, const char *needle);

/* Bytes up to and including the blank line that ends a head, 0 while it is not whole. */
size_t head_size(const char *data, size_t size);

/* The trimmed value of a header in a head block, or NULL; names compare without case. */
const char *header_value(const char *head, size_t size, const char *name, size_t *value_size);

/* True where the header is there and its value contains `word` (without case). */
bool header_says(const char *head, size_t size, const char *name, const char *word);

/* The head's Content-Length, or -1 without a valid one. */
int64_t content_length(const char *head, size_t size);

/* De-chunks a body piece by piece (RFC 9112, section 7.1). Start it zeroed. */
enum chunk_phase { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_DONE, CHUNK_BROKEN };
struct chunk_reader {
    enum chunk_phase phase;
    uint64_t left;      /* payload bytes of the current chunk still to come */
    unsigned line_size; /* bytes of the current size or trailer line so far */
    bool in_extension;
};
typedef void payload_sink(void *context, const char *data, size_t size);

/* Feeds bytes, hands payload to the sink; returns how many were used (all, unless done or broken). */
size_t feed_chunks(struct chunk_reader *reader, const char *data, size_t size, payload_sink *sink,
                   void *context);

#endif
