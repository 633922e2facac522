"""Predicates of leaves."""

import gradkit as gk
from tests.records.case import (
    Case,
    is_vector,
)

MASKS = [
    Case(
        "by_path",
        lambda: gk.by_path("layers.*.kernel"),
        bad=((lambda: gk.by_path("bias", rgx=True), "Did you mean 'regex'"),),
    ),
    Case(
        "by_rank",
        lambda: gk.by_rank(1, 2),
        bad=((lambda: gk.by_rank(-1), "at_least=-1 is out of range"),),
    ),
    Case(
        "by_size",
        lambda: gk.masks.by_size(2, 6),
        bad=((lambda: gk.masks.by_size(0.5), "at_least=0.5 is not an integer"),),
    ),
    Case(
        "by_dtype",
        lambda: gk.masks.by_dtype("float32"),
        bad=((lambda: gk.masks.by_dtype(), "missing a required argument: 'dtype'"),),
    ),
    Case(
        "by_function",
        lambda: gk.masks.by_function(is_vector),
        bad=((lambda: gk.masks.by_function(), "missing a required argument: 'function'"),),
        reads_back=False,
    ),
]
