"""A direction and a line search: how the second-order recipes are put together."""

import math
from typing import Any

from gradkit._chain import chain
from gradkit._transform import Transform
from gradkit.transforms.backtracking_linesearch import scale_by_backtracking_linesearch
from gradkit.transforms.scale import scale, scale_by_learning_rate
from gradkit.transforms.zoom_linesearch import scale_by_zoom_linesearch

# For directions of the right length: a unit step at first, halved until the loss falls enough.
BACKTRACKING = scale_by_backtracking_linesearch(
    max_backtracking_steps=40, decrease_factor=0.5, increase_factor=math.inf, store_grad=True
)
# For quasi-Newton methods, which need the slope to fall too, or sᵀ y may be negative.
ZOOM = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
# For conjugate gradients, which need a more exact search.
EXACT = scale_by_zoom_linesearch(
    max_linesearch_steps=20, curv_rtol=0.4, initial_guess_strategy="one"
)


def with_linesearch(
    direction: Transform, learning_rate: Any, linesearch: Transform | None
) -> Transform:
    """The chain of a direction, its sign or learning rate, and a line search."""
    factor = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    parts = (direction, factor) if linesearch is None else (direction, factor, linesearch)
    return chain(*parts)
