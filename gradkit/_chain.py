"""Chains: transforms one after the other, and the empty one."""

from collections.abc import Iterable
from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._member import Chain
from gradkit._schedule import Schedule
from gradkit._transform import Transform, transform


@transform
def chain(*transforms: Any) -> Chain:
    """Apply transforms one after the other.

    **Update rule** u ← T_n(… T_2(T_1(g)) …). Nested chains are flattened, so ``chain(a, chain(b,
    c)) == chain(chain(a, b), c)`` as functions and as states; ``chain()`` is the identity.

    **State** the states of its transforms by name; the second of two equal names gets ``_1``.

    Args:
      transforms: gradkit's or optax's.

    Raises:
      TypeError: an argument that is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip(1.0), gk.scale(-0.5))
      >>> updates, _ = tx.update({"w": jnp.array([4.0, 0.5])}, tx.init({"w": jnp.zeros(2)}))
      >>> assert updates["w"].tolist() == [-0.5, -0.25]

    **Differs from optax**: an empty chain is allowed, and the state is kept by name, not by
    position.
    """
    _check_transforms(transforms)
    return Chain((None, part) for part in transforms)


@transform
def named_chain(*transforms: tuple[str, Any]) -> Chain:
    """Apply transforms one after the other, each under a name you choose.

    **Update rule** as ``chain``.

    **State** the state of each transform under its name.

    Args:
      transforms: pairs ``(name, transform)``; names are unique.

    Raises:
      TypeError: an argument that is not such a pair.
      ValueError: a name used twice.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.named_chain(("velocity", gk.trace(0.9)), ("rate", gk.scale(-0.1)))
      >>> assert list(tx.init(jnp.zeros(2)).inner) == ["velocity"]
    """
    for i, pair in enumerate(transforms):
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            problem = f"transforms[{i}]={pair!r} is not a pair"
            check.refuse(problem, expected="(name, transform)", error=TypeError)
    names = [name for name, _ in transforms]
    for name in names:
        if names.count(name) > 1:
            problem = f"the name {name!r} is used {names.count(name)} times"
            check.refuse(problem, expected="unique names")
    _check_transforms([part for _, part in transforms])
    return Chain(transforms)


@transform
def identity() -> Chain:
    """Return the updates unchanged: the empty chain.

    **Update rule** u ← g.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> updates, state = gk.identity().update(jnp.ones(2), gk.identity().init(jnp.ones(2)))
      >>> assert (updates == 1).all() and state.inner == {}
    """
    return Chain()


def _check_transforms(parts: Iterable[Any]) -> None:
    for i, part in enumerate(parts):
        if not isinstance(part, Transform):
            fix = check.uncalled(part) or (
                "GradientTransformation(init, update) makes one of two functions, "
                "stateless(f) of one"
            )
            if isinstance(part, (list, tuple)):
                fix = "Unpack it: chain(*transforms)"
            elif part is None:
                fix = "The transform that changes nothing is identity()"
            elif isinstance(part, Schedule) or numerics.is_number(part):
                fix = "scale_by_learning_rate(rate) makes one of a rate"
            check.refuse(f"transforms[{i}]={part!r} is not a transform", fix=fix, error=TypeError)
