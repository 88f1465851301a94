/* libFuzzer's bytes as commands of serial.h, and then as events and steps of two instances. */
#include "serial.h"

#include <stddef.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *next;
static size_t left;
static uint32_t now;

static int get(void)
{
    if (left == 0) {
        return -1;
    }
    --left;
    return *next++;
}

static void put(uint8_t byte)
{
    (void)byte;
}

static uint32_t clock_of(void)
{
    return now += 3u;
}

/* What must hold of any state: within the bits of the profile, no spike beyond the neurons. */
static void check(const model_state *state)
{
    uint32_t i, best = model_classify(state);
    for (i = 0; i < MODEL_CLASSES; ++i) {
        if (state->counts[i] > state->counts[best]) {
            abort();
        }
    }
    for (i = 0; state->running == 0u && i < MODEL_NEURONS; ++i) {
        if (state->membrane[i] > 0x7FFFFF || state->membrane[i] < -0x800000) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static model_state served, state, other;
    const serial_port port = {get, put, clock_of};
    uint8_t spikes[MODEL_CLASSES];
    size_t i;
    next = data;
    left = size;
    model_reset(&served);
    serial_serve(&served, &port);
    check(&served);
    model_reset(&state);
    model_reset(&other);
    for (i = 0; i + 4u <= size; i += 4u) {
        uint32_t often = data[i] & 31u ? 1u : 255u;
        while (often-- > 0u) {
            if (model_event(&state, data[i + 1u], data[i + 2u], data[i + 3u]) !=
                model_event(&other, data[i + 1u], data[i + 2u], data[i + 3u])) {
                abort();
            }
        }
        if ((data[i] & 64u) != 0u) {
            if (model_step(&state, spikes) != model_step(&other, 0)) {
                abort();
            }
            check(&state);
        }
    }
    for (i = 0; i < MODEL_NEURONS; ++i) {
        if (state.membrane[i] != other.membrane[i]) {
            abort();
        }
    }
    return 0;
}
