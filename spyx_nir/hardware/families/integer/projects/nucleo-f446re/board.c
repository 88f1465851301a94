/* Nucleo-F446RE: STM32F446RE, Cortex-M4 at 180 MHz by its internal oscillator, USART2 on PA2 and PA3, which
   the board's ST-Link shows as a serial port (UM1724, "USART communication").

   Addresses: RM0390, "Memory map"; sections of RM0390 beside the registers. No board was at hand: this ran
   on QEMU's netduinoplus2 (STM32F405) without clocks(), which it does not emulate. */
#include "board.h"

#define RCC_CR REGISTER(0x40023800u)      /* "RCC clock control register" */
#define RCC_PLLCFGR REGISTER(0x40023804u) /* "RCC PLL configuration register" */
#define RCC_CFGR REGISTER(0x40023808u)    /* "RCC clock configuration register" */
#define RCC_AHB1ENR REGISTER(0x40023830u) /* "RCC AHB1 peripheral clock enable register" */
#define RCC_APB1ENR REGISTER(0x40023840u) /* "RCC APB1 peripheral clock enable register" */
#define FLASH_ACR REGISTER(0x40023C00u)   /* "Flash access control register" */
#define PWR_CR REGISTER(0x40007000u)      /* "PWR power control register" */
#define PWR_CSR REGISTER(0x40007004u)     /* "PWR power control/status register" */
#define GPIOA_MODER REGISTER(0x40020000u) /* "GPIO port mode register" */
#define GPIOA_AFRL REGISTER(0x40020020u)  /* "GPIO alternate function low register" */
#define USART2_SR REGISTER(0x40004400u)   /* "USART registers" */
#define USART2_DR REGISTER(0x40004404u)
#define USART2_BRR REGISTER(0x40004408u)
#define USART2_CR1 REGISTER(0x4000440Cu)
#define DEMCR REGISTER(0xE000EDFCu)       /* Armv7-M Architecture Reference Manual, DDI 0403, C1.6.5 */
#define DWT_CTRL REGISTER(0xE0001000u)    /* DDI 0403, C1.8.7 */
#define DWT_CYCCNT REGISTER(0xE0001004u)  /* DDI 0403, C1.8.8 */

static void wait_for(volatile uint32_t *of, uint32_t bits)
{
    while ((*of & bits) != bits) {
    }
}

#ifndef BOARD_KEEPS_CLOCKS
static void clocks(void)
{
    RCC_APB1ENR |= (1u << 28) | (1u << 17); /* PWR, USART2 */
    RCC_AHB1ENR |= 1u;                      /* GPIOA */
    /* 16 MHz / 8 * 180 / 2 = 180 MHz; Q = 8 and R = 2 are unused. */
    RCC_PLLCFGR = 8u | (180u << 6) | (0u << 16) | (8u << 24) | (2u << 28);
    PWR_CR |= 3u << 14; /* voltage scale 1 */
    RCC_CR |= 1u << 24; /* PLL on */
    PWR_CR |= 1u << 16; /* over-drive, for more than 168 MHz: "Entering Over-drive mode" */
    wait_for(&PWR_CSR, 1u << 16);
    PWR_CR |= 1u << 17;
    wait_for(&PWR_CSR, 1u << 17);
    FLASH_ACR = 5u | (1u << 8) | (1u << 9) | (1u << 10); /* 5 wait states, prefetch, caches */
    wait_for(&RCC_CR, 1u << 25);
    RCC_CFGR = (5u << 10) | (4u << 13); /* APB1 / 4 = 45 MHz, APB2 / 2 */
    RCC_CFGR |= 2u;                     /* the PLL */
    wait_for(&RCC_CFGR, 2u << 2);
}
#endif

void board_start(void)
{
#ifndef BOARD_KEEPS_CLOCKS /* of an emulator without RCC, where nothing becomes ready */
    clocks();
#endif
    GPIOA_MODER = (GPIOA_MODER & ~0xF0u) | 0xA0u;      /* PA2, PA3: alternate function */
    GPIOA_AFRL = (GPIOA_AFRL & ~0xFF00u) | 0x7700u;    /* AF7: DS10693, "Alternate function" */
    USART2_BRR = 391u;                                 /* 45 MHz / 115200 = 390.6 */
    USART2_CR1 = (1u << 13) | (1u << 3) | (1u << 2);
    DEMCR |= 1u << 24;                                 /* TRCENA */
    DWT_CYCCNT = 0u;
    DWT_CTRL |= 1u;
}

int board_get(void)
{
    wait_for(&USART2_SR, 1u << 5); /* RXNE */
    return (int)(USART2_DR & 255u);
}

void board_put(uint8_t byte)
{
    wait_for(&USART2_SR, 1u << 7); /* TXE */
    USART2_DR = byte;
}

/* Cycles: --clock 180e6. */
uint32_t board_clock(void)
{
    return DWT_CYCCNT;
}

void start(void);

static void fault(void)
{
    for (;;) {
    }
}

extern void stack_top(void); /* of link.ld */

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    stack_top, start, fault, fault, fault, fault, fault,
};
