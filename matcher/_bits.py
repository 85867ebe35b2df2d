"""Counting bits in compiled loops: one instruction of the processor."""

from __future__ import annotations

import numba as nb
from llvmlite import ir  # type: ignore[import-untyped] # has no types
from numba.core import types
from numba.extending import intrinsic

__all__ = ["popcount"]

if nb.config.DISABLE_JIT:  # type: ignore[attr-defined] # set as numba is imported

    def popcount(bits: int) -> int:
        """Return the number of set bits."""
        return int(bits).bit_count()

else:

    @intrinsic
    def popcount(typing_context, bits):  # type: ignore[no-untyped-def] # numba's protocol
        """Return the number of set bits of an unsigned 64-bit integer."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # numba's protocol
            function = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
            return builder.call(function, arguments)

        return types.uint64(types.uint64), generate
