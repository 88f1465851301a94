/* What a board's file gives to main.c. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* Clock, pins, serial port at 115200 bits a second, 8 bits, no parity. */
void board_start(void);

/* The next byte of the serial port; waits for it. */
int board_get(void);

void board_put(uint8_t byte);

/* Counts up and wraps at 2^32. */
uint32_t board_clock(void);

#endif
