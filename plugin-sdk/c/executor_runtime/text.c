/* Text on its way to the host, which takes UTF-8 and ends a run that gives it anything else. What a server sends may be
 * anything else. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* How many bytes belong together at the start of this text, and whether they are a character (Unicode, table 3-7). */
static size_t sequence(const unsigned char *text, bool *is_character) {
    unsigned first = text[0], low = 0x80, high = 0xbf;
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    *is_character = length > 0;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    for (size_t i = 1; i < length; i++) {
        if (text[i] < low || text[i] > high) {
            *is_character = false;
            return i;
        }
        low = 0x80, high = 0xbf;
    }
    return length ? length : 1;
}

char *er_as_utf8(char *text) {
    size_t length = 0, replaced = 0;
    bool is_character;
    for (size_t here; text[length]; length += here) {
        here = sequence((const unsigned char *)text + length, &is_character);
        replaced += !is_character;
    }
    if (!replaced) return text;
    char *valid = er_allocate(length + replaced * strlen(REPLACEMENT) + 1), *end = valid;
    for (size_t at = 0, here; text[at]; at += here) {
        here = sequence((const unsigned char *)text + at, &is_character);
        const char *kept = is_character ? text + at : REPLACEMENT;
        size_t size = is_character ? here : strlen(REPLACEMENT);
        memcpy(end, kept, size);
        end += size;
    }
    *end = 0;
    free(text);
    return valid;
}
