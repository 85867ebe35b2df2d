"""Turn a trained layout network into the ONNX file that the package carries.

```
python -m benchmarks.layout_export /tmp/layout/layout.pt matcher/data/layout.onnx
```
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.layout_model import LayoutModel
from matcher.region_learning import exported

__all__ = ["export"]


def export(weights: Path, out: Path) -> None:
    """Write the network with some weights as ONNX, for images of any size that is a multiple of 32."""
    model = LayoutModel()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    out.write_bytes(exported(model, ["classes", "fine", "coarse"]))


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    export(asked.weights, asked.out)


if __name__ == "__main__":
    main()
