/* Talk to the model over a byte stream, such as a serial port. All numbers are little-endian.

   to the model                       from the model
   'R'                                'R'           every state is 0
   'E' channel y x (uint16 each)                    an event of the running step
   'S'                                'S' events ticks (uint32 each), words of spikes (uint32)
   'V'                                'V' currents, membranes (int32)
   'C'                                'C' class (uint32)
   'T'                                'T' ticks (uint32) of nothing: two readings of the clock
   anything else                      '?'

   'S' ends the step. events: how many were taken in it; a lost byte shows there, or as '?'. ticks: what
   the clock counted in model_event and model_step; each call has one 'T' in it. */
#ifndef SERIAL_H
#define SERIAL_H

#include "model.h"

typedef struct {
    int (*get)(void);          /* the next byte; below 0 at the end */
    void (*put)(uint8_t byte);
    uint32_t (*clock)(void);   /* counts up; differences are taken modulo 2^32 */
} serial_port;

/* Serves until `get` has no more. */
void serial_serve(model_state *state, const serial_port *port);

#endif
