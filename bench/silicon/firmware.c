/* serial.h on the first UART of an mps2 board (CMSDK APB UART), with SysTick as the clock. The linker knows
   where the UART and the end of RAM are: mps2.ld, mps2-an505.ld.

   The clock counts in units of 1/256 tick, so that its 24 bits fill 32 and differences wrap rightly. */
#include "serial.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define UART_DATA uart[0]
#define UART_STATE uart[1]
#define UART_CTRL uart[2]
#define UART_BAUDDIV uart[4]
#define SYSTICK_CTRL REGISTER(0xE000E010u)
#define SYSTICK_LOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)

extern volatile uint32_t uart[];
extern void stack_top(void);

static model_state state;

static int get(void)
{
    while ((UART_STATE & 2u) == 0u) {
    }
    return (int)(UART_DATA & 255u);
}

static void put(uint8_t byte)
{
    while ((UART_STATE & 1u) != 0u) {
    }
    UART_DATA = byte;
}

static uint32_t clock(void)
{
    return (0x00FFFFFFu - SYSTICK_VALUE) << 8;
}

void start(void);

void start(void)
{
    static const serial_port port = {get, put, clock};
    UART_BAUDDIV = 16u;
    UART_CTRL = 3u;
    SYSTICK_LOAD = 0x00FFFFFFu;
    SYSTICK_VALUE = 0u;
    SYSTICK_CTRL = 5u; /* on, by the processor's clock */
    model_reset(&state);
    serial_serve(&state, &port);
    for (;;) {
    }
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    stack_top, start, fault, fault, fault, fault, fault,
};
