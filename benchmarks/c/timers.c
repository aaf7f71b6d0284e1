#include "timers.h"

static void put(struct timers *timers, int place, struct timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void rise(struct timers *timers, int place, struct timer *timer)
{
    while (place > 0 && timers->heap[(place - 1) / 2]->due_ns > timer->due_ns) {
        put(timers, place, timers->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(timers, place, timer);
}

static void sink(struct timers *timers, int place, struct timer *timer)
{
    for (int child; (child = 2 * place + 1) < timers->count; place = child) {
        if (child + 1 < timers->count &&
            timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
            child++;
        if (timers->heap[child]->due_ns >= timer->due_ns)
            break;
        put(timers, place, timers->heap[child]);
    }
    put(timers, place, timer);
}

void timer_clear(struct timers *timers, struct timer *timer)
{
    int place = timer->place;
    if (place == NO_TIMER)
        return;
    timer->place = NO_TIMER;
    struct timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    if (place > 0 && timers->heap[(place - 1) / 2]->due_ns > last->due_ns)
        rise(timers, place, last);
    else
        sink(timers, place, last);
}

void timer_set(struct timers *timers, struct timer *timer, uint64_t due_ns)
{
    timer_clear(timers, timer);
    timer->due_ns = due_ns;
    rise(timers, timers->count++, timer);
}

uint64_t next_due(const struct timers *timers)
{
    return timers->count > 0 ? timers->heap[0]->due_ns : UINT64_MAX;
}

struct timer *take_due(struct timers *timers, uint64_t now_ns)
{
    if (next_due(timers) > now_ns)
        return NULL;
    struct timer *timer = timers->heap[0];
    timer_clear(timers, timer);
    return timer;
}
