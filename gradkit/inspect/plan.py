"""What a training step takes before it runs: bytes, operations, time."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, Sharding

from gradkit import _checks as check
from gradkit._entry import check_extras, extras_taken
from gradkit._transform import Transform
from gradkit.inspect import _program, _rates
from gradkit.inspect._accounts import (
    as_shape,
    devices_of,
    place_state,
    rows_of,
    with_sharding,
)
from gradkit.inspect.planned import Plan
from gradkit.typing import Params, PyTree


def plan(
    tx: Transform,
    params: Params,
    loss_fn: Callable[..., Any] | None = None,
    batch: PyTree = None,
    mesh: Mesh | None = None,
    *,
    has_aux: bool = False,
    extras: dict[str, Any] | None = None,
    state_sharding: PyTree = None,
    measure: bool = False,
) -> Plan:
    """Plan a training step from shapes: bytes of memory, flops, traffic, donation, step time.

    With ``loss_fn`` the step of ``make_step`` is compiled: loss, gradient and update. Without it,
    ``tx.apply`` with gradients as an argument. Both donate parameters and state.

    The bytes are exact. XLA counts the flops and the traffic of the compiled step. The predicted
    time is ``traffic / copy rate + flops / matmul rate + call + launches · seconds of one``, where
    each array that enters or leaves the step is a launch, and each of its kernels. The rates are
    measured once in a process for each device, which takes about two seconds and 150 MB; with
    hundreds of leaves once for every power of two of them. Nothing else is allocated but the
    hyperparameters. Communication between devices is not in the prediction. The copy rate is that
    of memory: a step whose arrays fit into the caches is faster.

    Args:
      tx: the optimizer.
      params: the parameters, or their ``jax.ShapeDtypeStruct``, with a ``NamedSharding`` where they
        are sharded.
      loss_fn: ``loss_fn(params, *batch)``, or None for the update alone.
      batch: the arguments of ``loss_fn`` after the parameters: a tuple is spread over them,
        anything else is one. Arrays, or their ``ShapeDtypeStruct``.
      mesh: a mesh of devices. Leaves without a sharding are replicated. None takes the mesh of the
        shardings of ``params``, if any.
      has_aux: whether ``loss_fn`` returns ``(loss, aux)``.
      extras: extra arguments of the transforms by name: arrays, shapes, or functions. ``value`` and
        ``grad`` need not be given.
      state_sharding: shardings of the state, a tree like it or a prefix of that. None places a leaf
        of the state like its parameter where it has its shape, and replicates others.
      measure: whether to run the step too. This allocates everything the step needs. The rates are
        then measured anew, in turns with the step, so that what slows the machine slows both.

    Returns:
      a `Plan`: prints as a table, ``to_dict()`` is plain data, ``plot()`` a picture.

    Raises:
      TypeError: parameters without shapes, a batch without a loss, a loss that is not one real
        number, a mesh that is not one.
      ValueError: shardings on another mesh, labels or masks that do not fit the parameters.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> params = {"w": jax.ShapeDtypeStruct((64, 8), jnp.float32), "b": jnp.zeros(8)}
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0), gk.sgd(0.1, momentum=0.9))
      >>> found = gk.plan(tx, params)
      >>> [(row.path, row.group, row.bytes) for row in found.rows if row.what == "state"]
      [('step', '', 4), ('sgd.trace', 'b', 32), ('sgd.trace', 'w', 2048)]
      >>> assert found.state_bytes == 2084 and not found.not_donated
    """
    with check.inside("plan"):
        check.part(tx=tx)
        check.boolean(has_aux=has_aux, measure=measure)
        given = {} if extras is None else extras
        if not isinstance(given, dict):
            check.refuse(f"extras={check.shown(extras)} is not a dict", error=TypeError)
        check_extras(given, extras_taken(tx))
        check.tree_of_arrays(params, "params")
        mesh = _mesh_of(params, mesh)
        shapes = _shapes("params", params, mesh)
        arguments = _spread(loss_fn, batch)
        state = place_state(shapes, jax.eval_shape(tx.init, shapes), mesh)
        if state_sharding is not None:
            state = _placed(state, state_sharding)
        batch_shapes = _shapes("batch", arguments, mesh)
        given_shapes = {
            name: value if callable(value) else _shapes(name, value, mesh)
            for name, value in given.items()
        }
        if loss_fn is None:
            program = _program.update(tx, shapes, state, given_shapes)
        else:
            program = _program.step(tx, shapes, state, loss_fn, has_aux, batch_shapes, given_shapes)
        found = program.compile()
    device = _default_device() if mesh is None else mesh.devices.flat[0]
    leaves = _rates.leaves_for(found.launches)
    if measure:
        run = program.runner(tx, found.compiled, (params, arguments, given))
        rates, measured = _rates.in_turns(device, leaves, run)
    else:
        rates, measured = _rates.rates_of(device, leaves), None
    parts = rates.seconds(found.traffic, found.flops, found.launches)
    rows = tuple(rows_of(tx, shapes, state))
    total = {what: sum(row.bytes for row in rows if row.what == what) for what in _WHAT}
    return Plan(
        transform=repr(tx),
        platform=device.platform,
        count=sum(leaf.size for leaf in jax.tree.leaves(shapes)),
        param_bytes=total["parameters"],
        grad_bytes=total["gradients"],
        state_bytes=total["state"],
        temp_bytes=found.temp_bytes,
        peak_bytes=found.peak_bytes,
        flops=found.flops,
        traffic_bytes=found.traffic,
        loops=found.loops,
        predicted_seconds=sum(parts.values()),
        measured_seconds=measured,
        parts=parts,
        rates=rates._asdict(),
        rows=rows,
        not_donated=found.not_donated,
        devices=() if mesh is None else devices_of(shapes, state),
    )


_WHAT = ("parameters", "gradients", "state")


def _mesh_of(params: Any, mesh: Any) -> Mesh | None:
    """The mesh that is given, or that of the parameters."""
    if mesh is not None and not isinstance(mesh, Mesh):
        problem = f"mesh={check.shown(mesh)} is not a mesh"
        fix = "Make one with jax.make_mesh"
        check.refuse(problem, expected="a jax.sharding.Mesh of devices", fix=fix, error=TypeError)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(sharding, NamedSharding):
            continue
        if mesh is None and isinstance(sharding.mesh, Mesh):
            mesh = sharding.mesh
        elif sharding.mesh != mesh:
            problem = f"this leaf of params is on {sharding.mesh}"
            check.refuse(problem, expected=f"the mesh {mesh}", path=check.keystr(path))
    return mesh


def _shapes(name: str, tree: Any, mesh: Mesh | None) -> Any:
    """The shapes, dtypes and shardings of a tree."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if check.dtype_of(leaf) is None:
            problem = f"this leaf of {name} is {check.kind_of(leaf)}"
            fix = "Filter the tree to its arrays first"
            expected = "an array or a jax.ShapeDtypeStruct"
            where = check.keystr(path)
            check.refuse(problem, expected=expected, fix=fix, path=where, error=TypeError)
    return jax.tree.map(lambda leaf: as_shape(leaf, mesh), tree)


def _spread(loss_fn: Any, batch: Any) -> tuple[Any, ...]:
    """The arguments of the loss after the parameters."""
    if loss_fn is None:
        if batch is not None:
            problem = f"batch={check.shown(batch)} is given without loss_fn"
            fix = "Pass the loss: plan(tx, params, loss_fn, batch)"
            check.refuse(problem, fix=fix, error=TypeError)
        return ()
    check.function(loss_fn=loss_fn)
    return () if batch is None else batch if isinstance(batch, tuple) else (batch,)


def _placed(state: Any, shardings: Any) -> Any:
    """The state with shardings, a tree like it or a prefix of that."""
    is_leaf = lambda x: isinstance(x, Sharding)
    try:
        whole = jax.tree.broadcast(shardings, state, is_leaf=is_leaf)
        fits = all(map(is_leaf, jax.tree.leaves(whole, is_leaf=is_leaf)))
    except ValueError:
        fits = False
    if not fits:
        problem = f"state_sharding={check.shown(shardings)} does not fit the state"
        expected = "a tree of shardings like tx.init(params), or a prefix of it"
        check.refuse(problem, expected=expected)
    return jax.tree.map(with_sharding, state, whole)


def _default_device() -> jax.Device:
    config: Any = jax.config
    chosen = config.jax_default_device
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices()[0]
