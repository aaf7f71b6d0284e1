/* A latency histogram in the manner of HdrHistogram: 128 buckets per power of two,
 * so a value is off by at most 0.4 %, in fixed memory and constant time. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum {
    HISTOGRAM_BITS = 7,
    HISTOGRAM_MAGNITUDES = 34, /* up to 2^40 ns, 18 minutes; longer values count as that */
    HISTOGRAM_BUCKETS = (HISTOGRAM_MAGNITUDES + 1) << HISTOGRAM_BITS,
};

struct histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value_ns);

/* The value below which `share` (0..1) of all values lie, in ns; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

/* Writes {"count":..,"mean":..,"p50":..,"p90":..,"p99":..,"p999":..,"max":..}, microseconds. */
void histogram_print(const struct histogram *histogram, FILE *file);

#endif
