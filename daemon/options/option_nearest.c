/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the known name that a user may have meant: the one with the smallest edit distance to what
 * was written, if it is near enough to be worth a mention.
 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "daemon/options/option.h"

#define NAME_MAX_LENGTH 64

/* Damerau-Levenshtein distance without the transposition across edits; words are short. */
static size_t distance(const char *left, const char *right)
{
    size_t rows[3][NAME_MAX_LENGTH + 1];
    size_t left_length = strlen(left), right_length = strlen(right);

    if (left_length > NAME_MAX_LENGTH || right_length > NAME_MAX_LENGTH)
        return SIZE_MAX;
    for (size_t j = 0; j <= right_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= left_length; i++) {
        size_t *above = rows[(i - 1) % 3], *row = rows[i % 3];

        row[0] = i;
        for (size_t j = 1; j <= right_length; j++) {
            size_t best = above[j - 1] + (left[i - 1] != right[j - 1]);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] &&
                rows[(i - 2) % 3][j - 2] + 1 < best)
                best = rows[(i - 2) % 3][j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[left_length % 3][right_length];
}

const char *flowd_option_nearest(const char *word, const char *const *names)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;

    for (; *names != NULL; names++) {
        size_t length = strlen(*names);
        size_t away = strcasecmp(word, *names) == 0 ? 0 : distance(word, *names);

        /* A third of the letters wrong is still the same word. */
        if (away < least && away <= (length > 4 ? length / 3 + 1 : 1)) {
            least = away;
            nearest = *names;
        }
    }
    return nearest;
}
