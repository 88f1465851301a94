/* What a step does to one number: the rule of NIR on integers. */

/* x * n / 4096 toward zero, n from 0 to 4096 and |x| at most 2^23. */
static int32_t decayed(int32_t x, uint32_t n)
{
    uint32_t sign = 0u - (uint32_t)(x < 0); /* all bits where negative: (n ^ sign) - sign is -n */
    uint32_t size = ((uint32_t)x ^ sign) - sign;
#if defined(MODEL_NO_LONG_PRODUCT) || defined(__ARM_ARCH_6M__)
    uint32_t left = (size >> 12) * n + (((size & 4095u) * n) >> 12);
#else
    uint32_t left = (uint32_t)(((uint64_t)size * n) >> 12);
#endif
    return (int32_t)((left ^ sign) - sign);
}

static int32_t saturated(int32_t x)
{
    int32_t low = x > MODEL_MOST ? MODEL_MOST : x;
    return low < -MODEL_MOST - 1 ? -MODEL_MOST - 1 : low;
}

static inline void add4(int32_t *state, const int8_t *weight)
{
    state[0] += (int32_t)weight[0] * MODEL_UNIT;
    state[1] += (int32_t)weight[1] * MODEL_UNIT;
    state[2] += (int32_t)weight[2] * MODEL_UNIT;
    state[3] += (int32_t)weight[3] * MODEL_UNIT;
}

/* Adds a row of weights to states side by side. */
static inline void add(int32_t *state, const int8_t *weight, uint32_t count)
{
    for (; count >= 8u; count -= 8u) {
        add4(state, weight);
        add4(state + 4, weight + 4);
        state += 8;
        weight += 8;
    }
    if (count >= 4u) {
        add4(state, weight);
        state += 4;
        weight += 4;
        count -= 4u;
    }
    for (; count > 0u; --count) {
        *state++ += (int32_t)*weight++ * MODEL_UNIT;
    }
}

/* As add, of a count that 16 divides. */
static inline void add16(int32_t *state, const int8_t *weight, uint32_t count)
{
    for (; count > 0u; count -= 16u) {
        add4(state, weight);
        add4(state + 4, weight + 4);
        add4(state + 8, weight + 8);
        add4(state + 12, weight + 12);
        state += 16;
        weight += 16;
    }
}
