/* Reads one HTTP/1.1 response, however it is framed, and checks that it is the right answer. */
#ifndef BENCH_RESPONSE_H
#define BENCH_RESPONSE_H

#include "support.h"

enum { TEXT_BYTES_MAX = 64 * 1024 }; /* a whole body, or one SSE event */

/* What a right answer looks like; the sequence number ties it to its request. */
struct expectation {
    bool is_stream;
    unsigned content_count;   /* content events of a stream */
    char *body;               /* a whole answer, stamped before each comparison */
    size_t body_size;
    char *sequence_places[8]; /* where in `body` */
    unsigned sequence_count;
};

enum response_phase { HEAD, SIZED_BODY, CHUNKED_BODY, WHOLE, BROKEN };

struct response {
    enum response_phase phase;
    const struct expectation *expected;
    char marker[32]; /* "chatcmpl-bench-SSSSSSSSSS" */
    uint64_t sequence;
    int status;
    bool closes, overflowed;
    int64_t left;
    struct chunk_reader chunks;
    unsigned events, content_seen;
    bool finished, done, mangled; /* of a stream */
    size_t text_size;
    char text[TEXT_BYTES_MAX]; /* the head, then the body or the unfinished event */
};

/* Makes ready for the answer to the request with this number. */
void response_start(struct response *response, const struct expectation *expected,
                    uint64_t sequence);

/* Takes bytes as they come, until `phase` is WHOLE or BROKEN; returns how many were used. */
size_t response_feed(struct response *response, const char *data, size_t size);

/* Whether a whole response with status 200 is, byte for byte or event for event, the expected one. */
bool response_is_right(const struct response *response);

/* Reads the template of a whole body; "##########" marks each sequence number. */
void expect_body(struct expectation *expected, const char *path);

#endif
