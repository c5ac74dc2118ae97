"""Functions compiled to machine code when they are first called, and free of the interpreter's lock.

They are plain Python in a small subset: whole numbers, floats, and addresses in memory. Addresses and not arrays,
because a call counts the references of every array it is given, which costs more than most functions here do. Whoever
calls from outside keeps the arrays alive and gives their addresses (`address_of`).

The machine code is kept beside the bytecode, by a fingerprint of this folder's sources (what is called from another
file is part of it), so only the first start after a change takes the seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

instruction: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic
"""What the compiler puts in place of a call. The first argument is the compiler's own."""

copy: Any = cgutils.raw_memcpy
_BYTE, _HALF, _WORD, _DOUBLE = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()


_HERE = Path(__file__).parent


def _fingerprint() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(_HERE.glob("*.py")):
        if b"compiled" in (text := source.read_bytes()):
            digest.update(text)
    return digest.hexdigest()[:16]


config: Any = numba.config
config.CACHE_DIR = str(_HERE / "__pycache__" / f"machine-{_fingerprint()}")


def compiled(function: F) -> F:
    """Callable from outside. Arithmetic as in C: integers wrap, division by zero gives no error."""
    compiler: Any = numba.njit
    try:
        made: F = compiler(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # nowhere to keep it: compiled at each start then
        made = compiler(nogil=True, error_model="numpy")(function)
    return made


def part(function: F) -> F:
    """Callable from compiled functions only: it takes half the time to compile, and is kept with them."""
    compiler: Any = numba.njit
    made: F = compiler(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return made


def address_of(array: np.ndarray) -> int:
    """Where its numbers begin. They must lie one after the other."""
    assert array.flags.c_contiguous
    return int(array.ctypes.data)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


@instruction
def byte_at(typing: Any, address: Any) -> Any:
    """The byte in memory there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(_load(builder, args[0], _BYTE), _WORD)

    return types.int64(types.int64), generate


@instruction
def half_at(typing: Any, address: Any) -> Any:
    """The signed 32-bit number there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(_load(builder, args[0], _HALF), _WORD)

    return types.int64(types.int64), generate


@instruction
def long_at(typing: Any, address: Any) -> Any:
    """The signed 64-bit number there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], _WORD)

    return types.int64(types.int64), generate


@instruction
def word_at(typing: Any, address: Any) -> Any:
    """The eight bytes there as an unsigned number, the first byte lowest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], _WORD)

    return types.uint64(types.int64), generate


@instruction
def double_at(typing: Any, address: Any) -> Any:
    """The float there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], _DOUBLE)

    return types.float64(types.int64), generate


def _store(kind: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[1] if args[1].type == kind else builder.trunc(args[1], kind)
        builder.store(value, builder.inttoptr(args[0], kind.as_pointer()), align=1)
        return context.get_dummy_value()

    return generate


@instruction
def put_byte(typing: Any, address: Any, value: Any) -> Any:
    """Write the lowest byte of a number."""
    return types.void(types.int64, types.int64), _store(_BYTE)


@instruction
def put_long(typing: Any, address: Any, value: Any) -> Any:
    """Write a signed 64-bit number."""
    return types.void(types.int64, types.int64), _store(_WORD)


@instruction
def put_word(typing: Any, address: Any, value: Any) -> Any:
    """Write an unsigned 64-bit number."""
    return types.void(types.int64, types.uint64), _store(_WORD)


@instruction
def put_double(typing: Any, address: Any, value: Any) -> Any:
    """Write a float."""
    return types.void(types.int64, types.float64), _store(_DOUBLE)


@instruction
def double_of(typing: Any, bits: Any) -> Any:
    """The float of these bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _DOUBLE)

    return types.float64(types.uint64), generate


@instruction
def high_product(typing: Any, one: Any, other: Any) -> Any:
    """The upper 64 bits of the product of two unsigned numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        both = ir.IntType(128)
        product = builder.mul(*(builder.zext(arg, both) for arg in args))
        return builder.trunc(builder.lshr(product, both(64)), _WORD)

    return types.uint64(types.uint64, types.uint64), generate


@instruction
def leading_zeros(typing: Any, number: Any) -> Any:
    """Bits above the highest that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.IntType(1)(0))

    return types.int64(types.int64), generate


@instruction
def copy_bytes(typing: Any, to: Any, source: Any, count: Any) -> Any:
    """From one place in memory to another; they must not overlap."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, source = (builder.inttoptr(one, _BYTE.as_pointer()) for one in args[:2])
        copy(builder, to, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@instruction
def call_with(typing: Any, function: Any, first: Any) -> Any:
    """Call a C function `void f(void *)` at this address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_WORD])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@instruction
def ask_with(typing: Any, function: Any, first: Any, second: Any) -> Any:
    """Call a C function `int64_t f(void *, void *)` at this address; a shorter result has to be cut."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_WORD, [_WORD, _WORD])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], args[2]])

    return types.int64(types.int64, types.int64, types.int64), generate
