#include "serial.h"

static void put32(const serial_port *port, uint32_t value)
{
    uint32_t i;
    for (i = 0; i < 4u; ++i) {
        port->put((uint8_t)(value >> (8u * i)));
    }
}

static int get16(const serial_port *port, uint32_t *value)
{
    int low = port->get();
    int high = port->get();
    *value = (uint32_t)low + ((uint32_t)high << 8);
    return low >= 0 && high >= 0;
}

static void put_states(const serial_port *port, const int32_t *states, uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; ++i) {
        put32(port, (uint32_t)states[i]);
    }
}

static void step(model_state *state, const serial_port *port, uint32_t taken, uint32_t ticks)
{
    uint8_t spikes[MODEL_CLASSES];
    uint32_t i;
    uint32_t before = port->clock();
    (void)model_step(state, spikes);
    ticks += port->clock() - before;
    put32(port, taken);
    put32(port, ticks);
    for (i = 0; i < MODEL_WORDS; ++i) {
        put32(port, state->spikes[i]);
    }
}

static int known(int command)
{
    return command == 'R' || command == 'S' || command == 'V' || command == 'C' || command == 'T';
}

void serial_serve(model_state *state, const serial_port *port)
{
    uint32_t taken = 0, ticks = 0, channel, y, x, before;
    int command;
    while ((command = port->get()) >= 0) {
        if (command == 'E') {
            if (!get16(port, &channel) || !get16(port, &y) || !get16(port, &x)) {
                return;
            }
            before = port->clock();
            taken += (uint32_t)model_event(state, channel, y, x);
            ticks += port->clock() - before;
            continue;
        }
        port->put(known(command) ? (uint8_t)command : (uint8_t)'?');
        switch (command) {
        case 'R':
            model_reset(state);
            taken = 0;
            ticks = 0;
            break;
        case 'S':
            step(state, port, taken, ticks);
            taken = 0;
            ticks = 0;
            break;
        case 'V':
#if MODEL_CURRENTS > 0
            put_states(port, state->current, MODEL_CURRENTS);
#endif
            put_states(port, state->membrane, MODEL_NEURONS);
            break;
        case 'C':
            put32(port, model_classify(state));
            break;
        case 'T':
            before = port->clock();
            put32(port, port->clock() - before);
            break;
        default:
            break;
        }
    }
}
