"""Transforms as optax pairs: `as_optax`, and the types that ``isinstance`` and annotations use."""

from typing import Any, NamedTuple

from gradkit import _checks as check
from gradkit import _transform
from gradkit._entry import ANYTHING, extras_taken
from gradkit._transform import Transform
from gradkit.typing import OptState, Params, TransformInitFn, TransformUpdateFn, Updates


class _Init:
    """The ``init`` of a transform; two of equal transforms are equal."""

    def __init__(self, tx: Transform):
        self.tx = tx

    def __call__(self, params: Params) -> OptState:
        return self.tx.init(params)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.tx == other.tx

    def __hash__(self) -> int:
        return hash((type(self), self.tx))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.strip('_').lower()} of {self.tx!r}>"


class _Update(_Init):
    """The ``update`` of a transform, which takes any extra argument and passes on those in use."""

    def __call__(  # type: ignore[override]
        self, updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        taken = extras_taken(self.tx)
        if ANYTHING not in taken:
            extra_args = {name: value for name, value in extra_args.items() if name in taken}
        return self.tx.update(updates, state, params, **extra_args)


def as_optax(tx: Any) -> Any:
    """Convert a transform to a true ``optax.GradientTransformationExtraArgs``.

    A gradkit transform works where optax's is unpacked or called, so most code needs no conversion.
    Convert it where ``isinstance`` decides: numpyro's ``SVI``, gpjax's ``fit``, and every wrapper
    of optax that hands extra arguments (``value=``, ``grad=``, ``value_fn=``, ...) only to
    transforms of its own type (``optax.chain``, ``MultiSteps``, ``masked``,
    ``inject_hyperparams``). Convert a population (arguments of rank 1 or more) for
    ``nnx.Optimizer``, which refuses arrays in the attribute that holds the transform.

    Args:
      tx: a gradkit transform; a pair of optax's is given the same type.

    Returns:
      the pair ``(init, update)``. ``update`` passes each extra argument to the transforms that take
      it and ignores the others, as optax's contract demands. Pairs made from equal transforms are
      equal and share their compilations. The state is gradkit's own.

    Raises:
      ImportError: optax is not installed.
      TypeError: ``tx`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp, optax
      >>> tx = optax.chain(optax.clip(1.0), gk.as_optax(gk.polyak_sgd(max_learning_rate=1.0)))
      >>> updates, _ = tx.update(jnp.array(0.5), tx.init(jnp.zeros(())), value=jnp.array(0.1))
      >>> assert jnp.allclose(updates, -0.4 * 0.5)  # the step is value / |g|², which needs value=
    """
    try:
        import optax  # noqa: PLC0415  needed for this conversion only
    except ImportError:
        raise check.ours(
            ImportError("as_optax: optax is not installed. Run pip install optax.")
        ) from None
    with check.inside("as_optax"):
        if isinstance(tx, Transform):
            return optax.GradientTransformationExtraArgs(_Init(tx), _Update(tx))
        if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
            fix = check.uncalled(tx) or "Pass one such as adam(1e-3)"
            check.refuse(
                f"tx={check.shown(tx)} is not a transform",
                expected="a gradkit transform",
                fix=fix,
                error=TypeError,
            )
    return optax.with_extra_args_support(optax.GradientTransformation(tx.init, tx.update))


# ---- types --------------------------------------------------------------------------------------


class _Pair(type):
    """Both a type for ``isinstance`` and annotations, and the function that makes a transform."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Transform:
        return _transform.GradientTransformation(*args, **kwargs)

    def __instancecheck__(cls, value: Any) -> bool:
        if isinstance(value, Transform):
            return True
        names = {kind.__name__ for kind in type(value).__mro__}
        return cls.__name__ in names and getattr(value, "_fields", None) == ("init", "update")


class GradientTransformation(metaclass=_Pair):
    """A transform made from a pair of functions in optax's style, and the type of any transform.

    **Update rule** ``init(params) -> state``, ``update(updates, state, params=None) -> (updates,
    state)``; in a chain the transform is named after the function in which ``update`` was defined.

    **State** what ``init`` returns.

    ``isinstance(tx, GradientTransformation)`` is true for every gradkit transform and for optax's
    pairs; ``GradientTransformation | None`` is an annotation.

    Args:
      init: makes the state.
      update: transforms the updates. Its keyword-only parameters receive extra arguments by name,
        and ``**extra_args`` receives all of them.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def halve():
      ...     def update_fn(updates, state, params=None):
      ...         return jax.tree.map(lambda u: u / 2, updates), state + 1
      ...     return gk.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update_fn)
      >>> tx = gk.chain(halve(), gk.scale(-1.0))
      >>> updates, state = tx.update(jnp.ones(()), tx.init(jnp.ones(())))
      >>> assert updates == -0.5 and list(state[1]) == ["halve"]
      >>> assert isinstance(tx, gk.GradientTransformation)
    """

    init: TransformInitFn
    update: TransformUpdateFn


class GradientTransformationExtraArgs(GradientTransformation):
    """A transform whose ``update`` takes extra arguments: every gradkit transform is one.

    **Update rule** as ``GradientTransformation``, which it is another name of when called.

    **State** what ``init`` returns.

    Example:
      >>> import gradkit as gk
      >>> assert isinstance(gk.adam(1e-3), gk.GradientTransformationExtraArgs)
    """


class EmptyState(NamedTuple):
    """The state of a pair in optax's style that keeps none.

    A gradkit rule without state returns ``()``, and nothing is stored for it.

    Example:
      >>> import gradkit as gk
      >>> def update(updates, state, params=None):
      ...     return updates, state
      >>> tx = gk.GradientTransformation(lambda params: gk.EmptyState(), update)
      >>> assert tx.update(1.0, tx.init(1.0))[0] == 1.0
    """


class MaskedNode(NamedTuple):
    """A node without leaves, which optax's ``masked`` puts in place of a leaf.

    gradkit's ``masked`` and ``partition`` put ``None`` there, which JAX reads in the same way. The
    name is here for trees that come from optax and for functions written for them.

    Example:
      >>> import gradkit as gk, jax
      >>> assert jax.tree.leaves({"w": 1.0, "b": gk.MaskedNode()}) == [1.0]
    """


def init_empty_state(params: Params) -> EmptyState:
    """Return `EmptyState`: the ``init`` of a pair in optax's style that keeps no state.

    Args:
      params: not used.

    Returns:
      ``EmptyState()``.

    Example:
      >>> import gradkit as gk
      >>> assert gk.init_empty_state({"w": 1.0}) == gk.EmptyState()
    """
    return EmptyState()
