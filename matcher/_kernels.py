"""Numba loops of the geometric verification.

Callers in `matcher.geometry` validate; plain twins stand in tests/reference.py.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from matcher._instructions import popcount

__all__ = [
    "distinct_agreements",
    "estimate_each",
    "fit_affine",
    "fit_homography",
    "fit_similarity",
    "inliers_of",
    "number_cells",
    "rematch",
    "strongest_hypothesis",
    "thinned_lines",
]

# One signature each: what is only read may be frozen or mapped.
_F64_2 = nb.types.Array(nb.float64, 2, "C", readonly=True)
_F64 = nb.types.Array(nb.float64, 1, "C", readonly=True)
_F32_2 = nb.types.Array(nb.float32, 2, "C", readonly=True)
_I64 = nb.types.Array(nb.int64, 1, "C", readonly=True)
_I32 = nb.types.Array(nb.int32, 1, "C", readonly=True)
_I8_2 = nb.types.Array(nb.int8, 2, "C", readonly=True)
_U64 = nb.types.Array(nb.uint64, 1, "C", readonly=True)
_U16 = nb.types.Array(nb.uint16, 1, "C", readonly=True)
_U8 = nb.types.Array(nb.uint8, 1, "C", readonly=True)
_BOOL = nb.types.Array(nb.boolean, 1, "C", readonly=True)
_POINTS = nb.types.Array(nb.float64, 2, "A", readonly=True)

_GRID = 64
"""Cells along each side of the grid in which features are looked up: few are empty, and few features share one."""


@nb.njit(
    nb.types.Tuple((nb.int64, nb.float64))(  # type: ignore[no-untyped-call] # numba's
        _F64_2, _F64_2, _F64, nb.int64, nb.float64, nb.float64, nb.float64, nb.float64
    ),
    cache=True,
    nogil=True,
)
def strongest_hypothesis(query, image, weights, tried, base, slack, scale_limit, angle_limit):  # type: ignore[no-untyped-def] # types: signature
    """Try the similarity that each single correspondence implies; return the index and votes of the best.

    `query`, `image`: float64 (n, 4) rows x, y, log2 size, angle in radians; rows of one query feature adjoin and
    `query[:, 0:2]` tells them apart. A query feature votes once, with its strongest agreeing row.
    """
    n = len(query)
    best, best_votes = -1, -1.0
    stride = max(1, n // tried)
    for i in range(0, n, stride):
        growth = image[i, 2] - query[i, 2]
        turn = image[i, 3] - query[i, 3]
        scale = 2.0**growth
        c, s = scale * math.cos(turn), scale * math.sin(turn)
        votes, pending = 0.0, 0.0
        for j in range(n):
            if j > 0 and (query[j, 0] != query[j - 1, 0] or query[j, 1] != query[j - 1, 1]):
                votes += pending
                pending = 0.0
            if weights[j] <= pending or abs(image[j, 2] - query[j, 2] - growth) > scale_limit:
                continue
            bend = image[j, 3] - query[j, 3] - turn
            bend -= 2 * math.pi * math.floor(bend / (2 * math.pi) + 0.5)
            if abs(bend) > angle_limit:
                continue
            u, v = query[j, 0] - query[i, 0], query[j, 1] - query[i, 1]
            du, dv = c * u - s * v, s * u + c * v
            ex, ey = image[j, 0] - image[i, 0] - du, image[j, 1] - image[i, 1] - dv
            limit = base + slack * math.sqrt(du * du + dv * dv)
            if ex * ex + ey * ey <= limit * limit:
                pending = weights[j]
        votes += pending
        if votes > best_votes:
            best, best_votes = i, votes
    return best, best_votes


@nb.njit(nb.int64(_F64_2, _F64_2, _F64_2, nb.float64, nb.float64, nb.float64, nb.boolean[::1]), cache=True, nogil=True)
def inliers_of(matrix, query, image, tolerance, scale_limit, angle_limit, mask):  # type: ignore[no-untyped-def] # types: signature
    """Mark in `mask` the rows that agree with the affine map `matrix` (2, 3) within `tolerance` pixels; count them."""
    a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    growth = 0.5 * math.log2(max(abs(a * d - b * c), 1e-12))
    turn = math.atan2(c - b, a + d)
    count = 0
    for j in range(len(query)):
        x, y = query[j, 0], query[j, 1]
        ex = a * x + b * y + matrix[0, 2] - image[j, 0]
        ey = c * x + d * y + matrix[1, 2] - image[j, 1]
        bend = image[j, 3] - query[j, 3] - turn
        bend -= 2 * math.pi * math.floor(bend / (2 * math.pi) + 0.5)
        mask[j] = (
            ex * ex + ey * ey <= tolerance * tolerance
            and abs(image[j, 2] - query[j, 2] - growth) <= scale_limit
            and abs(bend) <= angle_limit
        )
        count += mask[j]
    return count


@nb.njit(nb.float64[:, ::1](_F64_2, _F64_2, _BOOL), cache=True, nogil=True)
def fit_similarity(query, image, mask):  # type: ignore[no-untyped-def] # types: signature
    """Return the least-squares similarity (2, 3) of the marked rows, of which there must be two or more."""
    n, mx, my, nx, ny = 0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(query)):
        if mask[j]:
            n += 1
            mx += query[j, 0]
            my += query[j, 1]
            nx += image[j, 0]
            ny += image[j, 1]
    mx, my, nx, ny = mx / n, my / n, nx / n, ny / n
    spread, along, across = 1e-12, 0.0, 0.0
    for j in range(len(query)):
        if mask[j]:
            u, v = query[j, 0] - mx, query[j, 1] - my
            p, q = image[j, 0] - nx, image[j, 1] - ny
            spread += u * u + v * v
            along += u * p + v * q
            across += u * q - v * p
    c, s = along / spread, across / spread
    fitted = np.empty((2, 3))
    fitted[0, 0], fitted[0, 1], fitted[0, 2] = c, -s, nx - c * mx + s * my
    fitted[1, 0], fitted[1, 1], fitted[1, 2] = s, c, ny - s * mx - c * my
    return fitted


@nb.njit(nb.float64[:, ::1](_F64_2, _F64_2, _BOOL, _F64_2, nb.float64), cache=True, nogil=True)
def fit_affine(query, image, mask, prior, stiffness):  # type: ignore[no-untyped-def] # types: signature
    """Return the least-squares affine map (2, 3) of the marked rows.

    It is held to `prior` (2, 3) by `stiffness` rows' worth of evidence: this ridge keeps a thin or
    small set of correspondences from shearing the plane.
    """
    n, mx, my, nx, ny = 0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(query)):
        if mask[j]:
            n += 1
            mx += query[j, 0]
            my += query[j, 1]
            nx += image[j, 0]
            ny += image[j, 1]
    mx, my, nx, ny = mx / n, my / n, nx / n, ny / n
    suu, suv, svv = 1e-9, 0.0, 1e-9
    sup, svp, suq, svq = 0.0, 0.0, 0.0, 0.0
    for j in range(len(query)):
        if mask[j]:
            u, v = query[j, 0] - mx, query[j, 1] - my
            p, q = image[j, 0] - nx, image[j, 1] - ny
            suu += u * u
            suv += u * v
            svv += v * v
            sup += u * p
            svp += v * p
            suq += u * q
            svq += v * q
    hold = stiffness * (suu + svv) / (2 * n)
    suu += hold
    svv += hold
    sup += hold * prior[0, 0]
    svp += hold * prior[0, 1]
    suq += hold * prior[1, 0]
    svq += hold * prior[1, 1]
    det = suu * svv - suv * suv
    fitted = np.empty((2, 3))
    fitted[0, 0] = (sup * svv - svp * suv) / det
    fitted[0, 1] = (svp * suu - sup * suv) / det
    fitted[1, 0] = (suq * svv - svq * suv) / det
    fitted[1, 1] = (svq * suu - suq * suv) / det
    fitted[0, 2] = nx - fitted[0, 0] * mx - fitted[0, 1] * my
    fitted[1, 2] = ny - fitted[1, 0] * mx - fitted[1, 1] * my
    return fitted


@nb.njit(
    nb.void(
        _F64_2, _F64_2, _F64, _I64, nb.float64, _F64,
        nb.int64, nb.float64, nb.float64, nb.float64, nb.float64, nb.float64,
        nb.float64[:, :, ::1], nb.float64[::1], nb.boolean[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def estimate_each(  # type: ignore[no-untyped-def] # types: signature
    query, image, weights, bounds, diagonal, pixels, tried, near, reach, slack, scale_limit, angle_limit,
    matrices, votes, masks,
):  # fmt: skip
    """Estimate an affine map from the pairs ``bounds[k]:bounds[k + 1]`` of each image `k`.

    Fills `matrices` (k, 2, 3), `votes` (k; summed weights of the agreeing query features, 0 where fewer than three
    agree) and `masks` (all pairs). `diagonal` is the query region's in query pixels; `pixels` (k) are the pixels of
    each image per pixel of the size it was extracted at.
    """
    for k in range(len(bounds) - 1):
        first, last = bounds[k], bounds[k + 1]
        votes[k] = 0.0
        if last - first < 3:
            continue
        q, p, w, mask = query[first:last], image[first:last], weights[first:last], masks[first:last]
        base = near * pixels[k]
        best, _ = strongest_hypothesis(q, p, w, tried, 2.5 * base, slack, scale_limit, angle_limit)
        growth, turn = p[best, 2] - q[best, 2], p[best, 3] - q[best, 3]
        c, s = 2.0**growth * math.cos(turn), 2.0**growth * math.sin(turn)
        matrix = np.empty((2, 3))
        matrix[0, 0], matrix[0, 1], matrix[0, 2] = c, -s, p[best, 0] - c * q[best, 0] + s * q[best, 1]
        matrix[1, 0], matrix[1, 1], matrix[1, 2] = s, c, p[best, 1] - s * q[best, 0] - c * q[best, 1]
        radius = max(base, reach * diagonal * 2.0**growth)
        count = 0
        for step in range(5):
            wide = 4.0 - step if step < 2 else 2.0
            count = inliers_of(matrix, q, p, wide * radius, scale_limit, angle_limit, mask)
            if count < 3:
                break
            if step < 2:
                matrix = fit_similarity(q, p, mask)
            elif step < 4:
                matrix = fit_affine(q, p, mask, matrix, 5.0)
        if count < 3:
            continue
        for entry in range(6):  # assigning whole arrays takes seconds to compile
            matrices[k, entry // 3, entry % 3] = matrix[entry // 3, entry % 3]
        pending = 0.0
        for j in range(last - first):
            if j > 0 and (q[j, 0] != q[j - 1, 0] or q[j, 1] != q[j - 1, 1]):
                votes[k] += pending
                pending = 0.0
            if mask[j] and w[j] > pending:
                pending = w[j]
        votes[k] += pending


@nb.njit(nb.void(nb.float64[:, ::1]), cache=True, nogil=True)
def _normalise(matrix):  # type: ignore[no-untyped-def] # types: signature
    """Scale a homography (3, 3) so that its last entry is one."""
    last = matrix[2, 2]
    for a in range(3):
        for b in range(3):
            matrix[a, b] /= last


@nb.njit(nb.void(nb.float64[:, ::1], nb.float64[::1]), cache=True, nogil=True)
def _solve(normal, right):  # type: ignore[no-untyped-def] # types: signature
    """Solve a positive definite system by Gaussian elimination, which needs no pivots; `right` becomes the solution.

    Eight equations: `np.linalg.solve` would take longer to compile than everything else here.
    """
    n = len(right)
    for a in range(n):
        for b in range(a + 1, n):
            factor = normal[b, a] / normal[a, a]
            for c in range(a + 1, n):
                normal[b, c] -= factor * normal[a, c]
            right[b] -= factor * right[a]
    for a in range(n - 1, -1, -1):
        for b in range(a + 1, n):
            right[a] -= normal[a, b] * right[b]
        right[a] /= normal[a, a]


@nb.njit(nb.float64[:, ::1](_F64_2, _F64_2, _BOOL, _F64_2, nb.float64), cache=True, nogil=True)
def fit_homography(query, image, mask, start, stiffness):  # type: ignore[no-untyped-def] # types: signature
    """Return the homography (3, 3) of the marked rows by Gauss-Newton from the affine or projective `start`.

    The two perspective terms are held to zero by `stiffness` rows' worth of evidence: perspective is paid for.
    """
    n, mx, my = 0, 0.0, 0.0
    for j in range(len(query)):
        if mask[j]:
            n += 1
            mx += query[j, 0]
            my += query[j, 1]
    mx, my = mx / n, my / n
    spread = 1e-9
    for j in range(len(query)):
        if mask[j]:
            spread += (query[j, 0] - mx) ** 2 + (query[j, 1] - my) ** 2
    unit = math.sqrt(spread / n)
    # Work in query coordinates centred on the inliers and of unit spread.
    h = np.empty((3, 3))
    for a in range(3):
        h[a, 0], h[a, 1] = start[a, 0] * unit, start[a, 1] * unit
        h[a, 2] = start[a, 0] * mx + start[a, 1] * my + start[a, 2]
    _normalise(h)
    growth = math.sqrt(abs(h[0, 0] * h[1, 1] - h[0, 1] * h[1, 0]))
    normal, step = np.empty((8, 8)), np.empty(8)
    along, down = np.zeros(8), np.zeros(8)
    for _ in range(4):
        normal[:], step[:] = 0.0, 0.0
        for j in range(len(query)):
            if not mask[j]:
                continue
            x, y = (query[j, 0] - mx) / unit, (query[j, 1] - my) / unit
            w = h[2, 0] * x + h[2, 1] * y + 1.0
            px = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w
            py = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w
            # Derivatives of px and py by the eight free entries of h.
            along[0], along[1], along[2], along[6], along[7] = x / w, y / w, 1.0 / w, -x * px / w, -y * px / w
            down[3], down[4], down[5], down[6], down[7] = x / w, y / w, 1.0 / w, -x * py / w, -y * py / w
            ex, ey = image[j, 0] - px, image[j, 1] - py
            for a in range(8):
                step[a] += along[a] * ex + down[a] * ey
                for b in range(8):
                    normal[a, b] += along[a] * along[b] + down[a] * down[b]
        hold = stiffness * growth * growth
        for a in range(6, 8):
            normal[a, a] += hold
            step[a] -= hold * h[2, a - 6]
        for a in range(8):
            normal[a, a] += 1e-9 * (1.0 + normal[a, a])
        _solve(normal, step)
        for a in range(8):
            h[a // 3, a % 3] += step[a]
    for a in range(3):
        h[a, 0] /= unit
        h[a, 1] /= unit
        h[a, 2] -= h[a, 0] * mx + h[a, 1] * my
    _normalise(h)
    return h


@nb.njit(
    nb.void(
        _F64_2, _F64_2, _F32_2, _F64_2, _U16, _U64, _I8_2, nb.float64, nb.float64, nb.float64, nb.float64,
        nb.int32[::1], nb.uint8[::1], nb.int32[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def rematch(  # type: ignore[no-untyped-def] # types: signature
    matrix, query, projections, image, words, signatures, medians, median_step, radius, scale_limit, angle_limit,
    partner, distance, compared,
):  # fmt: skip
    """Look for each query feature's best partner near the place where `matrix` (3, 3) puts it.

    Signature bits of the query feature are taken against the medians of the partner's own word, so that partners in
    other words than the query's are found too. Fills `partner` (n; -1: none in reach), `distance` (n; Hamming, 65:
    none) and `compared` (n; how many partners were in reach).
    """
    n, m = len(query), len(image)
    partner[:] = -1
    distance[:] = 65
    compared[:] = 0
    if m == 0:
        return
    left, top, right, bottom = image[0, 0], image[0, 1], image[0, 0], image[0, 1]
    for j in range(m):
        left, right = min(left, image[j, 0]), max(right, image[j, 0])
        top, bottom = min(top, image[j, 1]), max(bottom, image[j, 1])
    cell = max(radius, (right - left) / _GRID, (bottom - top) / _GRID)
    columns, rows = int((right - left) / cell) + 1, int((bottom - top) / cell) + 1
    starts = np.zeros(columns * rows + 1, dtype=np.int32)
    for j in range(m):
        starts[int((image[j, 1] - top) / cell) * columns + int((image[j, 0] - left) / cell) + 1] += 1
    for k in range(columns * rows):
        starts[k + 1] += starts[k]
    # Features cell by cell, so that those of neighbouring cells of a row lie side by side.
    fill = starts[:-1].copy()
    members, xs, ys, sizes = np.empty(m, dtype=np.int32), np.empty(m), np.empty(m), np.empty(m)
    for j in range(m):
        cell_of_j = int((image[j, 1] - top) / cell) * columns + int((image[j, 0] - left) / cell)
        k = fill[cell_of_j]
        members[k], xs[k], ys[k], sizes[k] = j, image[j, 0], image[j, 1], image[j, 2]
        fill[cell_of_j] = k + 1
    near = np.empty(m, dtype=np.int32)
    square = radius * radius
    step = np.float32(median_step)
    affine = matrix[2, 0] == 0.0 and matrix[2, 1] == 0.0
    growth, turn, known = 0.0, 0.0, False
    for i in range(n):
        x, y = query[i, 0], query[i, 1]
        w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
        if w <= 0.0:
            continue
        px = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w
        py = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / w
        if px < left - radius or px > right + radius or py < top - radius or py > bottom + radius:
            continue
        if not (affine and known):  # an affine map turns and scales alike everywhere
            a, b = (matrix[0, 0] - matrix[2, 0] * px) / w, (matrix[0, 1] - matrix[2, 1] * px) / w
            c, d = (matrix[1, 0] - matrix[2, 0] * py) / w, (matrix[1, 1] - matrix[2, 1] * py) / w
            growth, turn, known = 0.5 * math.log2(max(abs(a * d - b * c), 1e-12)), math.atan2(c - b, a + d), True
        size, angle = query[i, 2] + growth, query[i, 3] + turn
        first, last = max(0, int((px - radius - left) / cell)), min(columns - 1, int((px + radius - left) / cell))
        count = 0
        for row in range(max(0, int((py - radius - top) / cell)), min(rows - 1, int((py + radius - top) / cell)) + 1):
            # Each is written and the next one takes its place unless it is near: no branch to be guessed wrong.
            for k in range(starts[row * columns + first], starts[row * columns + last + 1]):
                ex, ey = xs[k] - px, ys[k] - py
                near[count] = k
                count += (ex * ex + ey * ey <= square) & (abs(sizes[k] - size) <= scale_limit)
        for c in range(count):
            j = members[near[c]]
            bend = image[j, 3] - angle
            bend -= 2 * math.pi * math.floor(bend / (2 * math.pi) + 0.5)
            if abs(bend) > angle_limit:
                continue
            compared[i] += 1
            word, signature = words[j], np.uint64(0)
            for q in range(64):
                high = projections[i, q] > np.float32(medians[word, q]) * step
                signature |= np.uint64(high) << np.uint64(q)
            unlike = np.int64(popcount(signature ^ signatures[j]))
            # Of equal ones the first, in whatever order they are met.
            if unlike < distance[i] or (unlike == distance[i] and j < partner[i]):
                distance[i], partner[i] = unlike, j


@nb.njit(nb.int32[::1](_POINTS, nb.float64), cache=True, nogil=True)
def number_cells(points, side):  # type: ignore[no-untyped-def] # types: signature
    """Number the square cells of `side` pixels in which `points` (n, 2 or more) lie; at most 4,096 to a row."""
    n = len(points)
    numbers, rows = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    if n == 0:
        return numbers
    left, top, widest = points[0, 0], points[0, 1], 0
    for i in range(n):
        left, top = min(left, points[i, 0]), min(top, points[i, 1])
    for i in range(n):
        numbers[i] = min(int((points[i, 0] - left) / side), 4095)
        rows[i] = min(int((points[i, 1] - top) / side), 4095)
        widest = max(widest, numbers[i])
    for i in range(n):
        numbers[i] += rows[i] * (widest + 1)
    return numbers


@nb.njit(nb.int64(_I32, _I32, _I32, _U8, nb.int64, _I64, nb.boolean[::1]), cache=True, nogil=True)
def distinct_agreements(query_cells, image_cells, partner, distance, limit, order, kept):  # type: ignore[no-untyped-def] # types: signature
    """Keep, in `order`, agreements at most `limit` bits apart in cells that nobody has used; return their number.

    `query_cells` (n) and `image_cells` (m) number the cell of each feature from 0. Fills `kept` (n). A cell used once
    also keeps each partner to one query feature.
    """
    query_last, image_last, count = 0, 0, 0
    for i in range(len(query_cells)):
        query_last = max(query_last, query_cells[i])
    for j in range(len(image_cells)):
        image_last = max(image_last, image_cells[j])
    used_query = np.zeros(query_last + 1, dtype=np.bool_)
    used_image = np.zeros(image_last + 1, dtype=np.bool_)
    kept[:] = False
    for k in range(len(order)):
        i = order[k]
        j = partner[i]
        if j < 0 or distance[i] > limit:
            continue
        if used_query[query_cells[i]] or used_image[image_cells[j]]:
            continue
        used_query[query_cells[i]] = True
        used_image[image_cells[j]] = True
        kept[i] = True
        count += 1
    return count


@nb.njit(nb.int64(_F64_2, nb.float64, nb.float64, nb.int64, nb.int64), cache=True, nogil=True)
def thinned_lines(points, width, length, most, directions):  # type: ignore[no-untyped-def] # types: signature
    """Count `points` (n, 2), of those in a strip of `width` by `length` or more only `most`.

    The fullest strip is thinned first, and what lies in it is in no other. Strips run in so many `directions`, half a
    width apart.
    """
    n, reach, turn = len(points), 0.0, math.pi / directions
    for i in range(n):
        reach = max(reach, math.hypot(points[i, 0] - points[0, 0], points[i, 1] - points[0, 1]))
    bands = int(4 * reach / width) + 3
    band = np.empty((directions, n), dtype=np.int64)
    left, count, fullest = np.ones(n, dtype=np.bool_), 0, most + 1
    while fullest > most:
        fullest, direction, place = most, 0, 0
        for d in range(directions):
            held, first, last = np.zeros(bands, dtype=np.int64), np.full(bands, np.inf), np.full(bands, -np.inf)
            for i in range(n):
                x, y = points[i, 0] - points[0, 0], points[i, 1] - points[0, 1]
                b = band[d, i] = int(2 * (x * math.cos(turn * d) + y * math.sin(turn * d) + reach) / width)
                if left[i]:
                    along = y * math.cos(turn * d) - x * math.sin(turn * d)
                    held[b], first[b], last[b] = held[b] + 1, min(first[b], along), max(last[b], along)
            for b in range(bands - 1):
                long = max(last[b], last[b + 1]) - min(first[b], first[b + 1]) >= length
                if long and held[b] + held[b + 1] > fullest:
                    fullest, direction, place = held[b] + held[b + 1], d, b
        if fullest > most:
            count += most
            for i in range(n):
                left[i] &= not place <= band[direction, i] <= place + 1
    return count + left.sum()
