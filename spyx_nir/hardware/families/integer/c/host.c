/* The model on a computer: serial.h over standard input and output, without a clock. With any argument
   each byte of an answer is written at once, for a program that waits for it. */
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

int main(int count, char **arguments)
{
    static model_state state;
    const serial_port port = {get, put, no_clock};
    (void)arguments;
    if (count > 1) {
        (void)setvbuf(stdout, 0, _IONBF, 0);
    }
    model_reset(&state);
    serial_serve(&state, &port);
    return 0;
}
