"""Mini-batches as indices that are a pure function of the step."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.data._permutation import permuted
from gradkit.data._sharding import rows_of
from gradkit.typing import Key, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Epochs:
    """Compute the indices of any mini-batch from its step, without state; made by ``epochs``.

    A pytree: the key and the number of the worker are leaves, so that it is an argument of compiled
    functions, and ``vmap`` maps over keys. Two are equal when their arguments are.

    Args:
      n: how many samples there are.
      batch_size: how many samples a batch has, over all workers.
      key: a random key; None without shuffling.
      num_epochs: how many epochs there are; None for any number.
      drop_remainder: whether an epoch ends with its last full batch.
      worker: the number of this worker.
      workers: how many workers there are.
    """

    n: int = dataclasses.field(metadata={"static": True})
    batch_size: int = dataclasses.field(metadata={"static": True})
    key: jax.Array | None
    num_epochs: int | None = dataclasses.field(metadata={"static": True})
    drop_remainder: bool = dataclasses.field(metadata={"static": True})
    worker: int | jax.Array
    workers: int = dataclasses.field(metadata={"static": True})

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.n // self.batch_size if self.drop_remainder else -(-self.n // self.batch_size)

    def epoch(self, step: int | jax.Array) -> Any:
        """Return the number of the epoch that a step is in, from 0 on."""
        return step // self.steps_per_epoch

    def __call__(self, step: int | jax.Array | np.ndarray) -> jax.Array:
        """Return the indices of the batch of a step.

        Args:
          step: the number of the batch, from 0 on; an array of steps for several batches at once.
            Steps in arrays of JAX are not read, and not judged: after the last epoch further ones
            follow.

        Returns:
          int32 indices (..., batch_size / workers).

        Raises:
          ValueError: a negative step, or one after the last epoch.
          TypeError: a step that is no integer.
        """
        with check.inside("epochs"):
            return _indices(self._endless(), self._steps(step))

    def where(self, step: int | jax.Array | np.ndarray) -> jax.Array:
        """Return which samples of a batch count: all, but for what fills the last one of an epoch.

        Args:
          step: as for the indices.

        Returns:
          bools of the shape of the indices.
        """
        with check.inside("epochs"):
            return _where(self._endless(), self._steps(step))

    def take(self, arrays: PyTree, step: int | jax.Array | np.ndarray) -> PyTree:
        """Take the batch of a step from arrays of samples.

        Arrays of NumPy (``np.memmap`` too) are indexed on the host, where the step is known, and
        yield NumPy arrays: only the batch moves to the device. Arrays on an explicit mesh yield
        batches sharded like them.

        Args:
          arrays: a tree of arrays whose first axis has n samples.
          step: as for the indices.

        Returns:
          a tree like ``arrays``, with the batch in place of the first axis.

        Raises:
          ValueError: an array without n samples.
        """
        with check.inside("take"):
            for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
                if np.shape(leaf)[:1] != (self.n,):
                    problem = f"this array is {check.kind_of(leaf)}"
                    expected = f"n={self.n} samples along its first axis"
                    check.refuse(problem, expected=expected, path=check.keystr(path))
        rows = self(step)
        on_host = None if isinstance(rows, jax.core.Tracer) else np.asarray(rows)

        def batch(leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray) and on_host is not None:
                return leaf[on_host]
            return rows_of(jnp.asarray(leaf), rows)

        return jax.tree.map(batch, arrays)

    def _endless(self) -> "Epochs":
        """The same batches for any number of epochs, which compile once."""
        return dataclasses.replace(self, num_epochs=None)

    def _steps(self, step: Any) -> jax.Array:
        """Steps as an array, after what is known of them is judged."""
        kind = check.dtype_of(step)
        if kind is None or not jnp.issubdtype(kind, jnp.integer):
            problem = f"step={check.shown(step)} is not an integer"
            check.refuse(problem, expected="the number of a batch", error=TypeError)
        if isinstance(step, (int, np.integer, np.ndarray)):
            last = None if self.num_epochs is None else len(self) - 1
            wrong = np.any(np.asarray(step) < 0) or (last is not None and np.any(step > last))
            if wrong:
                expected = "step >= 0" if last is None else f"0 <= step <= {last}"
                check.refuse(f"step={check.shown(step)} is out of range", expected=expected)
        return jnp.asarray(step)

    def _positions(self, steps: jax.Array) -> jax.Array:
        """The places of a batch in the epoch, n and above where the samples have run out."""
        share = self.batch_size // self.workers
        start = (steps % self.steps_per_epoch).astype(jnp.uint32) * jnp.uint32(self.batch_size)
        start += jnp.asarray(self.worker).astype(jnp.uint32) * jnp.uint32(share)
        places = jnp.arange(share, dtype=jnp.uint32)
        return jnp.expand_dims(start, -1) + places.reshape((1,) * start.ndim + (-1,))

    def __len__(self) -> int:
        """Return how many batches there are in all epochs."""
        if self.num_epochs is None:
            fix = "Pass num_epochs=, or take steps_per_epoch"
            with check.inside("epochs"):
                check.refuse("num_epochs=None has no last step", fix=fix, error=TypeError)
        return self.num_epochs * self.steps_per_epoch

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[jax.Array]:
        """Yield the indices of every batch in turn."""
        steps = itertools.count() if self.num_epochs is None else range(len(self))
        return map(self, steps)

    def _static(self) -> tuple[Any, ...]:
        return self.n, self.batch_size, self.num_epochs, self.drop_remainder, self.workers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Epochs):
            return NotImplemented
        if self is other:
            return True
        if self._static() != other._static() or (self.key is None) != (other.key is None):
            return False
        pairs = zip(jax.tree.leaves(self), jax.tree.leaves(other), strict=True)
        return all(
            a is b or (a.dtype == b.dtype and np.array_equal(_data(a), _data(b)))
            for a, b in ((jnp.asarray(a), jnp.asarray(b)) for a, b in pairs)
        )

    def __hash__(self) -> int:
        return hash(self._static())

    def __repr__(self) -> str:
        given = [str(self.n), str(self.batch_size), _key_repr(self.key)]
        if self.num_epochs is not None:
            given.append(f"num_epochs={self.num_epochs}")
        if not self.drop_remainder:
            given.append("drop_remainder=False")
        if self.key is None:
            given.append("shuffle=False")
        if self.workers > 1:
            given.append(f"shard=({check.shown(self.worker)}, {self.workers})")
        return f"epochs({', '.join(given)})"


@explained()
def epochs(
    n: int,
    batch_size: int,
    key: Key | None = None,
    *,
    num_epochs: int | None = None,
    drop_remainder: bool = True,
    shuffle: bool = True,
    shard: tuple[int | jax.Array, int] = (0, 1),
) -> Epochs:
    """Shuffle samples into mini-batches, as indices that are a pure function of the step.

    **Value** with B = ``batch_size`` and s = ``steps_per_epoch``, batch t is the B places from
    (t mod s)·B on of a permutation that is decided by the key and the epoch ⌊t / s⌋.
    Nothing is kept between steps: a run resumed at step t sees the batches that it would have seen.
    ``batch_size=n`` is batch descent, ``batch_size=1`` stochastic descent.

    A batch costs the same whatever n is: each of its indices is computed by itself.

    Args:
      n: how many samples there are, below 2³¹.
      batch_size: how many samples a batch has, 1 to n.
      key: a seed or a random key. Each epoch is shuffled anew with it.
      num_epochs: how many epochs there are, for ``len`` and the loop; None for any number.
      drop_remainder: leave out the n mod B samples at the end of an epoch; shuffled, they are
        others in each. False keeps them in a batch that is filled up with the first samples of the
        epoch; ``where(step)`` is False for those.
      shuffle: False keeps the order of the samples, and needs no key.
      shard: (worker, workers), to take a worker's share of each batch, such as
        ``(jax.process_index(), jax.process_count())``. The batches do not depend on the number of
        workers, which divides the batch size. The worker may be an array, such as
        ``jax.lax.axis_index``.

    Returns:
      an ``Epochs``: ``batches(step)`` are the indices, ``batches.take(arrays, step)`` the batch.

    Raises:
      ValueError: a batch larger than the data, no sample, a worker out of range.
      TypeError: what is no integer, no random key.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x = jax.random.normal(jax.random.key(0), (1000, 3))
      >>> data = x, x @ jnp.array([1.0, -2.0, 3.0])
      >>> batches = gk.data.epochs(1000, 100, 1, num_epochs=20)
      >>> tx = gk.adam(0.1)
      >>> step = gk.make_step(lambda w, x, y: jnp.mean((x @ w - y) ** 2), tx)
      >>> def body(carry, i):  # all steps as one program
      ...     w, state, loss = step(*carry, *batches.take(data, i))
      ...     return (w, state), loss
      >>> w = jnp.zeros(3)
      >>> (w, state), losses = jax.lax.scan(body, (w, tx.init(w)), jnp.arange(len(batches)))
      >>> assert jnp.allclose(w, jnp.array([1.0, -2.0, 3.0]), atol=1e-2)
      >>> assert sorted(batches(jnp.arange(10)).ravel().tolist()) == list(range(1000))  # an epoch

    Reference: Mitchell et al. 2021, https://arxiv.org/abs/2106.06161; Black and Rogaway 2002,
    https://doi.org/10.1007/3-540-45760-7_9.
    """
    check.integer(1, n=n, batch_size=batch_size)
    if num_epochs is not None:
        check.integer(1, num_epochs=num_epochs)
        num_epochs = int(num_epochs)
    check.boolean(drop_remainder=drop_remainder, shuffle=shuffle)
    n, batch_size = int(n), int(batch_size)
    if n >= 2**31:
        check.refuse(f"n={n} is out of range", expected="n < 2**31", fix="Index blocks of samples")
    if batch_size > n:
        problem = f"batch_size={batch_size} is more than the {n} samples"
        check.refuse(problem, expected=f"1 <= batch_size <= {n}")
    worker, workers = _shard(shard, batch_size)
    drawn = None
    if shuffle:
        if key is None:
            fix = "Without shuffling pass shuffle=False"
            expected = "a seed or a random key"
            check.refuse("key is None", expected=expected, fix=fix, error=TypeError)
        drawn = numerics.as_key(key)
        if drawn.ndim:
            problem, fix = f"key is {check.shape_dtype(drawn)}", "Map over several with jax.vmap"
            check.refuse(problem, expected="one random key", fix=fix)
    return Epochs(n, batch_size, drawn, num_epochs, drop_remainder, worker, workers)


@jax.jit
def _where(batches: Epochs, steps: jax.Array) -> jax.Array:
    return batches._positions(steps) < jnp.uint32(batches.n)


@jax.jit
def _indices(batches: Epochs, steps: jax.Array) -> jax.Array:
    places = batches._positions(steps)
    n = jnp.uint32(batches.n)
    places = jnp.where(places < n, places, places - n)
    if batches.key is None:
        return places.astype(jnp.int32)
    key = batches.key

    def batch(epoch: jax.Array, places: jax.Array) -> jax.Array:
        return permuted(places, batches.n, jax.random.fold_in(key, epoch))

    epoch = batches.epoch(steps).astype(jnp.uint32)
    if not steps.ndim:
        return batch(epoch, places)
    share = places.shape[-1]
    found = jax.vmap(batch)(epoch.reshape(-1), places.reshape(-1, share))
    return found.reshape(places.shape)


def _shard(shard: Any, batch_size: int) -> tuple[Any, int]:
    """The worker and the number of workers."""
    try:
        worker, workers = shard
    except (TypeError, ValueError):
        problem = f"shard={check.shown(shard)} is not a pair"
        check.refuse(problem, expected="(worker, workers)", error=TypeError)
    check.integer(1, **{"the number of workers": workers})
    workers = int(workers)
    kind = check.dtype_of(worker)
    if kind is None or not jnp.issubdtype(kind, jnp.integer) or np.ndim(worker):
        problem = f"the worker {check.shown(worker)} is not an integer"
        check.refuse(problem, expected=f"an integer from 0 to {workers - 1}", error=TypeError)
    if not isinstance(worker, jax.core.Tracer) and not 0 <= int(worker) < workers:
        problem = f"shard=({check.shown(worker)}, {workers}) is out of range"
        check.refuse(problem, expected=f"a worker from 0 to {workers - 1}")
    if batch_size % workers:
        problem = f"batch_size={batch_size} cannot be shared among {workers} workers"
        check.refuse(problem, expected="a multiple of the number of workers")
    return worker if isinstance(worker, jax.Array) else int(worker), workers


def _data(leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if numerics.is_key(leaf) else leaf)


def _key_repr(key: Any) -> str:
    """A key as the seed that makes it, where one does."""
    if key is None:
        return "None"
    if not numerics.is_key(key) or isinstance(key, jax.core.Tracer) or key.ndim:
        return f"key={check.kind_of(key)}"
    high, *low = _data(key).tolist()
    if key.dtype == jax.eval_shape(jax.random.key, 0).dtype and high == 0 and len(low) == 1:
        return str(low[0])
    return f"key={[high, *low]}"
