"""The pure pair, the root that runs it, and the chain.

A *link* is a pure pair ``Rule(init, update)``. A `Transform` is the call that made such a pair, or a chain of them. The transform on
which a user or a framework calls ``update`` is the *root*: it owns the clock, checks the trees, widens the dtypes, hands each link the
memory kept under its name and the extras it asks for, and narrows the result. Links see wide numbers and count nothing.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, Self, cast, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._call import Call, factory
from gradkit._link import (
    Link,
    Links,
    Rule,
    State,
    evaluation,
    init_links,
    nothing,
    numbered,
    run_links,
    run_nested,
    signature_of,
    take_integers,
)
from gradkit._schedule import Schedule

P = ParamSpec("P")

# Training loops are written for any optimizer, so these may be passed to one that does not ask for them.
FIELD_EXTRAS = frozenset(
    {
        "value",
        "grad",
        "value_fn",
        "loss",
        "loss_fn",
        "obj_fn",
        "hessian",
        "hvp",
        "batch",
        "key",
        "rng",
    }
)

# In the names a link takes: whatever comes (optax's ``**extra_args``).
_ANYTHING = "*"


class Transform(Call):
    """A composable gradient transform: the call that made it, and a pure ``init``/``update`` pair.

    It is a pytree whose leaves are its float and array arguments, so it passes through ``jit``, ``vmap`` and ``grad`` as an
    argument. It works wherever an optax ``GradientTransformation`` does.
    """

    __slots__ = ("_links",)

    _links: Any

    # ---- what a user calls -------------------------------------------------------------------------------------------

    def init(self, params: Any) -> State:
        """The state before the first step; ``params`` may be arrays or ``ShapeDtypeStruct``."""
        with check.inside(self.factory.__name__):
            if not take_integers(self.links):
                check.inexact(params, "parameters")
        return State(jnp.zeros((), jnp.int32), init_links(self.links, tree.widen(params), params))

    def update(
        self, updates: Any, state: State, params: Any = None, **extras: Any
    ) -> tuple[Any, State]:
        """Transform gradients into updates to add to the parameters.

        Args:
          updates: gradients, a tree like ``params``.
          state: from ``init`` or from the previous ``update``.
          params: the parameters, for links that need them.
          extras: what links ask for by name (``value``, ``grad``, ``value_fn``, ``key``, ...).

        Returns:
          updates, in the wider of the gradient's and the parameter's dtype, and the next state.
        """
        links, wide, within, extras = self._enter(updates, state, params, extras)
        wide, memory = run_links(links, wide, state.inner, within, extras)

        def narrow(w: Any, u: Any, p: Any) -> Any:
            return numerics.cast(
                w, numerics.wider(jax.dtypes.result_type(u), jax.dtypes.result_type(p))
            )

        updates = jax.tree.map(narrow, wide, updates, updates if params is None else params)
        return updates, State(numerics.increment(state.step), memory)

    def apply(self, params: Any, state: State, grads: Any, **extras: Any) -> tuple[Any, State]:
        """One step: ``(params, state)`` after ``grads``.

        Wide to the end: the sum is rounded once, to the dtype of the parameter. Arguments stand in the order of the results, so a
        jitted ``apply`` that donates its first two arguments updates both in place.
        """
        links, updates, within, extras = self._enter(grads, state, params, extras)
        *before, last = links or (None,)
        if last is None or last.rule.apply is None:
            updates, memory = run_links(links, updates, state.inner, within, extras)
            params = apply_updates(params, updates)
        else:
            updates, memory = run_links(before, updates, state.inner, within, extras)
            params, memory[last.name] = last.apply(updates, state.inner[last.name], within, extras)
        return params, State(numerics.increment(state.step), memory)

    def expand(self) -> "Transform":
        """What this transform stands for: a recipe's chain, a chain with its parts expanded, and a part that stands for itself, itself."""
        body = self.body
        if isinstance(body, Links):
            expanded = [
                part.expand() if isinstance(part, Transform) else part for part in self.leaves
            ]
            return type(self)._filled(self.factory, self.spec, tuple(expanded))
        return body if isinstance(body, Transform) else self

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        # optax unpacks a transform as the pair it is.
        return iter((self.init, self.update))

    # ---- the root ----------------------------------------------------------------------------------------------------

    def _enter(
        self, updates: Any, state: State, params: Any, extras: dict[str, Any]
    ) -> tuple[tuple[Link, ...], Any, Any, dict[str, Any]]:
        """Check what came in; the links, the wide updates and params, and the extras with those that the root adds."""
        links = self.links
        with check.inside(self.factory.__name__):
            if isinstance(updates, State):
                check.fail(
                    "needs the gradients",
                    "a State",
                    "The order is update(updates, state, params), and apply(params, state, grads)",
                    error=TypeError,
                )
            if not take_integers(links):
                check.inexact(updates, "updates")
            like = _one_example(updates) if links and links[0].rule.examples else updates
            if params is not None:
                check.match(like, params)
            _check_state(state, links, like)
            _check_extras(extras, asked_by(self))
        # Masks judge leaves as the user has them, in their own dtypes.
        extras = {**extras, "step": state.step, "leaves": like if params is None else params}
        return links, tree.widen(updates), None if params is None else tree.widen(params), extras

    # ---- its links ---------------------------------------------------------------------------------------------------

    @property
    def links(self) -> tuple[Link, ...]:
        """The flat chain this transform stands for, each link under its unique name."""
        if self._links is None:
            links, _ = _splice(self)
            names = numbered([(link.name, link.given) for link in links])
            unique = tuple(
                link._replace(name=name) for link, name in zip(links, names, strict=True)
            )
            if self._body is None:  # unflattened by JAX: see Call.body
                return unique
            self._links = unique
        return self._links

    @property
    def rule(self) -> Rule:
        """This transform as a part inside another: no clock, no checks, no casts; the memory of a lone link stands bare."""
        links, is_chain = self.links, _splice(self)[1]
        if is_chain:
            return Rule(
                nothing
                if all(link.rule.init is nothing for link in links)
                else lambda params, *, leaves=None: init_links(links, params, leaves) or (),
                lambda updates, memory, params, **extras: run_nested(
                    links, updates, memory, params, extras
                ),
                evaluate=evaluation(links),
                takes_integers=take_integers(links),
            )
        (link,) = links
        init = nothing if link.rule.init is nothing else link.init
        update = lambda updates, memory, params, **extras: link.update(
            updates, memory, params, extras
        )
        return Rule(
            init, update, evaluate=link.rule.evaluate, takes_integers=link.rule.takes_integers
        )

    def children(self) -> dict[str, Call]:
        """A chain's parts by their link names, other parts by the argument that holds them."""
        body = self.body
        if not isinstance(body, Links):
            return super().children()
        return dict(
            zip(
                numbered(
                    [(name or part.factory.__name__, name is not None) for name, part in body]
                ),
                [part for _, part in body],
                strict=True,
            )
        )

    @classmethod
    def bind(cls, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        args, kwargs = jax.tree.map(_as_transform, (args, kwargs), is_leaf=_is_pair)
        return super().bind(factory, args, kwargs)

    def _run(self, arguments: dict[str, Any]) -> Any:
        made = super()._run(arguments)
        if not isinstance(made, (Rule, Links, Transform)):
            if _is_pair(made):
                return _as_transform(made)
            with check.inside(self.factory.__name__):
                check.fail(
                    "needs a factory that returns a Rule or a transform",
                    repr(made),
                    "Such as Rule(init, update) or chain(...)",
                    error=TypeError,
                )
        return made

    @classmethod
    def _filled(cls, factory: Any, spec: Any, leaves: tuple[Any, ...]) -> Self:
        self = super()._filled(factory, spec, leaves)
        self._links = None
        return self


@overload
def transform(function: Callable[P, Any], /) -> Callable[P, Transform]: ...
@overload
def transform(*, keep: Iterable[str]) -> Callable[[Callable[P, Any]], Callable[P, Transform]]: ...
def transform(function: Any = None, /, *, keep: Iterable[str] = ()) -> Any:
    """Turn a function that returns a `Rule` (or another transform) into a factory of transforms.

    The function's float and array arguments become the data of the transform, everything else its structure. An argument given as
    a schedule reaches the function as its value at the current step, so every hyperparameter of a `Rule` can move. The function also
    runs once when the factory is called: that is where it judges its arguments.

    Args:
      function: the factory's body.
      keep: names of arguments whose schedules reach the body as they are, for a wrapper that has a clock of its own.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.transform
      ... def scale_up(factor: float):
      ...     return gk.stateless(lambda updates, params: [factor * u for u in updates])
      >>> tx = scale_up(2.0)
      >>> tx, tx.factor, tx.replace(factor=3.0)
      (scale_up(2.0), 2.0, scale_up(3.0))
      >>> updates, state = tx.update([jnp.float32(1.0)], tx.init([jnp.float32(0.0)]))
      >>> assert updates == [2.0] and state.inner == {}
    """
    if function is None:
        return lambda function: transform(function, keep=keep)  # type: ignore[call-overload]
    made = factory(function, Transform)
    made.keep = frozenset(keep)
    return made


def stateless(f: Callable[..., Any]) -> Rule:
    """A link without memory from ``f(updates, params) -> updates``.

    Keyword-only parameters of ``f`` are asked for by name (``step``, ``value``, ``key``, ...).

    Args:
      f: a pure function of trees; ``params`` is None when the caller passed none.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> flip = gk.chain(gk.stateless(lambda updates, params: jax.tree.map(jnp.negative, updates)))
      >>> updates, state = flip.update({"w": jnp.ones(2)}, flip.init({"w": jnp.ones(2)}))
      >>> assert (updates["w"] == -1).all() and state.inner == {}
    """

    def run(updates: Any, memory: Any, params: Any = None, **asked: Any) -> Any:
        return f(updates, params, **asked), memory

    # What f asks for is what the link asks for.
    run.__signature__ = inspect.Signature(signature_of(f))  # type: ignore[attr-defined]
    return Rule(nothing, run)


@transform
def GradientTransformation(init: Callable[..., Any], update: Callable[..., Any]) -> Rule:
    """The plain door: a transform from a pair of closures in optax's style.

    **Rule** ``init(params) -> state``, ``update(updates, state, params=None) -> (updates, state)``; the link is named after the function in
    which ``update`` was defined.

    Args:
      init: makes the state.
      update: transforms the updates; its keyword-only parameters are asked for by name, and ``**extra_args`` takes every extra.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def halve():
      ...     def update_fn(updates, state, params=None):
      ...         return jax.tree.map(lambda u: u / 2, updates), state + 1
      ...     return gk.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update_fn)
      >>> tx = gk.chain(halve(), gk.scale(-1.0))
      >>> updates, state = tx.update(jnp.ones(()), tx.init(jnp.ones(())))
      >>> assert updates == -0.5 and state.inner == {"halve": 1}
    """
    parameters = signature_of(update)
    asks_step = any(
        p.name == "step" and p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters
    )

    def run(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        if not asks_step:
            extras.pop("step", None)
        extras.pop("leaves", None)
        return update(updates, memory, params, **extras)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    around = getattr(update, "__qualname__", "").split(".<locals>.")
    return Rule(init, run, around[max(len(around) - 2, 0)].split(".")[0] or None)


@transform
def chain(*transforms: Any) -> Links:
    """Apply transforms one after the other.

    **Rule** u ← T_n(… T_2(T_1(g)) …). Chains within chains are spliced flat, so ``chain(a, chain(b, c)) == chain(chain(a, b), c)`` as
    functions and as states; ``chain()`` is the identity.

    **Remembers** what its links remember, under their names; the second of two equal names gets ``_1``.

    Args:
      transforms: gradkit's or optax's.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip(1.0), gk.scale(-0.5))
      >>> updates, _ = tx.update({"w": jnp.array([4.0, 0.5])}, tx.init({"w": jnp.zeros(2)}))
      >>> assert updates["w"].tolist() == [-0.5, -0.25]

    **Differs** from optax: an empty chain is allowed, and state is kept by name, not by position.
    """
    _check_parts(transforms)
    return Links((None, part) for part in transforms)


@transform
def named_chain(*transforms: tuple[str, Any]) -> Links:
    """A chain whose parts you name; each name keys its part's memory.

    **Rule** as ``chain``.

    Args:
      transforms: pairs ``(name, transform)``; names are unique.

    Raises:
      ValueError: two parts of one name.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.named_chain(("speed", gk.trace(0.9)), ("rate", gk.scale(-0.1)))
      >>> assert list(tx.init(jnp.zeros(2)).inner) == ["speed"]
    """
    for i, pair in enumerate(transforms):
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            check.fail(
                "needs pairs (name, transform)",
                repr(pair),
                path=f"transforms[{i}]",
                error=TypeError,
            )
    names = [name for name, _ in transforms]
    for name in names:
        if names.count(name) > 1:
            check.fail("needs unique names", f"{name!r} {names.count(name)} times")
    _check_parts([part for _, part in transforms])
    return Links(transforms)


@transform
def identity() -> Links:
    """The transform that changes nothing: the empty chain.

    **Rule** u ← g.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> updates, state = gk.identity().update(jnp.ones(2), gk.identity().init(jnp.ones(2)))
      >>> assert (updates == 1).all() and state.inner == {}
    """
    return Links()


def apply_updates(params: Any, updates: Any, *, rounding: str = "nearest", key: Any = None) -> Any:
    """``params + updates``, added wide and rounded once, to the dtype of the parameter.

    Under ``tx.apply`` and ``make_step`` the links ``stochastic_rounding`` and ``compensated`` do the same and more.

    Args:
      params: a tree of arrays of any floating dtype.
      updates: a tree like it; where it is None the parameter stays as it is.
      rounding: ``"nearest"``, or ``"stochastic"``: up or down at random, so that E[result] is the exact sum.
      key: a seed or a random key, for stochastic rounding.

    Raises:
      ValueError: another rounding.
      TypeError: stochastic rounding without a key.

    Example:
      >>> import jax.numpy as jnp, gradkit as gk
      >>> p = gk.apply_updates({"w": jnp.bfloat16(1.0)}, {"w": jnp.float32(0.0059)})
      >>> assert p["w"].dtype == jnp.bfloat16 and p["w"] == 1.0078125  # bf16(1 + 0.0059)
    """

    def sum_of(update: Any, param: Any) -> Any:
        if np.shape(update) != np.shape(param):
            with check.inside("apply_updates"):
                check.fail(
                    f"needs an update like its parameter {check.shape_dtype(param)}",
                    check.shape_dtype(update),
                    "Every update has the shape of its parameter",
                )
        dtype = numerics.wider(
            numerics.wide(jax.dtypes.result_type(param)), jax.dtypes.result_type(update)
        )
        return numerics.cast(param, dtype) + numerics.cast(update, dtype)

    def leaf(update: Any, param: Any) -> Any:
        return numerics.cast(sum_of(update, param), jax.dtypes.result_type(param))

    with check.inside("apply_updates"):
        check.one_of(("nearest", "stochastic"), rounding=rounding)
        random = numerics.as_key(key) if rounding == "stochastic" else None
    if random is not None:
        sums = jax.tree.map(
            lambda u, p: p if u is None else sum_of(u, p),
            updates,
            params,
            is_leaf=lambda x: x is None,
        )
        return tree.round_stochastically(sums, params, random)
    if all(update is not None for update in jax.tree.leaves(updates, is_leaf=lambda x: x is None)):
        return tree.map(leaf, updates, params)
    return jax.tree.map(
        lambda u, p: p if u is None else leaf(u, p), updates, params, is_leaf=lambda x: x is None
    )


# ---- splicing -------------------------------------------------------------------------------------------


def _splice(part: Transform) -> tuple[list[Link], bool]:
    """The links of a part, and whether it is a chain. A lone rule goes by the name of the outermost factory that stands for it."""
    body, name = part.body, part.factory.__name__
    if isinstance(body, Links):
        links: list[Link] = []
        for given, inner in body:
            links += _splice(inner)[0] if given is None else [_named(given, inner)]
        return links, True
    if isinstance(body, Rule):
        return [_at_step(part, Link.of(body.name or name, body))], False
    links, is_chain = _splice(body)
    return (links, True) if is_chain else ([links[0]._replace(name=name)], False)


def _named(name: str, part: Transform) -> Link:
    """A part as one link of a given name, which asks for what its links ask for."""
    links = part.links
    return Link.of(name, part.rule)._replace(
        given=True,
        needs=frozenset[str]().union(*(link.needs for link in links)),
        takes=frozenset[str]().union(*(link.takes for link in links)),
    )


def _at_step(part: Transform, link: Link) -> Link:
    """The link with its scheduled arguments evaluated at the step, and scalar arrays in the dtype of the updates."""
    arguments = part.arguments
    kept = part.factory.keep
    moving = {
        name: value
        for name, value in arguments.items()
        if name not in kept and (isinstance(value, Schedule) or _promotes(value))
    }
    if not moving:
        return link

    def at(step: Any, dtype: Any) -> Rule:
        current = {
            name: value(step) if isinstance(value, Schedule) else value
            for name, value in moving.items()
        }
        return cast(
            Rule,
            part._run(
                {
                    **arguments,
                    **{name: jnp.asarray(value, dtype) for name, value in current.items()},
                }
            ),
        )

    def init(params: Any, *, leaves: Any = None) -> Any:
        return link._replace(rule=at(jnp.zeros((), jnp.int32), numerics.scalar_dtype(params))).init(
            params, leaves
        )

    def now(field: str) -> Callable[..., Any]:
        def run(updates: Any, memory: Any, params: Any, *, step: Any, **asked: Any) -> Any:
            if link.takes_all or "step" in link.takes:
                asked["step"] = step
            return getattr(at(step, numerics.scalar_dtype(updates)), field)(
                updates, memory, params, **asked
            )

        return run

    rule = link.rule._replace(
        init=init if link.rule.init is not nothing else nothing,
        update=now("update"),
        apply=now("apply") if link.rule.apply else None,
    )
    return link._replace(rule=rule, needs=link.needs | {"step"}, takes=link.takes | {"step"})


def _promotes(value: Any) -> bool:
    """A scalar array that would promote what it multiplies. (A Python number, or one that came through jit, would not.)"""
    if (
        not isinstance(value, (np.ndarray, jax.Array))
        or value.ndim
        or not jnp.issubdtype(value.dtype, jnp.floating)
    ):
        return False
    return isinstance(value, np.ndarray) or not value.weak_type


def _one_example(updates: Any) -> Any:
    """What the updates look like without their leading axis of examples."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        if not jnp.ndim(leaf):
            check.fail(
                "needs a leading axis of examples",
                check.shape_dtype(leaf),
                "Take gradients with jax.vmap(jax.grad(...))",
                path=check.keystr(path),
            )
    return jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), updates)


# ---- what may stand in a chain, and what may be passed to it ---------------------------------------------------------


def _is_pair(value: Any) -> bool:
    """An optax transform, or anything else with ``init`` and ``update``; our own calls are not opened."""
    return isinstance(value, Call) or (
        callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))
    )


def _as_transform(value: Any) -> Any:
    return (
        GradientTransformation(value.init, value.update)
        if _is_pair(value) and not isinstance(value, Call)
        else value
    )


def _check_parts(parts: Iterable[Any]) -> None:
    for i, part in enumerate(parts):
        if not isinstance(part, Transform):
            mend = (
                check.uncalled(part)
                or "A pair of functions becomes a transform by GradientTransformation(init, update), one function by stateless(f)"
            )
            if isinstance(part, (list, tuple)):
                mend = "Unpack it: chain(*transforms)"
            elif part is None:
                mend = "The transform that changes nothing is identity()"
            elif isinstance(part, Schedule) or numerics.is_number(part):
                mend = "A rate becomes a transform by scale_by_learning_rate(rate)"
            check.fail(
                "needs transforms", repr(part), mend, path=f"transforms[{i}]", error=TypeError
            )


def asked_by(part: Call) -> frozenset[str]:
    """The names a transform and the transforms within it ask for."""
    own = (
        frozenset[str]().union(*(link.takes for link in part.links))
        if isinstance(part, Transform)
        else frozenset()
    )
    if part.factory is GradientTransformation and any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in signature_of(part.arguments["update"])
    ):
        own |= {_ANYTHING}
    children = part.body.children() if isinstance(part.body, Transform) else part.children()
    return own.union(*(asked_by(child) for child in children.values()))


def _check_extras(extras: dict[str, Any], asked: frozenset[str]) -> None:
    if _ANYTHING in asked:
        return
    known = (asked - {"step", "leaves"}) | FIELD_EXTRAS
    for name in sorted(extras.keys() - known):
        check.fail(
            "takes the extra arguments that its links ask for",
            repr(name),
            check.nearest(name, known),
            error=TypeError,
        )


def _check_state(state: Any, links: tuple[Link, ...], like: Any) -> None:
    if not isinstance(getattr(state, "inner", None), dict):
        check.fail(
            "needs the State that init returned",
            type(state).__name__,
            "Call state = tx.init(params)",
            error=TypeError,
        )
    for name in sorted(state.inner.keys() - {link.name for link in links}):
        check.fail(
            "needs a state of its own links",
            f"state of {name!r}",
            "Take the state from this transform's init, or pop what a removed link left",
        )
    for link in links:
        if link.name not in state.inner and _remembers(link, like):
            check.fail(
                f"needs state of {link.name!r}",
                f"a state of {sorted(state.inner)}",
                "Take the state from this transform's init",
            )


def _remembers(link: Link, like: Any) -> bool:
    """Whether a link whose memory is missing has any: its init says so."""
    if link.rule.init is nothing or not getattr(link.rule.init, "remembers", True):
        return False
    kept = jax.eval_shape(link.init, like)
    return not (type(kept) is tuple and not kept)
