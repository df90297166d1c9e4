/* Start of a program on the Cortex-M3, M4 and M7 that QEMU simulates (mps2-an385, an386, an500). */
#include <stdint.h>
#include <string.h>

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;

int main(void);
void reset(void);
void stop(void);

/* Ends QEMU by a semihosting call, with exit code 0 or 1. */
static void end(int failed)
{
    register uint32_t operation __asm__("r0") = 0x18, reason __asm__("r1") = failed ? 0x20023 : 0x20026;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(reason) : "memory");
    for (;;) {
    }
}

/* Handler of every fault. */
void stop(void)
{
    end(1);
}

#ifdef WITH_STDIO
void initialise_monitor_handles(void);
#endif

void reset(void)
{
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* switch the floating-point unit on */
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
#ifdef WITH_STDIO
    initialise_monitor_handles();
#endif
    end(main() != 0);
}

__attribute__((section(".vectors"), used)) void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)stop, (void *)stop, (void *)stop, (void *)stop, (void *)stop,
};
