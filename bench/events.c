/* Recordings of a file through the model: `events FILE FIRST COUNT STEPS [stream]`.

   FILE: bytes (recording, step, channel, y, x), counts of events. Of COUNT recordings from FIRST on, how
   often each class spiked goes to standard output, MODEL_CLASSES uint32 each. With `stream` states go on
   from one recording to the next. Exit code 0: done; 1: not, for the reason on standard error. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define SIZE (MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH)

static model_state state;
static uint8_t frame[SIZE];

static int failed(const char *why)
{
    (void)fprintf(stderr, "%s\n", why);
    return 1;
}

static int step(void)
{
    const uint8_t *count = frame;
    uint32_t c, y, x, left;
    for (c = 0; c < MODEL_CHANNELS; ++c) {
        for (y = 0; y < MODEL_HEIGHT; ++y) {
            for (x = 0; x < MODEL_WIDTH; ++x, ++count) {
                for (left = *count; left > 0u; --left) {
                    if (!model_event(&state, c, y, x)) {
                        return 0;
                    }
                }
            }
        }
    }
    (void)model_step(&state, 0);
    return 1;
}

int main(int arguments, char **argument)
{
    uint32_t i;
    long first, recordings, steps, n, t;
    FILE *file;
    if (arguments < 5 || (file = fopen(argument[1], "rb")) == 0) {
        return failed("FILE FIRST COUNT STEPS are needed, or FILE cannot be opened");
    }
    first = atol(argument[2]);
    recordings = atol(argument[3]);
    steps = atol(argument[4]);
    if (fseek(file, first * steps * (long)SIZE, SEEK_SET) != 0) {
        return failed("no such place in FILE");
    }
    model_reset(&state);
    for (n = 0; n < recordings; ++n) {
        if (arguments == 5) {
            model_reset(&state);
        }
        for (i = 0; i < MODEL_CLASSES; ++i) {
            state.counts[i] = 0;
        }
        for (t = 0; t < steps; ++t) {
            if (fread(frame, 1, SIZE, file) != SIZE) {
                return failed("FILE ends too early");
            }
            if (!step()) {
                return failed("a step has more events than MODEL_MOST_EVENTS");
            }
        }
        if (fwrite(state.counts, sizeof state.counts[0], MODEL_CLASSES, stdout) != MODEL_CLASSES) {
            return failed("standard output cannot be written");
        }
    }
    return 0;
}
