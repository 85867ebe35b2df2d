"""Plain twins of the compiled loops: slow, obviously right, and held equal to them by the property tests."""

from __future__ import annotations

import itertools
import math

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


def agreeing_postings(starts, stops, signatures, postings, images, alive, limit):
    """Twin of `index._kernels.agreeing_postings`; returns (entry, place, distance) of each."""
    return [
        (entry, place, distance)
        for entry, signature in enumerate(signatures)
        for place in range(starts[entry], stops[entry])
        if (distance := (int(postings[place]) ^ int(signature)).bit_count()) <= limit and alive[images[place]]
    ]


def tally(bounds, features, images, distances, feature_weights, distance_weights, n_images):
    """Twin of `index._kernels.tally`; returns the votes."""
    strongest = {}
    for entry, feature in enumerate(features):
        for row in range(bounds[entry], bounds[entry + 1]):
            weight = feature_weights[feature] * distance_weights[distances[row]]
            strongest[feature, images[row]] = max(weight, strongest.get((feature, images[row]), 0.0))
    votes = np.zeros(n_images)
    for (_, image), weight in strongest.items():
        votes[image] += weight
    return votes


def agreements_on(bounds, images, chosen):
    """Twin of `index._kernels.agreements_on`; returns (entry, row) of each agreement, image by image."""
    return [
        (entry, row)
        for image in chosen
        for entry in range(len(bounds) - 1)
        for row in range(bounds[entry], bounds[entry + 1])
        if images[row] == image
    ]


def postings_between(words, offsets, images, wanted, low, high):
    """Twin of `index._kernels.postings_between`; returns (place, row of the word) of each."""
    return [
        (place, row)
        for row, word in enumerate(wanted)
        for own, start, stop in zip(words, offsets[:-1], offsets[1:], strict=True)
        for place in range(start, stop)
        if own == word and low <= images[place] <= high
    ]


def probes_by_cell(distances, probes):
    """Twin of `index._kernels.probes_by_cell`; returns the rows that probe each cell."""
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :probes]
    return [np.flatnonzero((nearest == cell).any(axis=1)).tolist() for cell in range(distances.shape[1])]


def sign(projections, medians, words, step):
    """Twin of `index._kernels.sign`; returns the signatures."""
    bits = projections > medians[words] * step
    return [sum(1 << int(bit) for bit in np.flatnonzero(row)) for row in bits]


def nearest_words(descriptors, words, wanted):
    """Twin of `index.vocabulary.Vocabulary.assign` that looks at every word; returns them and their distances."""
    distances = np.linalg.norm(descriptors[:, None, :].astype(float) - words[None, :, :].astype(float), axis=2)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :wanted]
    return nearest, np.take_along_axis(distances, nearest, axis=1)


def turned_by(angle):
    """Return how far `angle` is from no turn at all, 0 to pi."""
    return abs(math.remainder(angle, 2 * math.pi))


def hypothesis_votes(i, query, image, weights, base, slack, scale_limit, angle_limit):
    """Return the votes for the similarity that row `i` implies: twin of the loop in `strongest_hypothesis`."""
    growth, turn = image[i, 2] - query[i, 2], image[i, 3] - query[i, 3]
    similarity = 2**growth * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])

    def agrees(j):
        laid = similarity @ (query[j, :2] - query[i, :2])
        return (
            np.linalg.norm(image[j, :2] - image[i, :2] - laid) <= base + slack * np.linalg.norm(laid)
            and abs(image[j, 2] - query[j, 2] - growth) <= scale_limit
            and turned_by(image[j, 3] - query[j, 3] - turn) <= angle_limit
        )

    of_feature = {}
    for j in range(len(query)):
        if agrees(j):
            feature = tuple(query[j, :2])
            of_feature[feature] = max(weights[j], of_feature.get(feature, 0.0))
    return sum(of_feature.values())


def inliers_of(matrix, query, image, tolerance, scale_limit, angle_limit):
    """Twin of `matcher._kernels.inliers_of`; returns the mask."""
    linear = matrix[:, :2]
    growth = 0.5 * math.log2(abs(np.linalg.det(linear)))
    turn = math.atan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])
    off = np.linalg.norm(query[:, :2] @ linear.T + matrix[:, 2] - image[:, :2], axis=1)
    bends = np.array([turned_by(angle) for angle in image[:, 3] - query[:, 3] - turn])
    return (off <= tolerance) & (abs(image[:, 2] - query[:, 2] - growth) <= scale_limit) & (bends <= angle_limit)


def fit_similarity(query, image):
    """Twin of `matcher._kernels.fit_similarity`: the least-squares solution of all equations, written out."""
    (x, y), ones, zeros = query[:, :2].T, np.ones(len(query)), np.zeros(len(query))
    rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    c, s, u, v = np.linalg.lstsq(rows, image[:, :2].T.ravel(), rcond=None)[0]
    return np.array([[c, -s, u], [s, c, v]])


def fit_affine(query, image, prior, stiffness):
    """Twin of `matcher._kernels.fit_affine`: the prior as so many more equations."""
    middle, aim = query[:, :2].mean(axis=0), image[:, :2].mean(axis=0)
    centred = query[:, :2] - middle
    weight = math.sqrt(stiffness * (centred**2).sum() / (2 * len(query)))
    rows = np.concatenate([centred, weight * np.eye(2)])
    wanted = np.concatenate([image[:, :2] - aim, weight * prior[:, :2].T])
    linear = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    return np.ascontiguousarray(np.column_stack([linear, aim - linear @ middle]))


def rematch(
    matrix, query, projections, image, words, signatures, medians, median_step, radius, scale_limit, angle_limit
):
    """Twin of `matcher._kernels.rematch`; returns (best partners, distance, compared) of each query feature."""
    result = []
    for (x, y, size, angle), projection in zip(query, projections, strict=True):
        u, v, w = matrix @ [x, y, 1.0]
        if w <= 0:
            result.append((set(), 65, 0))
            continue
        place = np.array([u, v]) / w
        derivative = (matrix[:2, :2] - np.outer(place, matrix[2, :2])) / w
        size += 0.5 * math.log2(abs(np.linalg.det(derivative)))
        angle += math.atan2(derivative[1, 0] - derivative[0, 1], derivative[0, 0] + derivative[1, 1])
        distances = {}
        for j in range(len(image)):
            if (
                np.linalg.norm(image[j, :2] - place) <= radius
                and abs(image[j, 2] - size) <= scale_limit
                and turned_by(image[j, 3] - angle) <= angle_limit
            ):
                bits = projection > medians[words[j]] * median_step
                own = sum(1 << int(bit) for bit in np.flatnonzero(bits))
                distances[j] = (own ^ int(signatures[j])).bit_count()
        best = min(distances.values(), default=65)
        result.append(({j for j, distance in distances.items() if distance == best}, best, len(distances)))
    return result


def plausible(matrix, corners):
    """Twin of `matcher.geometry.plausible`, with a derivative taken by differences and its singular values."""

    def laid(point):
        u, v, w = matrix @ [*point, 1.0]
        return np.array([u / w, v / w])

    weights = [float(matrix[2] @ [x, y, 1.0]) for x, y in corners]
    if min(weights) <= 0 or max(weights) / min(weights) > 1.6:
        return False
    sides = np.diff([laid(corner) for corner in [*corners, *corners[:2]]], axis=0)
    if any(before[0] * after[1] - before[1] * after[0] <= 0 for before, after in itertools.pairwise(sides)):
        return False
    middle, steps = corners.mean(axis=0), np.eye(2) * 1e-3
    derivative = np.column_stack([(laid(middle + step) - laid(middle - step)) / 2e-3 for step in steps])
    longest, shortest = np.linalg.svd(derivative, compute_uv=False)
    return bool(longest <= 2 * shortest)


def number_cells(points, side):
    """Twin of `matcher._kernels.number_cells`: two points have one number exactly if they lie in one cell."""
    left, top = points.min(axis=0)
    return [(min(math.floor((x - left) / side), 4095), min(math.floor((y - top) / side), 4095)) for x, y in points]


def distinct_agreements(query_cells, image_cells, partner, distance, limit, order):
    """Twin of `matcher._kernels.distinct_agreements`; returns which are kept."""
    kept, query_used, image_used = set(), set(), set()
    for i in order:
        if partner[i] < 0 or distance[i] > limit:
            continue
        from_cell, to_cell = query_cells[i], image_cells[partner[i]]
        if from_cell not in query_used and to_cell not in image_used:
            kept.add(int(i))
            query_used.add(from_cell)
            image_used.add(to_cell)
    return kept


def thinned_lines(points, width, length, most, directions):
    """Twin of `matcher._kernels.thinned_lines`."""
    left, count = list(range(len(points))), 0
    reach = max(math.hypot(*(point - points[0])) for point in points) if len(points) else 0.0
    while True:
        strips = []
        for d in range(directions):
            c, s = math.cos(math.pi / directions * d), math.sin(math.pi / directions * d)
            relative = {i: points[i] - points[0] for i in left}
            band = {i: int(2 * (x * c + y * s + reach) / width) for i, (x, y) in relative.items()}
            along = {i: y * c - x * s for i, (x, y) in relative.items()}
            for place in sorted({b - step for b in band.values() for step in (0, 1)}):
                inside = [i for i in left if place <= band[i] <= place + 1]
                if inside and max(along[i] for i in inside) - min(along[i] for i in inside) >= length:
                    strips.append(inside)
        fullest = max(strips, key=len, default=[])
        if len(fullest) <= most:
            return count + len(left)
        count += most
        left = [i for i in left if i not in set(fullest)]
