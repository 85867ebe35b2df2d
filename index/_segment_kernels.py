"""Compiled loops of `index.segment`; plain twins in tests/reference.py. Inputs are validated by the callers."""

from __future__ import annotations

import numba as nb
import numpy as np

__all__ = ["postings_of_image"]

_U16 = nb.types.Array(nb.uint16, 1, "C", readonly=True)
_I64 = nb.types.Array(nb.int64, 1, "C", readonly=True)


@nb.njit(nb.int64[::1](_U16, _I64, _U16, _U16, nb.int64), cache=True, nogil=True)
def postings_of_image(words, offsets, images, image_words, local):  # type: ignore[no-untyped-def] # types: signature
    """Return the places of one image's postings, -1 where there is none, one for each of its `image_words`."""
    places = np.full(image_words.size, -1, np.int64)
    row = 0
    done = 0
    while done < image_words.size:
        word = image_words[done]
        low, high = row, words.size
        while low < high:
            middle = (low + high) >> 1
            if words[middle] < word:
                low = middle + 1
            else:
                high = middle
        row = low
        if row == words.size or words[row] != word:
            return places
        low, high = offsets[row], offsets[row + 1]
        last = high
        while low < high:
            middle = (low + high) >> 1
            if images[middle] < local:
                low = middle + 1
            else:
                high = middle
        while done < image_words.size and image_words[done] == word:
            if low == last or images[low] != local:
                return places
            places[done] = low
            low += 1
            done += 1
    return places
