"""The Adam family: an average of the gradient over the root of an average of its square.

    Δθ_t = −α_t · m̂_t / (√(v̂_t + ε_root) + ε)        m = ema(g, b1)        v = ema(|g|², b2)

| | moment | metric |
|---|---|---|
| adam, adamw | ema | ema of g² |
| nadam, nadamw | ema, one step ahead | ema of g² |
| amsgrad | ema | peak of the ema of g² |
| adamax, adamaxw | ema | fading peak of abs g |
"""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.averages import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_adam(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *, nesterov: bool = False) -> Transform:
    """Adam's direction, without the rate.

    **Rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2), both debiased.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(ema(b1, accumulator_dtype=mu_dtype, nesterov=nesterov), ema(b2), eps, eps_root)


@transform
def adam(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *, nesterov: bool = False) -> Transform:
    """Adam."""
    return chain(scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate))
