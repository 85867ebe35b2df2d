"""Single instructions of the processor that Python has no word for, for compiled loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
from llvmlite import ir  # type: ignore[import-untyped] # has no types
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["popcount", "prefetch"]

if nb.config.DISABLE_JIT:  # type: ignore[attr-defined] # set as numba is imported

    def popcount(bits: int) -> int:
        """Return the number of set bits."""
        return int(bits).bit_count()

    def prefetch(array: NDArray, index: int) -> None:
        """Do nothing."""

else:

    @intrinsic
    def popcount(typing_context, bits):  # type: ignore[no-untyped-def] # numba's protocol
        """Return the number of set bits of an unsigned 64-bit integer."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # numba's protocol
            function = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
            return builder.call(function, arguments)

        return types.uint64(types.uint64), generate

    @intrinsic
    def prefetch(typing_context, array, index):  # type: ignore[no-untyped-def] # numba's protocol
        """Have an element of an array, which may lie beyond its end, fetched into the cache without waiting for it."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # numba's protocol
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
            address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
            # To be read, needed soon, as data.
            builder.call(function, [address, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.int64), generate
