"""Numba loops over postings. Callers in `index.postings` validate; plain twins stand in tests/reference.py."""

from __future__ import annotations

import numba as nb
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped] # has no types
from numba.core import types
from numba.extending import intrinsic

__all__ = ["agreeing_postings", "nearest_words", "tally"]

if nb.config.DISABLE_JIT:  # type: ignore[attr-defined] # set as numba is imported

    def _popcount(bits: np.uint64) -> int:
        """Return the number of set bits."""
        return int(bits).bit_count()

else:

    @intrinsic
    def _popcount(typing_context, bits):  # type: ignore[no-untyped-def] # numba's protocol
        """Return the number of set bits of an unsigned 64-bit integer."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # numba's protocol
            function = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
            return builder.call(function, arguments)

        return types.uint64(types.uint64), generate


_U64 = nb.types.Array(nb.uint64, 1, "C", readonly=True)
_U16 = nb.types.Array(nb.uint16, 1, "C", readonly=True)
_I64 = nb.types.Array(nb.int64, 1, "C", readonly=True)
_I32 = nb.types.Array(nb.int32, 1, "C", readonly=True)
_U8 = nb.types.Array(nb.uint8, 1, "C", readonly=True)
_F32 = nb.types.Array(nb.float32, 1, "C", readonly=True)
_F32_2 = nb.types.Array(nb.float32, 2, "C", readonly=True)
_BOOL = nb.types.Array(nb.boolean, 1, "C", readonly=True)


@nb.njit(
    nb.int64(_I64, _I64, _U64, _U64, _U16, _BOOL, nb.int64, nb.int32[::1], nb.int64[::1], nb.uint8[::1]),
    cache=True,
    nogil=True,
)
def agreeing_postings(starts, stops, signatures, postings, images, alive, limit, entries, places, distances):  # type: ignore[no-untyped-def] # types: signature
    """Write the postings within `limit` bits of their entry's signature, entry by entry; return their number.

    Entry `e` looks through the postings ``starts[e]:stops[e]``. The outputs must hold ``sum(stops - starts)`` values.
    """
    count = 0
    block = np.empty(256, dtype=np.uint8)
    for e in range(starts.size):
        signature = signatures[e]
        for base in range(starts[e], stops[e], 256):
            size = min(256, stops[e] - base)
            # Two loops: the first has no branch, so the compiler counts bits of several postings at once.
            for k in range(size):
                block[k] = _popcount(postings[base + k] ^ signature)
            for k in range(size):
                if block[k] <= limit and alive[images[base + k]]:
                    entries[count] = e
                    places[count] = base + k
                    distances[count] = block[k]
                    count += 1
    return count


@nb.njit(
    nb.void(_I32, _I32, _U16, _U8, _F32, _F32, nb.float32[::1]),
    cache=True,
    nogil=True,
)
def tally(entries, features, images, distances, feature_weights, distance_weights, votes):  # type: ignore[no-untyped-def] # types: signature
    """Add up the votes of each image; a query feature votes once for an image, with its nearest agreeing posting.

    `entries`, `images`, `distances` come from `agreeing_postings` in its order, in which the entries of one query
    feature adjoin; ``features[entry]`` is the query feature. Adds to `votes`.
    """
    last = np.full(votes.size, -1, dtype=np.int32)
    given = np.zeros(votes.size, dtype=np.float32)
    for k in range(entries.size):
        feature = features[entries[k]]
        image = images[k]
        weight = feature_weights[feature] * distance_weights[distances[k]]
        if last[image] != feature:
            last[image] = feature
            given[image] = weight
            votes[image] += weight
        elif weight > given[image]:
            votes[image] += weight - given[image]
            given[image] = weight


@nb.njit(
    nb.void(_F32_2, _I32, _I64, _F32, _F32, _I64, nb.float32[:, ::1], nb.int32[:, ::1]),
    cache=True,
    nogil=True,
    fastmath=True,
)
def nearest_words(descriptors, rows, bounds, columns, lengths, offsets, best, chosen):  # type: ignore[no-untyped-def] # types: signature
    """Let the descriptors that probe each cell look for nearer words in it.

    Cell `c` is probed by ``rows[bounds[c]:bounds[c + 1]]`` and holds the words ``offsets[c]:offsets[c + 1]``, whose
    squared `lengths` and `columns` (component by component: all words' first, then all words' second, ...) are given.
    There are a multiple of eight components. Distances are squared, less the descriptor's own length. `best` and
    `chosen` (n, k) hold the nearest so far, nearest first, and are brought up to date.
    """
    size, wanted = descriptors.shape[1], best.shape[1]
    minus_two = np.float32(-2)
    widest = 0
    for cell in range(bounds.size - 1):
        widest = max(widest, offsets[cell + 1] - offsets[cell])
    distances = np.empty(widest, dtype=np.float32)
    for cell in range(bounds.size - 1):
        first, n = offsets[cell], offsets[cell + 1] - offsets[cell]
        block = columns[first * size : (first + n) * size]
        for r in range(bounds[cell], bounds[cell + 1]):
            row = rows[r]
            for w in range(n):
                distances[w] = lengths[first + w]
            # Eight components at a time: the sums of many words are kept side by side in vector registers.
            for d in range(0, size, 8):
                a0, a1 = minus_two * descriptors[row, d], minus_two * descriptors[row, d + 1]
                a2, a3 = minus_two * descriptors[row, d + 2], minus_two * descriptors[row, d + 3]
                a4, a5 = minus_two * descriptors[row, d + 4], minus_two * descriptors[row, d + 5]
                a6, a7 = minus_two * descriptors[row, d + 6], minus_two * descriptors[row, d + 7]
                part = block[d * n : (d + 8) * n]
                c0, c1, c2, c3 = part[:n], part[n : 2 * n], part[2 * n : 3 * n], part[3 * n : 4 * n]
                c4, c5, c6, c7 = part[4 * n : 5 * n], part[5 * n : 6 * n], part[6 * n : 7 * n], part[7 * n :]
                for w in range(n):
                    distances[w] += (
                        a0 * c0[w] + a1 * c1[w] + a2 * c2[w] + a3 * c3[w]
                        + a4 * c4[w] + a5 * c5[w] + a6 * c6[w] + a7 * c7[w]
                    )  # fmt: skip
            last = best[row, wanted - 1]
            for w in range(n):
                if distances[w] < last:
                    k = wanted - 1
                    while k > 0 and best[row, k - 1] > distances[w]:
                        best[row, k], chosen[row, k] = best[row, k - 1], chosen[row, k - 1]
                        k -= 1
                    best[row, k], chosen[row, k] = distances[w], first + w
                    last = best[row, wanted - 1]
