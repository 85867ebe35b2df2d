"""Compiled loops of `index.segment`; plain twins in tests/reference.py. Inputs are validated by the callers."""

from __future__ import annotations

import numba as nb
import numpy as np

__all__ = ["postings_of_image"]

_U16 = nb.types.Array(nb.uint16, 1, "C", readonly=True)
_I64 = nb.types.Array(nb.int64, 1, "C", readonly=True)


@nb.njit(nb.int64[::1](_U16, _I64, _U16, _U16, nb.int64), cache=True, nogil=True)
def postings_of_image(words, offsets, images, image_words, local):  # type: ignore[no-untyped-def] # types: signature
    """Return the places of one image's postings, one for each of its words; -1 from the first missing one on."""
    places = np.full(image_words.size, -1, np.int64)
    row = 0
    done = 0
    while done < image_words.size and words.size:
        word = image_words[done]
        # Words are distinct and ascending, so this one lies no further ahead than it is greater.
        ahead = min(np.int64(word) - np.int64(words[row]) + 1, words.size - row)
        while ahead > 1:
            half = ahead >> 1
            row += half * (words[row + half] <= word)
            ahead -= half
        if ahead < 1 or words[row] != word:
            return places
        # Halving without branches lets the processor fetch the postings of several words at a time.
        low = offsets[row]
        last = offsets[row + 1]
        left = last - low
        while left > 1:
            half = left >> 1
            low += half * (images[low + half - 1] < local)
            left -= half
        low += images[low] < local
        while done < image_words.size and image_words[done] == word:
            if low == last or images[low] != local:
                return places
            places[done] = low
            low += 1
            done += 1
    return places
