#include "histogram.h"

static unsigned bucket_of(uint64_t value)
{
    const uint64_t per_magnitude = 1u << HISTOGRAM_BITS;
    if (value < per_magnitude)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    if (shift >= HISTOGRAM_MAGNITUDES)
        return HISTOGRAM_BUCKETS - 1;
    return (unsigned)((shift + 1) * per_magnitude + (value >> shift) - per_magnitude);
}

static uint64_t middle_of(unsigned bucket)
{
    const unsigned per_magnitude = 1u << HISTOGRAM_BITS;
    if (bucket < per_magnitude)
        return bucket;
    unsigned shift = bucket / per_magnitude - 1;
    uint64_t low = (uint64_t)(bucket % per_magnitude + per_magnitude) << shift;
    return low + ((1ull << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
    histogram->count++;
    histogram->sum_ns += value_ns;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
    histogram->buckets[bucket_of(value_ns)]++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    uint64_t rank = (uint64_t)(share * (double)histogram->count);
    if (rank >= histogram->count)
        rank = histogram->count - 1;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > rank) {
            uint64_t middle = middle_of(bucket);
            return middle < histogram->max_ns ? middle : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}

void histogram_print(const struct histogram *histogram, FILE *file)
{
    double mean = histogram->count > 0 ? (double)histogram->sum_ns / (double)histogram->count : 0;
    fprintf(file,
            "{\"count\":%llu,\"mean\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,"
            "\"max\":%.3f}",
            (unsigned long long)histogram->count, mean / 1e3,
            (double)histogram_quantile(histogram, 0.5) / 1e3,
            (double)histogram_quantile(histogram, 0.9) / 1e3,
            (double)histogram_quantile(histogram, 0.99) / 1e3,
            (double)histogram_quantile(histogram, 0.999) / 1e3, (double)histogram->max_ns / 1e3);
}
