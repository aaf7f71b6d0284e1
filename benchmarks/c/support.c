#include "support.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>

extern char *program_invocation_short_name;

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int wait_until(int epoll_fd, struct epoll_event *events, int count, uint64_t due_ns)
{
    struct timespec span = {0, 0};
    struct timespec *timeout = &span;
    if (due_ns == UINT64_MAX) {
        timeout = NULL;
    } else {
        uint64_t now = now_ns();
        uint64_t left = due_ns > now ? due_ns - now : 0;
        span.tv_sec = (time_t)(left / 1000000000u);
        span.tv_nsec = (long)(left % 1000000000u);
    }
    int ready = epoll_pwait2(epoll_fd, events, count, timeout, NULL);
    if (ready < 0 && errno != EINTR)
        die("epoll_pwait2: %s (Linux 5.11 or later is needed)", strerror(errno));
    return ready < 0 ? 0 : ready;
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

uint64_t parse_number(const char *flag, const char *text, uint64_t low, uint64_t high)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || number < low || number > high)
        die("--%s must be a number from %llu to %llu, not \"%s\"", flag, (unsigned long long)low,
            (unsigned long long)high, text);
    return number;
}

struct sockaddr_in loopback_address(const char *text, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        die("not an IPv4 address: \"%s\"", text);
    if (ntohl(address.sin_addr.s_addr) >> 24 != 127)
        die("refused: %s is outside 127.0.0.0/8, and this program stays on loopback", text);
    return address;
}

void stamp(char *place, uint64_t sequence)
{
    for (int i = SEQUENCE_DIGITS - 1; i >= 0; i--) {
        place[i] = (char)('0' + sequence % 10);
        sequence /= 10;
    }
}

const char *find(const char *data, size_t size, const char *needle)
{
    return memmem(data, size, needle, strlen(needle));
}

size_t head_size(const char *data, size_t size)
{
    const char *end = find(data, size, "\r\n\r\n");
    return end == NULL ? 0 : (size_t)(end - data) + 4;
}

const char *header_value(const char *head, size_t size, const char *name, size_t *value_size)
{
    size_t name_size = strlen(name);
    const char *end = head + size;
    const char *line = memchr(head, '\n', size); /* the first line is no header */
    while (line != NULL && ++line < end) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (line_end == NULL)
            return NULL;
        if ((size_t)(line_end - line) > name_size && line[name_size] == ':' &&
            strncasecmp(line, name, name_size) == 0) {
            const char *value = line + name_size + 1;
            while (value < line_end && isspace((unsigned char)*value))
                value++;
            const char *last = line_end;
            while (last > value && isspace((unsigned char)last[-1]))
                last--;
            *value_size = (size_t)(last - value);
            return value;
        }
        line = line_end;
    }
    return NULL;
}

bool header_says(const char *head, size_t size, const char *name, const char *word)
{
    size_t value_size = 0;
    size_t word_size = strlen(word);
    const char *value = header_value(head, size, name, &value_size);
    if (value == NULL)
        return false;
    for (size_t i = 0; i + word_size <= value_size; i++)
        if (strncasecmp(value + i, word, word_size) == 0)
            return true;
    return false;
}

int64_t content_length(const char *head, size_t size)
{
    size_t value_size = 0;
    const char *value = header_value(head, size, "content-length", &value_size);
    if (value == NULL || value_size == 0 || value_size > 12)
        return -1;
    int64_t length = 0;
    for (size_t i = 0; i < value_size; i++) {
        if (!isdigit((unsigned char)value[i]))
            return -1;
        length = length * 10 + (value[i] - '0');
    }
    return length;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void feed_size_byte(struct chunk_reader *reader, char c)
{
    if (c == '\n') {
        bool empty = reader->line_size == 0;
        reader->phase = empty ? CHUNK_BROKEN : reader->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        reader->line_size = 0;
        reader->in_extension = false;
        return;
    }
    if (c == '\r' || reader->in_extension)
        return;
    if (c == ';' || c == ' ') {
        reader->in_extension = true;
        return;
    }
    int digit = hex_value(c);
    if (digit < 0 || ++reader->line_size > 12) {
        reader->phase = CHUNK_BROKEN;
        return;
    }
    reader->left = reader->left * 16 + (unsigned)digit;
}

static void feed_trailer_byte(struct chunk_reader *reader, char c)
{
    if (c == '\n') {
        if (reader->line_size == 0)
            reader->phase = CHUNK_DONE;
        reader->line_size = 0;
    } else if (c != '\r') {
        reader->line_size++;
    }
}

size_t feed_chunks(struct chunk_reader *reader, const char *data, size_t size, payload_sink *sink,
                   void *context)
{
    size_t used = 0;
    while (used < size && reader->phase != CHUNK_DONE && reader->phase != CHUNK_BROKEN) {
        if (reader->phase == CHUNK_DATA) {
            size_t part = size - used < reader->left ? size - used : (size_t)reader->left;
            sink(context, data + used, part);
            used += part;
            reader->left -= part;
            if (reader->left == 0)
                reader->phase = CHUNK_DATA_END;
            continue;
        }
        char c = data[used++];
        if (reader->phase == CHUNK_SIZE)
            feed_size_byte(reader, c);
        else if (reader->phase == CHUNK_TRAILER)
            feed_trailer_byte(reader, c);
        else if (c == '\n')
            reader->phase = CHUNK_SIZE;
        else if (c != '\r')
            reader->phase = CHUNK_BROKEN;
    }
    return used;
}
