"""Curves as PNG pictures, drawn with matplotlib, which comes with the extra ``bench``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Panel", "plot_curves"]

_MARKS = "os^Dv*XP"


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes and the curves in it.

    Attributes
    ----------
    x_label : str
        What is varied, with its unit.
    curves : mapping
        Name in the legend → x and y values of the points, of equal number; a y of None or NaN leaves a gap.
    title : str
    y_label : str
    y_range : (float, float) or None
        None fits the axis to the values.
    reverse : bool
        Whether x runs from large to small, so that all panels get harder to the right.
    """

    x_label: str
    curves: Mapping[str, tuple[Sequence[float], Sequence[float | None]]] = field(default_factory=dict)
    title: str = ""
    y_label: str = "recall"
    y_range: tuple[float, float] | None = (0.0, 1.02)
    reverse: bool = False


def plot_curves(path: Path, panels: Sequence[Panel], title: str = "") -> None:
    """Draw `panels` side by side into the PNG file `path`.

    Raises
    ------
    ValueError
        If there is no panel, or a curve has not as many x as y values.
    """
    from matplotlib.figure import Figure  # its own canvas: no window system, no global state

    if not panels:
        raise ValueError("no panel to draw")
    figure = Figure(figsize=(4.4 * len(panels), 3.9), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (name, (x, y)) in enumerate(panel.curves.items()):
            if len(x) != len(y):
                raise ValueError(f"curve {name!r} has {len(x)} x and {len(y)} y values")
            values = [float("nan") if value is None else value for value in y]
            axes.plot(x, values, marker=_MARKS[number % len(_MARKS)], markersize=5, linewidth=1.6, label=name)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label, title=panel.title)
        if panel.y_range is not None:
            axes.set_ylim(*panel.y_range)
        if panel.reverse:
            axes.invert_xaxis()
        axes.grid(alpha=0.3)
        if panel.curves:
            axes.legend(fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110, format="png")
