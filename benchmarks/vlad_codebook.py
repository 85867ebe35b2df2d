"""Make the codebook of `matcher.embedding_vlad` from the words of the vocabulary that comes with calque.

``python -m benchmarks.vlad_codebook``. Its sources are those of the vocabulary: docs/vocabulary.md.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from index.durable import replacing
from index.vocabulary import bundled_vocabulary
from matcher.embedding_vlad import CODEBOOK, Codebook

__all__ = ["made", "main"]

_CENTRES = 64
_COMPONENTS = 32


def made() -> Codebook:
    """Return 64 centres of the words in 32 principal components."""
    words = bundled_vocabulary().centres()
    mean = words.mean(axis=0)
    _, _, directions = np.linalg.svd(words - mean, full_matrices=False)
    projection = directions[:_COMPONENTS].T
    found = KMeans(_CENTRES, n_init=1, random_state=0, max_iter=50).fit((words - mean) @ projection)
    return Codebook(mean, projection, found.cluster_centers_)


def main() -> None:
    """Write the codebook into the package."""
    with replacing(CODEBOOK) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: np.float32(array) for name, array in made()._asdict().items()})
    print(CODEBOOK, CODEBOOK.stat().st_size)


if __name__ == "__main__":
    main()
