"""Turn a trained layout network into the ONNX file that the package carries.

```
python -m benchmarks.layout_export /tmp/layout/layout.pt matcher/data/layout.onnx
```
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch

from benchmarks.layout_model import LayoutModel

__all__ = ["export"]


def export(weights: Path, out: Path) -> None:
    """Write the network with some weights as ONNX, for images of any size that is a multiple of 32."""
    model = LayoutModel()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    sides = {0: "n", 2: "h", 3: "w"}
    with warnings.catch_warnings():
        # The exporter that follows wants a further package and gives OpenCV's reader nothing that it needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model.eval(),
            (torch.zeros(1, 3, 64, 64),),
            str(out),
            dynamo=False,
            opset_version=17,
            input_names=["pixels"],
            output_names=["classes", "fine", "coarse"],
            dynamic_axes=dict.fromkeys(("pixels", "classes", "fine", "coarse"), sides),
        )


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    export(asked.weights, asked.out)


if __name__ == "__main__":
    main()
