/* One timer a connection, the earliest first: a binary heap in fixed memory. */
#ifndef BENCH_TIMERS_H
#define BENCH_TIMERS_H

#include <stddef.h>
#include <stdint.h>

enum {
    TIMERS_MAX = 16384,
    NO_TIMER = -1,
};

struct timer {
    uint64_t due_ns;
    int place; /* in the heap, or NO_TIMER */
};

struct timers {
    int count;
    struct timer *heap[TIMERS_MAX];
};

/* Sets or moves a timer; its `place` must start as NO_TIMER. */
void timer_set(struct timers *timers, struct timer *timer, uint64_t due_ns);
void timer_clear(struct timers *timers, struct timer *timer);

/* When the earliest is due; UINT64_MAX without any. */
uint64_t next_due(const struct timers *timers);

/* Takes out one timer that is due, or NULL. */
struct timer *take_due(struct timers *timers, uint64_t now_ns);

#endif
