"""Plain twins of the compiled loops: slow, obviously right, and held equal to them by the property tests."""

from __future__ import annotations

import numpy as np


def postings_of_image(words, offsets, images, image_words, local):
    """Twin of `index._segment_kernels.postings_of_image`."""
    wanted = list(image_words)
    places = [
        place
        for word, start, stop in zip(words, offsets[:-1], offsets[1:], strict=True)
        for place in range(start, stop)
        if images[place] == local and word in wanted
    ]
    # A word that is wanted more often than it is there ends the list, and so does one that is not there at all.
    found = {}
    for place in places:
        word = words[np.searchsorted(offsets, place, side="right") - 1]
        found.setdefault(word, []).append(place)
    result = []
    for word in wanted:
        if not found.get(word):
            break
        result.append(found[word].pop(0))
    return np.array(result + [-1] * (len(wanted) - len(result)), dtype=np.int64)
