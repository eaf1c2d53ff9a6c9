/* The frame check sequence: CRC-32 of IEEE 802.3, 3.2.9, eight bytes at a step.
 *
 * `fcs` needs `fcs_init` once; its least significant byte is the first on the wire.
 */

#include <string.h>

#include "fast.h"

static uint32_t table[8][256];

void fcs_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

uint32_t fcs(const uint8_t *data, size_t length)
{
    uint32_t crc = ~0u;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= crc;
        crc = 0;
        for (int k = 0; k < 8; k++)
            crc ^= table[7 - k][word >> 8 * k & 255];
    }
    while (length-- > 0)
        crc = crc >> 8 ^ table[0][(crc ^ *data++) & 255];
    return ~crc;
}
