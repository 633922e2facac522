"""What this machine does in a second, for the predicted time of a step.

Four programs: ``m = 0.9 m + g`` in place for matrices that no cache holds (bytes), a product of
matrices (flops), and a small optimizer step on one leaf and on many (the call, and each buffer
given or returned). Two reads and one write in place are what optimizers do; a copy to another
buffer is slower for its bytes, because the processor reads a line before it writes it.
"""

import functools
import math
import re
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MATRICES, WIDTH = 4, 2048  # twice 64 MiB
SIDE = 1024
FEWEST, MOST = 64, 1024  # leaves of the small step
_ELEMENTS = 64
_BUFFERS = 5  # of a leaf: parameter and moment in and out, gradient in
# Instructions of the compiled program that compute nothing.
_FREE = "parameter|constant|tuple|get-tuple-element|bitcast"
_TURNS = 5
# Seconds of a turn, where only the rates are measured and where a step is measured too.
_SHORT, _LONG = 0.02, 0.1


class Rates(NamedTuple):
    """What a device does in a second, and what a call costs.

    Attributes:
      copy: bytes read and written in a second by ``m = 0.9 m + g`` in place.
      matmul: floating-point operations in a second, of a float32 product of 1024 × 1024 matrices.
      launch: seconds for each array given to or returned from a compiled function, and for each
        of its kernels.
      call: seconds for the call of a compiled function.
    """

    copy: float
    matmul: float
    launch: float
    call: float

    def seconds(self, traffic: float, flops: float, launches: int) -> dict[str, float]:
        """The predicted seconds of a step, by what takes them."""
        return {
            "traffic": traffic / self.copy,
            "arithmetic": flops / self.matmul,
            "calls": self.call + launches * self.launch,
        }


def kernels(text: str) -> int:
    """The number of kernels of a compiled program, from its text; a loop is one."""
    entry = text[max(text.find("\nENTRY"), 0) :].partition("\n}")[0]
    return len(re.findall(rf"^  .* = .*? (?!{_FREE})[a-z][a-z-]*\(", entry, re.MULTILINE))


def leaves_for(launches: int) -> int:
    """How many leaves the small step has; a launch costs more where there are thousands."""
    as_many = 1 << round(math.log2(max(launches / (_BUFFERS + 2), 1.0)))
    return min(max(as_many, FEWEST), MOST)


@functools.cache
def rates_of(device: jax.Device, leaves: int) -> Rates:
    """The rates of a device, measured once in a process."""
    return in_turns(device, leaves)[0]


def in_turns(
    device: jax.Device, leaves: int, run: Callable[[int], None] | None = None
) -> tuple[Rates, float | None]:
    """Measure the rates and the seconds of a call of ``run`` in turns; the medians."""
    programs = _programs(device, leaves)
    launches = [program.launches for program in programs[2:]]
    runs = [program.run for program in programs] + ([] if run is None else [run])
    repeats = [_repeats(program, _SHORT if run is None else _LONG) for program in runs]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(_TURNS):
        for program, count, found in zip(runs, repeats, times, strict=True):
            found.append(_seconds(program, count))
    medians = list(map(statistics.median, times))
    return _rates(launches, *medians[:4]), medians[4] if run is not None else None


class _Program(NamedTuple):
    """A function that runs n times and waits, and the launches of one time."""

    run: Callable[[int], None]
    launches: int


def _rates(launches: list[int], copy: float, matmul: float, one: float, many: float) -> Rates:
    few, all_ = launches
    launch = max(many - one, 0.0) / (all_ - few)
    call = max(one - few * launch, 0.0)
    traffic = 12 * MATRICES * WIDTH**2
    return Rates(traffic / copy, 2 * SIDE**3 / matmul, launch, call)


def _programs(device: jax.Device, leaves: int) -> list[_Program]:
    def compiled(function: Callable[..., Any], carried: Any, fixed: Any) -> _Program:
        """``function(carry, constant) -> carry``, compiled for lists of these shapes."""
        with jax.default_device(device):
            carry, constant = (
                [jnp.full(shape, 1e-3, jnp.float32) for shape in shapes]
                for shapes in (carried, fixed)
            )
            program = jax.jit(function, donate_argnums=0).lower(carry, constant).compile()
        now = [carry]

        def run(count: int) -> None:
            for _ in range(count):
                now[0] = program(now[0], constant)
            jax.block_until_ready(now)

        arrays = 2 * len(carried) + len(fixed)
        return _Program(run, arrays + kernels(program.as_text() or ""))

    def average(moments: Any, grads: Any) -> Any:
        return [0.9 * m + g for m, g in zip(moments, grads, strict=True)]

    def step(carry: Any, grads: Any) -> Any:
        half = len(grads)
        moments = average(carry[half:], grads)
        return [p - 0.1 * m for p, m in zip(carry[:half], moments, strict=True)] + moments

    def tiny(leaves: int) -> _Program:
        return compiled(step, [(_ELEMENTS,)] * 2 * leaves, [(_ELEMENTS,)] * leaves)

    return [
        compiled(average, [(WIDTH, WIDTH)] * MATRICES, [(WIDTH, WIDTH)] * MATRICES),
        compiled(lambda x, y: [jnp.matmul(x[0], y[0])], [(SIDE, SIDE)], [(SIDE, SIDE)]),
        tiny(1),
        tiny(leaves),
    ]


def _repeats(run: Callable[[int], None], turn: float) -> int:
    run(2)
    return max(1, round(turn / _seconds(run, 1)))


def _seconds(run: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    run(count)
    return (time.perf_counter() - start) / count
