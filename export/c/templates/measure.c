/* Prints the instructions of each part of an estimate and its stack, on QEMU with -icount shift=0.
 * Includes the source of the model, so that its static functions can be called. */
#include "soil_model.c"

#include <stdio.h>

#include "golden.h"

#define SYSTICK ((volatile uint32_t *)0xe000e010u) /* control, reload value, current value; counts 24 bits down */
#define LOOPS 100000u
#define PAINT 0xa5u
#define PAINTED 16384

static float work[SOIL_WORK_FLOATS];
static soil_result result;

static float ticks_since(uint32_t before)
{
    return (float)((before - SYSTICK[2]) & 0xffffffu);
}

/* Instructions of one tick of the timer, from a loop of two instructions. */
static float instructions_per_tick(void)
{
    uint32_t count = LOOPS;
    const uint32_t before = SYSTICK[2];
    __asm__ volatile("1: subs %0, #1\n bne 1b" : "+r"(count) : : "cc");
    return 2.0f * (float)LOOPS / ticks_since(before);
}

/* Bytes of stack that an estimate uses: paints the memory below this function, and looks how far the paint is gone. */
static __attribute__((noinline)) int stack_bytes(const float *scan)
{
    unsigned char *here = __builtin_frame_address(0);
    volatile unsigned char *lowest = here - PAINTED;
    int at;
    for (at = 0; at < PAINTED; ++at) {
        lowest[at] = PAINT;
    }
    soil_estimate(scan, work, &result);
    for (at = 0; at < PAINTED && lowest[at] == PAINT; ++at) {
    }
    return PAINTED - at;
}

int main(void)
{
    const float *scan = golden_scans[0].scan;
    uint32_t before;
    float per_tick;

    SYSTICK[1] = 0xffffffu;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    per_tick = instructions_per_tick();
$measured_parts
    before = SYSTICK[2];
    soil_estimate(scan, work, &result);
    printf("total %.0f\n", (double)(ticks_since(before) * per_tick));
    printf("stack %d\n", stack_bytes(scan));
    return 0;
}
