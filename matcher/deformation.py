"""How far a print lies from another once both show the same drawing: what paper does, and what is left of it.

Sheets stretch and cockle smoothly; a copyist's hand errs irregularly, line by line. So displacements are measured
patch by patch by local correlation, a polynomial map of low order takes up what paper does, and the rest is the
evidence. A thin-plate spline (Bookstein 1989) then follows the rest too, for drawings that lie upon each other.

Pixels here are those of two registered pictures of one shape; x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matcher.tones import standardised

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Displacements", "PaperMap", "ThinPlate", "displaced", "displacements", "fit_paper", "flatten"]

_LEAST_PLACES = 12
_WELL_SEEN = 0.1
"""A direction counts if it is known at least so well as this share of what is usual for the best direction."""


@dataclass(frozen=True, slots=True)
class Displacements:
    """Where patches of one picture are found on the other.

    Attributes
    ----------
    points : float64, shape (n, 2)
        Middles of the patches.
    shifts : float64, shape (n, 2)
        From there to the place where the other picture has the same.
    information : float64, shape (n, 2, 2)
        How well each shift is known, in each direction: along a straight line nothing is known.
    lost : int
        Patches whose partner was not within reach.
    """

    points: NDArray[np.float64]
    shifts: NDArray[np.float64]
    information: NDArray[np.float64]
    lost: int

    def __len__(self) -> int:
        return len(self.points)

    def beyond(self, smooth: Callable[[NDArray], NDArray]) -> Displacements:
        """Return what is left of the shifts once `smooth`, a function of points, is taken off."""
        return Displacements(self.points, self.shifts - smooth(self.points), self.information, self.lost)

    def lengths(self) -> NDArray[np.float64]:
        """Return the shifts' components, unsigned, in each direction in which they are well known; shape (k,)."""
        if not len(self):
            return np.zeros(0)
        known, axes = np.linalg.eigh(self.information)
        components = np.abs(np.einsum("nij,ni->nj", axes, self.shifts))
        return np.asarray(components[known > _WELL_SEEN * np.median(known[:, 1])])

    def damped(self) -> NDArray[np.float64]:
        """Return the shifts drawn towards zero in the directions in which they are not known, shape (n, 2)."""
        if not len(self):
            return self.shifts
        prior = _WELL_SEEN * float(np.median(np.linalg.eigvalsh(self.information)[:, 1])) * np.eye(2)
        seen = np.einsum("nij,nj->ni", self.information, self.shifts)
        return np.asarray(np.linalg.solve(self.information + prior, seen[..., None])[..., 0])


@dataclass(frozen=True, slots=True)
class PaperMap:
    """A polynomial displacement of low `degree` over a picture of `shape` (h, w): what sheets of paper do."""

    coefficients: NDArray[np.float64]
    degree: int
    shape: tuple[int, int]

    def __call__(self, points: NDArray) -> NDArray[np.float64]:
        """Return the displacements at `points`, shape (n, 2)."""
        return np.asarray(_monomials(points, self.degree, self.shape) @ self.coefficients)

    def field(self) -> NDArray[np.float64]:
        """Return the displacements of all pixels, shape (h, w, 2)."""
        return _over(self, self.shape)


class ThinPlate:
    """A thin-plate spline through displacements at points, as stiff as asked.

    Parameters
    ----------
    points, shifts : shape (n, 2)
        At least three points that do not lie on one line.
    shape : (int, int)
        Of the picture, (h, w).
    stiffness : float
        0 passes through every shift; the greater, the smoother.
    """

    def __init__(self, points: NDArray, shifts: NDArray, shape: tuple[int, int], stiffness: float = 0.0) -> None:
        self._shape = shape
        self._knots = _unit(points, shape)
        n = len(points)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = _bend(self._knots, self._knots) + stiffness * np.eye(n)
        system[:n, n:] = np.column_stack([np.ones(n), self._knots])
        system[n:, :n] = system[:n, n:].T
        self._weights = np.linalg.solve(system, np.concatenate([shifts, np.zeros((3, 2))]))

    def __call__(self, points: NDArray) -> NDArray[np.float64]:
        """Return the displacements at `points`, shape (n, 2)."""
        at = _unit(points, self._shape)
        basis = np.column_stack([_bend(at, self._knots), np.ones(len(at)), at])
        return np.asarray(basis @ self._weights)

    def field(self) -> NDArray[np.float64]:
        """Return the displacements of all pixels, shape (h, w, 2)."""
        return _over(self, self._shape)


def displacements(
    a: NDArray[np.float32], b: NDArray[np.float32], valid: NDArray[np.bool_], patch: int, reach: int
) -> Displacements:
    """Find patches of `a` on `b` by normalised correlation, to a fraction of a pixel.

    Parameters
    ----------
    a, b : float32, shape (h, w)
        Registered pictures, standardised.
    valid : bool, shape (h, w)
        Where both have pixels; patches lie wholly inside.
    patch : int
        Side of the square patches in pixels; they overlap by half.
    reach : int
        How far a partner may lie away in each direction.
    """
    patch, reach = max(patch, 5), max(reach, 2)
    half, step = patch // 2, max(3, patch // 2)
    inside = cv2.erode(valid.astype(np.uint8), np.ones((patch, patch), np.uint8), borderType=cv2.BORDER_CONSTANT)
    margin = (reach, reach, reach, reach)
    wide = cv2.copyMakeBorder(b, *margin, cv2.BORDER_CONSTANT, value=0)
    points, shifts, information, lost = [], [], [], 0
    for y in range(half, a.shape[0] - half, step):
        for x in range(half, a.shape[1] - half, step):
            template = a[y - half : y - half + patch, x - half : x - half + patch]
            if not inside[y, x] or template.std() < 0.4:
                continue
            around = wide[y - half : y - half + patch + 2 * reach, x - half : x - half + patch + 2 * reach]
            surface = cv2.matchTemplate(around, template, cv2.TM_CCOEFF_NORMED)
            _, peak, _, (across, down) = cv2.minMaxLoc(surface)
            if not (0 < across < 2 * reach and 0 < down < 2 * reach):
                lost += 1
                continue
            shift, curvature = _summit(surface[down - 1 : down + 2, across - 1 : across + 2])
            points.append((x, y))
            shifts.append((across - reach + shift[0], down - reach + shift[1]))
            information.append(curvature / (1.05 - peak))
    n = len(points)
    return Displacements(
        np.array(points, np.float64).reshape(n, 2),
        np.array(shifts, np.float64).reshape(n, 2),
        np.array(information, np.float64).reshape(n, 2, 2),
        lost,
    )


def fit_paper(found: Displacements, degree: int, shape: tuple[int, int]) -> PaperMap:
    """Fit the polynomial map of `degree` that explains the displacements best; the least fitting count less (Huber)."""
    basis = _monomials(found.points, degree, shape)
    k = basis.shape[1]
    weights = np.ones(len(found))
    coefficients = np.zeros((k, 2))
    for _ in range(8):
        normal = np.einsum("n,nij,na,nb->iajb", weights, found.information, basis, basis).reshape(2 * k, 2 * k)
        wanted = np.einsum("n,nij,nj,na->ia", weights, found.information, found.shifts, basis).ravel()
        # The ridge keeps terms that no place determines, such as bends across a narrow strip, at nothing.
        ridge = 1e-6 * (np.trace(normal) / (2 * k) + 1e-12) * np.eye(2 * k)
        coefficients = np.linalg.solve(normal + ridge, wanted).reshape(2, k).T
        left = found.shifts - basis @ coefficients
        apart = np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", left, found.information, left), 1e-12))
        weights = np.minimum(1.0, 1.5 * np.median(apart) / apart)
    return PaperMap(coefficients, degree, shape)


def flatten(
    a: NDArray[np.uint8], b: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> tuple[PaperMap, Displacements] | None:
    """Find what paper did to `b` against `a`, and what it does not explain.

    First large patches and a quadratic map, then smaller ones and a cubic: of a tenth of the picture's size, which sees
    the lines of a cut move, and not every line.

    Parameters
    ----------
    a, b : uint8, shape (h, w)
        Pictures registered by a plane map.
    valid : bool, shape (h, w)
        Where both have pixels.

    Returns
    -------
    paper : PaperMap
        From pixels of `a` to their partners on `b`.
    left : Displacements
        Beyond it.
    None
        Where there is too little drawing to follow.
    """
    high, wide = a.shape
    size, extent = max(high, wide), float(np.sqrt(high * wide))
    sigma = 0.04 * extent
    ours = standardised(a, valid, sigma)
    coarse = displacements(ours, standardised(b, valid, sigma), valid, round(0.16 * extent), max(3, round(0.04 * size)))
    if len(coarse) < _LEAST_PLACES:
        return None
    first = fit_paper(coarse, 2, a.shape)
    moved, seen = displaced(b, first.field(), valid)
    fine = displacements(ours, standardised(moved, seen, sigma), seen, round(0.1 * extent), max(3, round(0.03 * size)))
    if len(fine) < _LEAST_PLACES:
        return None
    shifts = fine.shifts + first(fine.points + fine.shifts)  # on `b` as it came
    whole = Displacements(fine.points, shifts, fine.information, fine.lost)
    paper = fit_paper(whole, 3, a.shape)
    return paper, whole.beyond(paper)


def displaced(
    picture: NDArray[np.uint8], field: NDArray[np.float64], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return `picture` with every pixel taken from where `field` leads, and where it and `valid` allow that."""
    rows, columns = np.indices(picture.shape, dtype=np.float32)
    x, y = columns + field[..., 0].astype(np.float32), rows + field[..., 1].astype(np.float32)
    moved = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.remap(valid.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(moved, np.uint8), (seen > 0) & valid


def _summit(around: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the parabola through 3 × 3 values has its top, and how sharply it falls off, shape (2, 2)."""
    n = around.astype(np.float64)
    slope = np.array([(n[1, 2] - n[1, 0]) / 2, (n[2, 1] - n[0, 1]) / 2])
    mixed = (n[2, 2] - n[2, 0] - n[0, 2] + n[0, 0]) / 4
    bend = np.array([[2 * n[1, 1] - n[1, 2] - n[1, 0], -mixed], [-mixed, 2 * n[1, 1] - n[2, 1] - n[0, 1]]])
    values, axes = np.linalg.eigh(bend)
    falling = (axes * np.maximum(values, 1e-4)) @ axes.T
    return np.clip(np.linalg.solve(falling, slope), -1, 1), falling


def _unit(points: NDArray, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return `points` with the picture's middle at 0 and half of its longer side as unit."""
    return np.asarray((points - np.array([shape[1] / 2, shape[0] / 2])) / (max(shape) / 2))


def _monomials(points: NDArray, degree: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    x, y = _unit(points, shape).T
    return np.stack([x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=1)


def _bend(points: NDArray, knots: NDArray) -> NDArray[np.float64]:
    """Return r² log r between `points` and `knots`."""
    square = ((points[:, None] - knots[None]) ** 2).sum(axis=2)
    return np.asarray(0.5 * square * np.log(np.maximum(square, 1e-12)))


def _over(function: Callable[[NDArray], NDArray], shape: tuple[int, int], step: int = 8) -> NDArray[np.float64]:
    """Return `function`, a smooth one, of all pixels of `shape`: computed at every `step`-th and interpolated."""
    high, wide = shape
    rows, columns = (np.linspace(0, n - 1, max(2, -(-n // step))) for n in (high, wide))
    x, y = np.meshgrid(columns, rows)
    coarse = function(np.column_stack([x.ravel(), y.ravel()])).reshape(len(rows), len(columns), 2)
    down, across = np.indices(shape, dtype=np.float32)
    across *= (len(columns) - 1) / max(wide - 1, 1)
    down *= (len(rows) - 1) / max(high - 1, 1)
    return np.asarray(cv2.remap(coarse.astype(np.float32), across, down, cv2.INTER_LINEAR), np.float64)
