/* The network behind a board's serial port, for bringup.py. */
#include "board.h"
#include "serial.h"

static model_state state;

extern uint32_t bss_start[], bss_end[]; /* of link.ld */
void start(void);

void start(void)
{
    static const serial_port port = {board_get, board_put, board_clock};
    uint32_t *word;
    for (word = bss_start; word < bss_end; ++word) {
        *(volatile uint32_t *)word = 0;
    }
    board_start();
    model_reset(&state);
    serial_serve(&state, &port);
    for (;;) {
    }
}
