"""Numba loops over postings. Callers in `index.postings` validate; plain twins stand in tests/reference.py."""

from __future__ import annotations

import numba as nb
import numpy as np

from matcher._instructions import popcount, prefetch

__all__ = [
    "agreeing_postings",
    "agreements_on",
    "nearest_words",
    "postings_between",
    "probes_by_cell",
    "sign",
    "tally",
]

_U64 = nb.types.Array(nb.uint64, 1, "C", readonly=True)
_U16 = nb.types.Array(nb.uint16, 1, "C", readonly=True)
_I64 = nb.types.Array(nb.int64, 1, "C", readonly=True)
_I32 = nb.types.Array(nb.int32, 1, "C", readonly=True)
_U8 = nb.types.Array(nb.uint8, 1, "C", readonly=True)
_F32 = nb.types.Array(nb.float32, 1, "C", readonly=True)
_F32_2 = nb.types.Array(nb.float32, 2, "C", readonly=True)
_I8_2 = nb.types.Array(nb.int8, 2, "C", readonly=True)
_BOOL = nb.types.Array(nb.boolean, 1, "C", readonly=True)

_AHEAD = 64
"""Postings of the next list that are fetched while as many of this one are looked at: eight lines of the cache."""


@nb.njit(
    nb.int64(
        _I64, _I64, _U64, _U64, _U16, _BOOL, nb.int64,
        nb.int64[::1], nb.uint32[::1], nb.uint8[::1], nb.uint16[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def agreeing_postings(  # type: ignore[no-untyped-def] # types: signature
    starts, stops, signatures, postings, images, alive, limit, counts, places, distances, hosts
):
    """Write the postings of living images within `limit` bits of their entry's signature; return their number, or -1
    if one names an image that there is not.

    Entry `e` looks through the postings ``starts[e]:stops[e]``, and has ``counts[e]`` that agree. `places` count from
    its start, `hosts` are the images. The last three must hold ``sum(stops - starts)`` values.
    """
    count = 0
    for e in range(starts.size):
        signature, start, first, n = signatures[e], starts[e], count, stops[e] - starts[e]
        after = min(e + 1, starts.size - 1)
        for block in range(0, n, _AHEAD):
            # The processor foresees how a list goes on within a page of memory, not where the next one lies.
            if starts[after] + block < stops[after]:
                for line in range(0, _AHEAD, 8):
                    prefetch(postings, starts[after] + block + line)
                for line in range(0, _AHEAD, 32):
                    prefetch(images, starts[after] + block + line)
            # Every posting is written and the next one takes its place unless it agrees: no branch to be guessed wrong.
            for k in range(block, min(block + _AHEAD, n)):
                distance = popcount(postings[start + k] ^ signature)
                places[count] = k
                distances[count] = distance
                count += distance <= limit
        agreeing, count = count, first
        for k in range(first, agreeing):
            image = images[start + np.int64(places[k])]
            if image >= alive.size:
                return -1
            places[count], distances[count], hosts[count] = places[k], distances[k], image
            count += alive[image]
        counts[e] = count - first
    return count


@nb.njit(
    nb.void(_I64, _I32, _U16, _U8, _F32, _F32, nb.float32[::1]),
    cache=True,
    nogil=True,
)
def tally(bounds, features, images, distances, feature_weights, distance_weights, votes):  # type: ignore[no-untyped-def] # types: signature
    """Add up the votes of each image; a query feature votes once for an image, with its nearest agreeing posting.

    Entry `e` belongs to the query feature ``features[e]``, whose entries adjoin, and agrees with the postings
    ``bounds[e]:bounds[e + 1]`` of `images` and `distances`. Adds to `votes`.
    """
    last = np.full(votes.size, -1, dtype=np.int32)
    given = np.zeros(votes.size, dtype=np.float32)
    for e in range(features.size):
        feature = features[e]
        for k in range(bounds[e], bounds[e + 1]):
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
    nb.void(_I64, _U16, _I32, nb.int64[::1], nb.int32[::1], nb.int64[::1]),
    cache=True,
    nogil=True,
)
def agreements_on(bounds, images, ranks, fill, entries, rows):  # type: ignore[no-untyped-def] # types: signature
    """Write the agreements on some images, image by image and in order: their entries and rows.

    `bounds` and `images` as of `tally`. ``ranks[image]`` numbers those wanted from 0, -1 are the others; ``fill[rank]``
    says where the next agreement of an image goes, and is moved on.
    """
    for e in range(bounds.size - 1):
        for k in range(bounds[e], bounds[e + 1]):
            rank = ranks[images[k]]
            if rank >= 0:
                entries[fill[rank]], rows[fill[rank]] = e, k
                fill[rank] += 1


@nb.njit(
    nb.types.Tuple((nb.int64[::1], nb.int64[::1]))(_U16, _I64, _U16, _U16, nb.int64, nb.int64),  # type: ignore[no-untyped-call] # numba's
    cache=True,
    nogil=True,
)
def postings_between(words, offsets, images, wanted, low, high):  # type: ignore[no-untyped-def] # types: signature
    """Return the places of the postings of `wanted` words on images `low` to `high`, word by word, and their rows.

    `words`, `offsets` and `images` are a segment's; `words` and `wanted` are distinct and ascending.
    """
    firsts, lasts = np.zeros(wanted.size, np.int64), np.zeros(wanted.size, np.int64)
    total = 0
    for i in range(wanted.size):
        row = np.searchsorted(words, wanted[i])
        if row == words.size or words[row] != wanted[i]:
            continue
        first, rest = offsets[row], offsets[row + 1] - offsets[row]
        while rest > 0:
            half = rest >> 1
            if images[first + half] < low:
                first += half + 1
                rest -= half + 1
            else:
                rest = half
        last = first
        while last < offsets[row + 1] and images[last] <= high:
            last += 1
        firsts[i], lasts[i] = first, last
        total += last - first
    places, rows = np.empty(total, np.int64), np.empty(total, np.int64)
    count = 0
    for i in range(wanted.size):
        for place in range(firsts[i], lasts[i]):
            places[count], rows[count] = place, i
            count += 1
    return places, rows


@nb.njit(nb.void(_F32_2, nb.int64, nb.int32[::1], nb.int64[::1]), cache=True, nogil=True)
def probes_by_cell(distances, probes, rows, bounds):  # type: ignore[no-untyped-def] # types: signature
    """List for each cell the descriptors that it is one of the `probes` nearest cells of.

    `distances` (n, c) of each descriptor from each cell. Fills `rows` (n × probes) and `bounds` (c + 1): those of cell
    `c` are ``rows[bounds[c]:bounds[c + 1]]``, ascending.
    """
    n, cells = distances.shape
    nearest = np.zeros((n, probes), dtype=np.int32)
    kept = np.empty(probes, dtype=np.float32)
    bounds[:] = 0
    for i in range(n):
        kept[:] = np.inf
        for cell in range(cells):
            distance = distances[i, cell]
            if distance < kept[probes - 1]:
                k = probes - 1
                while k > 0 and kept[k - 1] > distance:
                    kept[k], nearest[i, k] = kept[k - 1], nearest[i, k - 1]
                    k -= 1
                kept[k], nearest[i, k] = distance, cell
        for k in range(probes):
            bounds[nearest[i, k] + 1] += 1
    for cell in range(cells):
        bounds[cell + 1] += bounds[cell]
    fill = bounds[:-1].copy()
    for i in range(n):
        for k in range(probes):
            rows[fill[nearest[i, k]]] = i
            fill[nearest[i, k]] += 1


@nb.njit(nb.void(_F32_2, _I8_2, _I32, nb.float32, nb.uint64[::1]), cache=True, nogil=True)
def sign(projections, medians, words, step, signatures):  # type: ignore[no-untyped-def] # types: signature
    """Fill `signatures` (n): bit `q` says whether projection `q` lies above the word's median, in units of `step`."""
    for i in range(words.size):
        word, bits = words[i], np.uint64(0)
        for q in range(64):
            high = projections[i, q] > np.float32(medians[word, q]) * step
            bits |= np.uint64(high) << np.uint64(q)
        signatures[i] = bits


@nb.njit(
    [
        nb.void(_F32_2, _I32, _I64, columns, nb.float32, _F32, _I64, nb.float32[:, ::1], nb.int32[:, ::1])
        for columns in (_U8, _F32)
    ],
    cache=True,
    nogil=True,
    fastmath=True,
)
def nearest_words(descriptors, rows, bounds, columns, step, lengths, offsets, best, chosen):  # type: ignore[no-untyped-def] # types: signature
    """Let the descriptors that probe each cell look for nearer words in it.

    Cell `c` is probed by ``rows[bounds[c]:bounds[c + 1]]`` and holds the words ``offsets[c]:offsets[c + 1]``, whose
    squared `lengths` and `columns`, in units of `step` (component by component: all words' first, then all words'
    second, ...), are given. There are a multiple of four components. Distances are squared, less the descriptor's own
    length. `best` and `chosen` (n, k) hold the nearest so far, nearest first, and are brought up to date.
    """
    size, wanted = descriptors.shape[1], best.shape[1]
    minus_two = np.float32(-2)
    widest = 0
    for cell in range(bounds.size - 1):
        widest = max(widest, offsets[cell + 1] - offsets[cell])
    distances, unpacked = np.empty((4, widest), dtype=np.float32), np.empty(widest * size, dtype=np.float32)
    for cell in range(bounds.size - 1):
        first, n = offsets[cell], offsets[cell + 1] - offsets[cell]
        if bounds[cell] == bounds[cell + 1]:
            continue
        # Words are read from memory as they are stored, and are numbers as long as their cell is at work.
        block, stored = unpacked[: n * size], columns[first * size : (first + n) * size]
        for k in range(n * size):
            block[k] = np.float32(stored[k]) * step
        s0, s1, s2, s3 = distances[0, :n], distances[1, :n], distances[2, :n], distances[3, :n]
        last = bounds[cell + 1] - 1
        # Four descriptors by four components at a time: each word's component that is loaded serves four sums.
        for r in range(bounds[cell], last + 1, 4):
            i0, i1, i2, i3 = rows[r], rows[min(r + 1, last)], rows[min(r + 2, last)], rows[min(r + 3, last)]
            for w in range(n):
                s0[w] = s1[w] = s2[w] = s3[w] = lengths[first + w]
            for d in range(0, size, 4):
                a0, a1 = minus_two * descriptors[i0, d], minus_two * descriptors[i0, d + 1]
                a2, a3 = minus_two * descriptors[i0, d + 2], minus_two * descriptors[i0, d + 3]
                b0, b1 = minus_two * descriptors[i1, d], minus_two * descriptors[i1, d + 1]
                b2, b3 = minus_two * descriptors[i1, d + 2], minus_two * descriptors[i1, d + 3]
                c0, c1 = minus_two * descriptors[i2, d], minus_two * descriptors[i2, d + 1]
                c2, c3 = minus_two * descriptors[i2, d + 2], minus_two * descriptors[i2, d + 3]
                d0, d1 = minus_two * descriptors[i3, d], minus_two * descriptors[i3, d + 1]
                d2, d3 = minus_two * descriptors[i3, d + 2], minus_two * descriptors[i3, d + 3]
                part = block[d * n : (d + 4) * n]
                p0, p1, p2, p3 = part[:n], part[n : 2 * n], part[2 * n : 3 * n], part[3 * n :]
                for w in range(n):
                    x0, x1, x2, x3 = p0[w], p1[w], p2[w], p3[w]
                    s0[w] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    s1[w] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                    s2[w] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                    s3[w] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
            for i in range(min(4, last + 1 - r)):
                row = rows[r + i]
                sums = distances[i]
                farthest = best[row, wanted - 1]
                for w in range(n):
                    if sums[w] < farthest:
                        k = wanted - 1
                        while k > 0 and best[row, k - 1] > sums[w]:
                            best[row, k], chosen[row, k] = best[row, k - 1], chosen[row, k - 1]
                            k -= 1
                        best[row, k], chosen[row, k] = sums[w], first + w
                        farthest = best[row, wanted - 1]
