/* Measures on QEMU with -icount shift=0: instructions of each part, stack, and the results of all scans at SCANS.
 * Included as source, so that its static functions can be called. */
#include "soil_model.c"

#include <stdio.h>

void initialise_monitor_handles(void);

#define SCANS ((const uint32_t *)SCANS_ADDRESS) /* their number, then their values; QEMU loads a file here */
#define SYSTICK ((volatile uint32_t *)0xe000e010u)
#define LOOPS 100000u
#define PAINT 0xa5u
#define PAINTED 16384

static float work[SOIL_WORK_FLOATS];
static soil_result result;

/* Ticks of the timer, which counts 24 bits down, since `before`. */
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

/* Bytes of stack that an estimate uses. */
static __attribute__((noinline)) int stack_bytes(const float *scan)
{
    unsigned char *here = __builtin_frame_address(0);
    volatile unsigned char *lowest = here - PAINTED;
    int at;
    for (at = 0; at < PAINTED - 256; ++at) {
        lowest[at] = PAINT;
    }
    soil_estimate(scan, work, &result);
    for (at = 0; at < PAINTED && lowest[at] == PAINT; ++at) {
    }
    return PAINTED - at;
}

static void print_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf(" %08lx", (unsigned long)bits);
}

int main(void)
{
    const float *scans = (const float *)(SCANS + 1);
    const uint32_t count = SCANS[0];
    uint32_t before, row;
    float per_tick;
    int target;

    initialise_monitor_handles();
    SYSTICK[1] = 0xffffffu;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    per_tick = instructions_per_tick();
$measured_parts
    before = SYSTICK[2];
    soil_estimate(scans, work, &result);
    printf("total %.0f\n", (double)(ticks_since(before) * per_tick));
    printf("stack %d\n", stack_bytes(scans));
    for (row = 0; row < count; ++row) {
        soil_estimate(scans + row * SOIL_BANDS, work, &result);
        printf("scan %d", (int)result.status);
        for (target = 0; target < SOIL_TARGETS; ++target) {
            print_float(result.value[target]);
        }
        print_float(result.t2);
        print_float(result.q);
        printf("\n");
    }
    return 0;
}
