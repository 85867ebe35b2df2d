"""Named points in every write at which the crash tests kill the process."""

from __future__ import annotations

import os
import signal
from collections import Counter

__all__ = ["POINTS", "reach"]

POINTS = (
    "create.catalogue_written",
    "migrate.in_transaction",
    "segment.begun",
    "segment.half",
    "segment.written",
    "file.synced",
    "file.renamed",
    "add.before_commit",
    "add.in_transaction",
    "add.committed",
    "merge.before_commit",
    "merge.in_transaction",
    "merge.committed",
    "remove.in_transaction",
    "remove.committed",
    "annotate.in_transaction",
    "repair.in_transaction",
    "links.in_transaction",
    "links.sweep.in_transaction",
    "trace.in_transaction",
    "layout.in_transaction",
    "compact.before_vacuum",
    "vacuum.done",
    "sweep.one_deleted",
    "vectors.before_commit",
    "vectors.in_transaction",
    "vectors.committed",
)
"""All fault points, in no order."""

_arrivals: Counter[str] = Counter()


def reach(name: str) -> None:
    """Do nothing, unless the environment variable ``CALQUE_FAULT`` is ``name`` or ``name:n``.

    In that case the n-th arrival kills the process with SIGKILL, as a power cut would.
    """
    wanted, _, count = os.environ.get("CALQUE_FAULT", "").partition(":")
    if wanted != name:
        return
    _arrivals[name] += 1
    if _arrivals[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
