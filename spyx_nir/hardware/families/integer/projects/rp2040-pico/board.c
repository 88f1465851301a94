/* Raspberry Pi Pico: RP2040, Cortex-M0+ at 125 MHz, UART0 on GP0 (sends) and GP1 (receives).

   Sections are those of the RP2040 datasheet; offsets and bits as in pico-sdk, src/rp2040/hardware_regs. No
   board was at hand: this was compiled and not run. */
#include "board.h"

#define CLEAR 0x3000u /* alias of a register that clears bits: "Atomic Register Access" */

#define RESETS_RESET 0x4000C000u /* "Subsystem Resets" */
#define RESETS_DONE REGISTER(0x4000C008u)
#define OF_IO_BANK0 (1u << 5)
#define OF_PADS_BANK0 (1u << 8)
#define OF_PLL_SYS (1u << 12)
#define OF_UART0 (1u << 22)

#define XOSC_CTRL REGISTER(0x40024000u) /* "Crystal Oscillator (XOSC)" */
#define XOSC_STATUS REGISTER(0x40024004u)
#define XOSC_STARTUP REGISTER(0x4002400Cu)

#define PLL_CS REGISTER(0x40028000u) /* "PLL" */
#define PLL_PWR 0x40028004u
#define PLL_FBDIV REGISTER(0x40028008u)
#define PLL_PRIM REGISTER(0x4002800Cu)

#define CLK_REF_CTRL REGISTER(0x40008030u) /* "Clocks" */
#define CLK_REF_SELECTED REGISTER(0x40008038u)
#define CLK_SYS_CTRL REGISTER(0x4000803Cu)
#define CLK_SYS_SELECTED REGISTER(0x40008044u)
#define CLK_PERI_CTRL REGISTER(0x40008048u)

#define GPIO0_CTRL REGISTER(0x40014004u) /* "GPIO", IO - User Bank */
#define GPIO1_CTRL REGISTER(0x4001400Cu)

#define UART_DR REGISTER(0x40034000u) /* "UART", a PL011 */
#define UART_FR REGISTER(0x40034018u)
#define UART_IBRD REGISTER(0x40034024u)
#define UART_FBRD REGISTER(0x40034028u)
#define UART_LCR_H REGISTER(0x4003402Cu)
#define UART_CR REGISTER(0x40034030u)

#define SYSTICK_CTRL REGISTER(0xE000E010u) /* Armv6-M Architecture Reference Manual, DDI 0419, B3.3 */
#define SYSTICK_LOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)

static void wake(uint32_t units)
{
    REGISTER(RESETS_RESET + CLEAR) = units;
    while ((RESETS_DONE & units) != units) {
    }
}

static void clocks(void)
{
    XOSC_CTRL = 0xAA0u;      /* 1 to 15 MHz */
    XOSC_STARTUP = 47u;      /* 47 * 256 clocks of 12 MHz: 1 ms */
    XOSC_CTRL = 0xFABAA0u;   /* on */
    while ((XOSC_STATUS & (1u << 31)) == 0u) {
    }
    CLK_REF_CTRL = 2u; /* the crystal */
    while ((CLK_REF_SELECTED & (1u << 2)) == 0u) {
    }
    CLK_SYS_CTRL = 0u; /* as clk_ref, until the PLL is locked */
    while ((CLK_SYS_SELECTED & 1u) == 0u) {
    }
    wake(OF_PLL_SYS);
    PLL_CS = 1u;       /* 12 MHz / 1 */
    PLL_FBDIV = 125u;  /* 1500 MHz */
    REGISTER(PLL_PWR + CLEAR) = (1u << 0) | (1u << 5); /* PD, VCOPD */
    while ((PLL_CS & (1u << 31)) == 0u) {
    }
    PLL_PRIM = (6u << 16) | (2u << 12); /* 1500 / 6 / 2 = 125 MHz */
    REGISTER(PLL_PWR + CLEAR) = 1u << 3; /* POSTDIVPD */
    CLK_SYS_CTRL = 1u; /* the auxiliary source, of which 0 is pll_sys */
    while ((CLK_SYS_SELECTED & 2u) == 0u) {
    }
    CLK_PERI_CTRL = (1u << 11) | (4u << 5); /* on, by the crystal */
}

void board_start(void)
{
    clocks();
    wake(OF_IO_BANK0 | OF_PADS_BANK0 | OF_UART0);
    GPIO0_CTRL = 2u; /* UART0 TX: "Function Select" */
    GPIO1_CTRL = 2u; /* UART0 RX */
    UART_IBRD = 6u;  /* 12 MHz / 16 / 115200 = 6.510 = 6 + 33 / 64 */
    UART_FBRD = 33u;
    UART_LCR_H = (3u << 5) | (1u << 4); /* 8 bits, FIFOs */
    UART_CR = (1u << 0) | (1u << 8) | (1u << 9);
    SYSTICK_LOAD = 0x00FFFFFFu;
    SYSTICK_VALUE = 0u;
    SYSTICK_CTRL = 5u; /* on, by the processor's clock */
}

int board_get(void)
{
    while ((UART_FR & (1u << 4)) != 0u) { /* RXFE */
    }
    return (int)(UART_DR & 255u);
}

void board_put(uint8_t byte)
{
    while ((UART_FR & (1u << 5)) != 0u) { /* TXFF */
    }
    UART_DR = byte;
}

/* In 1/256 of a tick, so that the 24 bits fill 32: --clock 32e9. */
uint32_t board_clock(void)
{
    return (0x00FFFFFFu - SYSTICK_VALUE) << 8;
}

void start(void);
void entry(void);

static void fault(void)
{
    for (;;) {
    }
}

extern void stack_top(void); /* of link.ld */

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    stack_top, start, fault, fault,
};

/* The first word of RAM: where a debugger starts after load, and the boot ROM after a UF2 for RAM. */
__attribute__((section(".entry"), naked, used)) void entry(void)
{
    __asm__ volatile(
        "ldr r0, =vectors_start\n"
        "ldr r1, =0xE000ED08\n" /* VTOR */
        "str r0, [r1]\n"
        "ldr r0, =stack_top\n"
        "mov sp, r0\n"
        "ldr r0, =start\n"
        "bx r0\n"
        ".ltorg\n");
}
