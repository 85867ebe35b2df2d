"""Single instructions of the processor that Python has no word for, for compiled loops.

``popcount(bits)`` is the number of set bits of an unsigned 64-bit integer. ``prefetch(array, index)`` has an element,
which may lie beyond the end, brought into the cache without waiting for it.
"""

from __future__ import annotations

from typing import Any

import numba as nb
from llvmlite import ir  # type: ignore[import-untyped] # has no types
from numba.core import types
from numba.extending import intrinsic

__all__ = ["popcount", "prefetch"]


def _popcount(typing_context, bits):  # type: ignore[no-untyped-def] # numba's protocol
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # numba's protocol
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), arguments)

    return types.uint64(types.uint64), generate


def _prefetch(typing_context, array, index):  # type: ignore[no-untyped-def] # numba's protocol
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


_COMPILING = not nb.config.DISABLE_JIT  # type: ignore[attr-defined] # set as numba is imported

popcount: Any = intrinsic(_popcount) if _COMPILING else lambda bits: int(bits).bit_count()
prefetch: Any = intrinsic(_prefetch) if _COMPILING else lambda array, index: None
