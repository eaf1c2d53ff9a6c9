/* The knobs of tb/settings.py and the chance behind them.
 *
 * Each user of chance has a state of its own, so that one does not disturb another.
 */

#include <string.h>

#include "fast.h"

settings_t settings;

void set_latency(latency_t *latency, const uint32_t *values, uint32_t count)
{
    latency->values = grown(latency->values, count, sizeof *values);
    memcpy(latency->values, values, count * sizeof *values);
    latency->count = count;
}

/* xorshift64* */
uint32_t chance(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 0x2545F4914F6CDD1DULL) >> 32);
}

uint32_t draw(const latency_t *latency, uint64_t *state)
{
    if (latency->count == 1)
        return latency->values[0];
    return latency->values[(uint64_t)chance(state) * latency->count >> 32];
}

int paused(uint64_t probability, uint64_t *state)
{
    return probability != 0 && chance(state) < probability;
}
