#include "suggest.h"

#include <ctype.h>
#include <string.h>

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t differ(char a, char b) { return tolower((unsigned char)a) == tolower((unsigned char)b) ? 0 : 1; }

/* Insertions, deletions, replacements and swaps of neighbours (optimal string alignment), three rows at a time. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][SUGGEST_WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + differ(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && !differ(a[i - 1], b[j - 2]) && !differ(a[i - 2], b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_length];
}

void suggest_offer(struct suggest *suggest, const char *candidate)
{
    size_t length = strlen(suggest->word), other = strlen(candidate);
    if (length == 0 || length > SUGGEST_WORD_MAX || other > SUGGEST_WORD_MAX)
        return;
    size_t found = distance(suggest->word, length, candidate, other);
    size_t limit = length <= 3 ? 1 : length <= 8 ? 2 : length / 3;
    if (found <= limit && (!suggest->best || found < suggest->distance)) {
        suggest->best = candidate;
        suggest->distance = found;
    }
}
