"""A transform as data, and the outermost call that runs it.

The transform on which a user or a framework calls ``update`` counts the steps, checks the trees,
widens the dtypes, gives each member of its flat chain the state kept under its name and the extra
arguments it takes, and narrows the result. Nothing inside it counts.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, Self, cast

import jax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._arguments import CONVERTERS
from gradkit._call import Call, factory
from gradkit._entry import enter, is_saved, refuse_populations, remember_state
from gradkit._member import Chain, Member, init_members, run_members, signature_of
from gradkit._part import Part
from gradkit._rule import Context, Rule, State
from gradkit._splice import name_of, numbered, place_of, splice
from gradkit.typing import OptState, Params, Updates

P = ParamSpec("P")


class Transform(Call):
    """A composable gradient transform: the call that made it, and a pure ``init``/``update`` pair.

    It is a pytree whose leaves are its float and array arguments, so it passes through ``jit``,
    ``vmap`` and ``grad`` as an argument. It works wherever an optax ``GradientTransformation``
    does; where ``isinstance`` decides, pass ``as_optax(tx)``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sgd(0.5)
      >>> params, state = tx.apply(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1))
      >>> assert params[0] == 0.5 and state.step == 1 and tx.learning_rate == 0.5
    """

    kind = "transform"

    __slots__ = ("_expected", "_members")

    _members: tuple[Member, ...] | None
    _expected: dict[Any, Any]

    # ---- the user's calls -----------------------------------------------------------------------

    def init(self, params: Params) -> State:
        """The state before the first step.

        Args:
          params: a tree of floating arrays, or of ``ShapeDtypeStruct``. Leaves that are None or no
            arrays are left alone.

        Returns:
          the state: ``step`` = 0, and ``inner`` with the state of each transform under its name.

        Raises:
          TypeError: an integer leaf that no mask keeps away.
          ValueError: a mask or labels that do not fit the tree.
        """
        with check.inside(self.factory.__name__, self.arguments):
            check.tree_of_arrays(params, "params")
            leaves = tree.arrays_only(params)
            context = Context.start(leaves)
            try:
                state = State(context.step, init_members(self.members, tree.widen(leaves), context))
            except (TypeError, ValueError):
                refuse_populations(self)
                raise
            remember_state(self, leaves, state.inner)
        step, inner = tree.unshared(state, params)
        return State(step, {name: inner[name] for name in state.inner})

    def update(
        self, updates: Updates, state: OptState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, Any]:
        """Transform gradients into updates to add to the parameters.

        Args:
          updates: gradients, a tree like ``params``; None where a parameter has no gradient.
          state: from ``init`` or from the previous ``update``; also as the plain dict that a
            checkpoint without a target restores.
          params: the parameters, for transforms that need them.
          extras: extra arguments that transforms take by name (``value``, ``grad``, ``value_fn``,
            ``key``, ...).

        Returns:
          the updates, in the wider of the gradient's and the parameter's dtype, and the next state.

        Raises:
          ValueError: trees, shapes or states that do not belong together.
          TypeError: an unknown or missing extra argument, integer leaves, arguments in the wrong
            order.
        """
        with check.inside(self.factory.__name__, self.arguments):
            entry = enter(self, updates, state, params, extras)
            wide, inner = run_members(entry.members, *entry.arguments)

            def narrow(w: Any, u: Any, p: Any) -> Any:
                kinds = jax.dtypes.result_type(u), jax.dtypes.result_type(p)
                return numerics.cast(w, numerics.wider(*kinds))

            new = jax.tree.map(narrow, wide, entry.updates, entry.context.leaves)
        return new, entry.after(inner)

    def apply(
        self, params: Params, state: OptState, grads: Updates, **extras: Any
    ) -> tuple[Params, Any]:
        """One step: the parameters and the state after ``grads``.

        The sum is formed in wide arithmetic and rounded once, to the dtype of the parameter. The
        arguments are in the order of the results, so a jitted ``apply`` that donates its first two
        arguments updates both in place.

        Args:
          params: the parameters.
          state: from ``init``, ``update`` or ``apply``.
          grads: gradients, a tree like ``params``; None where a parameter has no gradient, which
            then stays as it is.
          extras: as for ``update``.

        Returns:
          the new parameters, in their own dtypes, and the next state.

        Raises:
          ValueError: as ``update``.
          TypeError: as ``update``.
        """
        with check.inside(self.factory.__name__, self.arguments):
            if isinstance(grads, State) or is_saved(grads):
                problem = "the third argument is a state"
                check.refuse(
                    problem, fix="The order is apply(params, state, grads)", error=TypeError
                )
            check.tree_of_arrays(params, "params")
            entry = enter(self, grads, state, params, extras)
            updates, inner, wide, context = entry.arguments
            *before, last = entry.members or (None,)
            if last is None or last.rule.apply is None:
                updates, inner = run_members(entry.members, updates, inner, wide, context)
                new = tree.add_rounded(context.leaves, updates)
            else:
                keeps, start = last.name in inner, inner.get(last.name, ())
                updates, inner = run_members(before, updates, inner, wide, context)
                new, after = last.apply(updates, start, wide, context)
                inner |= {last.name: after} if keeps else {}
            return tree.fill(new, params), entry.after(inner)

    def expand(self) -> "Transform":
        """The chain that a recipe stands for, or a chain with its transforms expanded."""
        body = self.body
        if isinstance(body, Chain):
            parts = [part.expand() if isinstance(part, Transform) else part for part in self.leaves]
            return type(self)._filled(self.factory, self.spec, tuple(parts))
        return body if isinstance(body, Transform) else self

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        # optax unpacks a transform into its two functions.
        return iter((self.init, self.update))

    def __getitem__(self, index: int) -> Callable[..., Any]:
        if isinstance(index, bool) or index not in (0, 1):
            with check.inside(self.factory.__name__):
                expected = "0 for init or 1 for update"
                check.refuse(
                    f"index {index!r} is out of range", expected=expected, error=IndexError
                )
        return (self.init, self.update)[index]

    # ---- the members of its chain ---------------------------------------------------------------

    @property
    def members(self) -> tuple[Member, ...]:
        """The flat chain this transform stands for, each rule under its unique name."""
        if self._members is None:
            found, _ = splice(self, "")
            names = numbered([(member.name, member.given) for member in found])
            unique = tuple(m.renamed(name) for m, name in zip(found, names, strict=True))
            if self._body is None:  # unflattened by JAX: see Call.body
                return unique
            self._members = unique
        return self._members

    @property
    def is_chain(self) -> bool:
        """Whether its state is a dict by name also inside another transform."""
        return splice(self, "")[1]

    @property
    def rule(self) -> Rule:
        """This transform as one rule: a chain whose state is kept under one name.

        Example:
          >>> import gradkit as gk, jax.numpy as jnp
          >>> @gk.transform
          ... def momentum_and_scale(decay: gk.Rate) -> gk.Rule:
          ...     return gk.chain(gk.trace(decay), gk.scale(0.5)).rule
          >>> assert list(momentum_and_scale(0.9).init(jnp.ones(1)).inner) == ["momentum_and_scale"]
        """
        part = Part("", self)
        stateless = all(member.rule.init in (None, _no_state) for member in self.members)
        init = None if stateless else part.init
        return Rule(init, part.update, parts=(part,), takes_integers=True, scope="element")

    def children(self) -> dict[str, Call]:
        """The transforms of a chain by name; those of others by the argument that holds them."""
        body = self._at_quantile(0.0).body if self.unfilled else self.body
        if not isinstance(body, Chain):
            return super().children()
        parts = list(super().children().values()) if self.unfilled else [p for _, p in body]
        names = [  # a distribution is a choice of transforms
            (given or ("choice" if part.kind == "distribution" else name_of(p)), given is not None)
            for (given, p), part in zip(body, parts, strict=True)
        ]
        return dict(zip(numbered(names), parts, strict=True))

    def part_names(self) -> dict[str, str]:
        """The names of the parts of a wrapper by the arguments that hold them."""
        if self.unfilled:
            return cast(Transform, self._at_quantile(0.0)).part_names()
        if isinstance(self.body, Chain):
            return {}
        found = {name: place_of(child, self) for name, child in super().children().items()}
        return {name: place for name, place in found.items() if place is not None}

    @classmethod
    def bind(cls, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        if factory is not _of_rule:  # which takes a rule as it is
            args, kwargs = jax.tree.map(as_transform, (args, kwargs), is_leaf=_is_pair)
        return super().bind(factory, args, kwargs)

    def _run(self, arguments: dict[str, Any], *, named: bool = True) -> Any:
        made = super()._run(arguments, named=named)
        if not isinstance(made, (Rule, Chain, Transform)) and not _is_pair(made):
            with check.inside(self.factory.__name__):
                fix = "Return Rule(init, update) or chain(...)"
                problem = f"the factory returned {made!r}"
                check.refuse(problem, expected="a Rule or a transform", fix=fix, error=TypeError)
        return made if isinstance(made, Rule) else as_transform(made)

    @classmethod
    def _filled(cls, factory: Any, spec: Any, leaves: tuple[Any, ...]) -> Self:
        self = super()._filled(factory, spec, leaves)
        self._members, self._expected = None, {}
        return self


def transform(function: Callable[P, Any], /) -> Callable[P, Transform]:
    """Turn a function that returns a `Rule` (or another transform) into a factory of transforms.

    The function's float and array arguments become the data of the transform, everything else its
    structure. Arguments annotated ``Rate`` may be numbers, scalar arrays, schedules, or plain
    functions of the step; a schedule reaches the function as its value at the current step. The
    function also runs once when the factory is called, which is where it checks its arguments.

    Args:
      function: the factory's body. Its parameters may not be named like a method of `Transform`.

    Returns:
      the factory.

    Raises:
      TypeError: a parameter that would shadow a method.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.transform
      ... def scale_up(factor: gk.Rate) -> gk.Rule:
      ...     return gk.stateless(lambda updates, params: [factor * u for u in updates])
      >>> tx = scale_up(2.0)
      >>> tx, tx.factor, tx.replace(factor=3.0)
      (scale_up(2.0), 2.0, scale_up(3.0))
      >>> updates, state = tx.update([jnp.float32(1.0)], tx.init([jnp.float32(0.0)]))
      >>> assert updates == [2.0] and state.inner == {}
    """
    return cast(Callable[P, Transform], factory(function, Transform))


# ---- what is a transform: a pair, a rule --------------------------------------------------------


@transform
def GradientTransformation(init: Callable[..., OptState], update: Callable[..., Any]) -> Rule:
    """Wrap an optax-style pair of functions as a transform.

    **Update rule** ``init(params) -> state``, ``update(updates, state, params=None) -> (updates,
    state)``. Its name in a chain is that of the function in which ``update`` was defined.

    Args:
      init: makes the state.
      update: transforms the updates; its keyword-only parameters receive extra arguments by name,
        and ``**extra_args`` receives all of them.

    Raises:
      TypeError: not two functions.

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
    check.arity(1, "params", init=init)
    check.arity(3, "(updates, state, params)", update=update)
    parameters = signature_of(update)

    def run(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        return update(updates, state, params, **extras)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return Rule(init, run, name=_enclosing(update), foreign=True)


@transform
def _of_rule(rule: Rule) -> Rule:
    """A rule that was made outside a factory, as in ``chain(stateless(f))``."""
    return rule if rule.name else rule._replace(name=_enclosing(rule.update) or "stateless")


def as_transform(value: Any) -> Any:
    """An optax transform as a transform of ours; anything else as it is."""
    if isinstance(value, Rule):
        return _of_rule(value)
    if _is_pair(value) and not isinstance(value, Call):
        return GradientTransformation(value.init, value.update)
    return value


def _is_pair(value: Any) -> bool:
    """An optax transform, or anything else with ``init`` and ``update``, or one of ours."""
    if isinstance(value, (Call, Rule)):
        return True
    return callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))


def _enclosing(function: Callable[..., Any]) -> str | None:
    """The name of the function in which another one was defined."""
    around = getattr(function, "__qualname__", "").split(".<locals>.")
    return around[max(len(around) - 2, 0)].split(".")[0] or None


def _as_part(name: str, value: Any) -> Any:
    check.part(**{name: value})
    return value


def stateless(
    f: Callable[..., Updates],
    *,
    scope: str = "tree",
    transposable: bool = False,
    sharded: bool = False,
) -> Rule:
    """A rule without state from ``f(updates, params) -> updates``.

    Args:
      f: a pure function of trees; ``params`` is None when the caller passed none. Keyword-only
        parameters receive extra arguments by name (``step``, ``value``, ``key``, ...).
      scope: as in `Rule`.
      transposable: as in `Rule`.
      sharded: as in `Rule`.

    Returns:
      the rule.

    Raises:
      TypeError: ``f`` is not a function.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> flip = gk.chain(gk.stateless(lambda updates, params: jax.tree.map(jnp.negative, updates)))
      >>> updates, state = flip.update({"w": jnp.ones(2)}, flip.init({"w": jnp.ones(2)}))
      >>> assert (updates["w"] == -1).all() and state.inner == {}
    """
    with check.inside("stateless"):
        check.arity(2, "(updates, params)", f=f)

    def run(updates: Any, state: Any, params: Any = None, **taken: Any) -> Any:
        return f(updates, params, **taken), state

    # The rule takes the extra arguments that f takes.
    run.__signature__ = inspect.Signature(signature_of(f))  # type: ignore[attr-defined]
    run.__module__ = getattr(f, "__module__", None) or ""  # whose it is: see unroll
    return Rule(_no_state, run, scope=scope, transposable=transposable, sharded=sharded)


def _no_state(params: Params) -> OptState:
    """The state of a rule that keeps none, as a function for those who call ``init``."""
    return ()


CONVERTERS[Transform] = _as_part
