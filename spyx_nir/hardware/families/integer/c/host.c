/* The model on a computer: serial.h over standard input and output, without a clock. */
#include "serial.h"

#include <stdio.h>

static int get(void)
{
    return getchar();
}

static void put(uint8_t byte)
{
    (void)putchar(byte);
}

static uint32_t no_clock(void)
{
    return 0;
}

int main(void)
{
    static model_state state;
    const serial_port port = {get, put, no_clock};
    model_reset(&state);
    serial_serve(&state, &port);
    return 0;
}
