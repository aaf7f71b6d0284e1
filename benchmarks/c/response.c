#include "response.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MARKER[] = "chatcmpl-bench-";
static const char CONTENT[] = "\"content\":\" w";

void response_start(struct response *response, const struct expectation *expected, uint64_t sequence)
{
    memset(response, 0, offsetof(struct response, text));
    response->expected = expected;
    response->sequence = sequence;
    memcpy(response->marker, MARKER, strlen(MARKER));
    stamp(response->marker + strlen(MARKER), sequence);
}

static bool has_prefix(const char *data, size_t size, const char *prefix)
{
    return size >= strlen(prefix) && memcmp(data, prefix, strlen(prefix)) == 0;
}

/* A content event counts only in its turn: a lost, doubled or swapped one is mangled. */
static void check_content(struct response *response, const char *event, size_t size)
{
    const char *content = find(event, size, CONTENT);
    if (content == NULL)
        return;
    char index[SEQUENCE_DIGITS];
    stamp(index, response->content_seen++);
    content += strlen(CONTENT);
    if (event + size - content < SEQUENCE_DIGITS || memcmp(content, index, SEQUENCE_DIGITS) != 0)
        response->mangled = true;
}

static void check_event(struct response *response, const char *event, size_t size)
{
    if (size > 0 && event[0] == ':') /* a comment, such as a keep-alive */
        return;
    response->events++;
    if (response->done || !has_prefix(event, size, "data: ")) {
        response->mangled = true;
        return;
    }
    if (has_prefix(event, size, "data: [DONE]")) {
        response->done = true;
        return;
    }
    if (event[size - 1] != '}' || find(event, size, response->marker) == NULL)
        response->mangled = true;
    check_content(response, event, size);
    if (find(event, size, "\"finish_reason\":\"stop\"") != NULL)
        response->finished = true;
}

/* Checks every whole event in `text` and moves the unfinished one to the front. */
static void check_events(struct response *response)
{
    const char *from = response->text;
    const char *end = response->text + response->text_size;
    const char *blank;
    while ((blank = find(from, (size_t)(end - from), "\n\n")) != NULL) {
        check_event(response, from, (size_t)(blank - from));
        from = blank + 2;
    }
    response->text_size = (size_t)(end - from);
    memmove(response->text, from, response->text_size);
}

static void take_payload(void *context, const char *data, size_t size)
{
    struct response *response = context;
    if (size > TEXT_BYTES_MAX - response->text_size) {
        response->overflowed = true;
        return;
    }
    memcpy(response->text + response->text_size, data, size);
    response->text_size += size;
    if (response->expected->is_stream)
        check_events(response);
}

static void read_head(struct response *response, size_t size)
{
    const char *head = response->text;
    if (!has_prefix(head, size, "HTTP/1.1 ") || !isdigit((unsigned char)head[9])) {
        response->phase = BROKEN;
        return;
    }
    response->status = atoi(head + 9);
    response->closes = header_says(head, size, "connection", "close");
    if (header_says(head, size, "transfer-encoding", "chunked")) {
        response->phase = CHUNKED_BODY;
        return;
    }
    response->left = content_length(head, size);
    response->phase = response->left < 0 ? BROKEN : response->left == 0 ? WHOLE : SIZED_BODY;
}

static size_t feed_head(struct response *response, const char *data, size_t size)
{
    size_t before = response->text_size;
    size_t part = size < HEAD_BYTES_MAX - before ? size : HEAD_BYTES_MAX - before;
    memcpy(response->text + before, data, part);
    response->text_size += part;
    size_t head = head_size(response->text, response->text_size);
    if (head == 0) {
        if (response->text_size == HEAD_BYTES_MAX)
            response->phase = BROKEN;
        return part;
    }
    read_head(response, head);
    response->text_size = 0;
    return head - before;
}

static size_t feed_body(struct response *response, const char *data, size_t size)
{
    if (response->phase == CHUNKED_BODY) {
        size_t used = feed_chunks(&response->chunks, data, size, take_payload, response);
        if (response->chunks.phase == CHUNK_DONE)
            response->phase = WHOLE;
        else if (response->chunks.phase == CHUNK_BROKEN)
            response->phase = BROKEN;
        return used;
    }
    size_t part = size < (size_t)response->left ? size : (size_t)response->left;
    take_payload(response, data, part);
    response->left -= (int64_t)part;
    if (response->left == 0)
        response->phase = WHOLE;
    return part;
}

size_t response_feed(struct response *response, const char *data, size_t size)
{
    size_t used = 0;
    while (used < size && response->phase != WHOLE && response->phase != BROKEN) {
        if (response->phase == HEAD)
            used += feed_head(response, data + used, size - used);
        else
            used += feed_body(response, data + used, size - used);
    }
    return used;
}

static bool stream_is_right(const struct response *response)
{
    return response->done && response->finished && !response->mangled &&
           response->text_size == 0 &&
           response->content_seen == response->expected->content_count;
}

bool response_is_right(const struct response *response)
{
    const struct expectation *expected = response->expected;
    if (response->overflowed)
        return false;
    if (expected->is_stream)
        return stream_is_right(response);
    for (unsigned i = 0; i < expected->sequence_count; i++)
        stamp(expected->sequence_places[i], response->sequence);
    return response->text_size == expected->body_size &&
           memcmp(response->text, expected->body, expected->body_size) == 0;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die("cannot read %s: %s", path, strerror(errno));
    char *text = malloc(TEXT_BYTES_MAX);
    if (text == NULL)
        die("out of memory");
    *size = fread(text, 1, TEXT_BYTES_MAX, file);
    if (*size == TEXT_BYTES_MAX)
        die("%s is too long; at most %d bytes", path, TEXT_BYTES_MAX - 1);
    fclose(file);
    return text;
}

void expect_body(struct expectation *expected, const char *path)
{
    expected->body = read_file(path, &expected->body_size);
    char *from = expected->body;
    const char *end = expected->body + expected->body_size;
    while ((from = memmem(from, (size_t)(end - from), "##########", SEQUENCE_DIGITS)) != NULL) {
        if (expected->sequence_count == 8)
            die("%s has more than 8 sequence numbers", path);
        expected->sequence_places[expected->sequence_count++] = from;
        from += SEQUENCE_DIGITS;
    }
}
