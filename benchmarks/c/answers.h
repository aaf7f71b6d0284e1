/* The upstream's answers, prepared once; a request only stamps its numbers into a copy. */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H

#include "support.h"

enum {
    ANSWER_BYTES_MAX = 4096, /* the longest single write */
    BODY_BYTES = 1024,       /* the completion's body, exactly */
};

/* Prepared bytes with the places where numbers are stamped in. */
struct template {
    char text[ANSWER_BYTES_MAX];
    size_t size, sequence_places[2], index_place;
    unsigned sequence_count;
};

struct templates {
    struct template completion, models, missing, too_large;
    struct template role[2], content[2], finish[2], usage, done; /* [include_usage] */
};

/* Writes the completion's body (BODY_BYTES and a NUL), with ten "#" for each sequence number. */
void write_body(char *body);

void fill_templates(struct templates *all);

/* Copies a template to `place` with its numbers stamped in; returns its size. */
size_t copy_stamped(char *place, const struct template *template, uint64_t sequence, uint64_t index);

#endif
