"""``calque damage``: maps of cracks, losses, corrosion, pixel by pixel."""

from __future__ import annotations

from cli.lazy import CommandTable, LazyGroup

__all__ = ["DAMAGE_COMMANDS", "damage"]

DAMAGE_COMMANDS: CommandTable = {
    "train": ("cli.damage_train", "Learn from a few images on which damage is painted."),
    "apply": ("cli.damage_apply", "Map damage: masks, overlays, areas and lengths."),
}
"""Commands by name."""

damage = LazyGroup(
    "damage",
    table=DAMAGE_COMMANDS,
    help="""Map damage pixel by pixel: cracks, losses of paint, corrosion by ink, whatever a few painted images show.

    \b
    Examples:
      calque damage train painted/ -o cracks.onnx
      calque damage apply cracks.onnx scans/ -o damage/
    """,
)
