"""The dropout family for Flax NNX: keys and modes as Flax keeps them, noise from `gradkit.nn.functional`.

Every layer takes ``deterministic`` and ``rngs`` in its constructor and in its call, and ``rate`` in its call too: a traced rate needs no recompile.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
from flax import nnx

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.dropout import check_flag, check_rate, one_key
from gradkit.nn.nnx.norm import _chosen, show_signature


def _stream(rngs: Any, name: str) -> Any:
    """The stream of that name, or the default one."""
    if name not in rngs and "default" not in rngs:
        got = f"only {', '.join(stream for stream, _ in rngs.items())}" if list(rngs.items()) else "none"
        check.fail(f"needs rngs with a stream {name!r} or a default one", got, f"Pass rngs=nnx.Rngs({name}=0)", path="rngs", error=TypeError)
    return rngs[name]


class Noise(nnx.Dropout):
    """Where a layer's keys come from, and when it is silent: what all of the family share with Flax's Dropout."""

    def __init__(self, rate: Any, *, deterministic: bool | None = False, rng_collection: str = "dropout", rngs: Any = None) -> None:
        with check.inside(type(self).__name__):
            self._check(rate)
            check_flag(deterministic)
            if rngs is not None and not isinstance(rngs, (nnx.Rngs, nnx.RngStream)):
                check.fail("needs rngs of type nnx.Rngs or nnx.RngStream", type(rngs).__name__, "Pass rngs=nnx.Rngs(0)", path="rngs", error=TypeError)
            if isinstance(rngs, nnx.Rngs):
                _stream(rngs, rng_collection)
        super().__init__(rate, deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        show_signature(cls)

    def _check(self, rate: Any) -> None:
        check_rate(rate)

    def _key(self, rngs: Any, rate: Any) -> Any:
        """The key of this call; None where a rate of 0 or 1 needs none."""
        if isinstance(rate, (int, float)) and rate in {0, 1}:
            return None
        rngs = self.rngs if rngs is None else rngs
        if isinstance(rngs, nnx.Rngs):
            return _stream(rngs, self.rng_collection)()
        if isinstance(rngs, nnx.RngStream):
            return rngs()
        if rngs is None:
            mend = "Pass rngs=nnx.Rngs(0) to the layer, or rngs (nnx.Rngs, a stream or a key) to the call, or deterministic=True"
            check.fail(f"needs rngs for its {self.rng_collection} key", "rngs=None", mend, path="rngs", error=TypeError)
        if not isinstance(rngs, jax.Array):
            got = type(rngs).__name__
            check.fail("needs rngs of type nnx.Rngs, nnx.RngStream or a key", got, "Pass rngs=jax.random.key(0)", path="rngs", error=TypeError)
        return rngs

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        raise NotImplementedError

    def _silent(self, x: Any, rate: Any) -> Any:
        return x

    def __call__(self, inputs: Any, *, deterministic: bool | None = None, rngs: Any = None, rate: Any = None) -> Any:
        with check.inside(type(self).__name__):
            rate = self.rate if rate is None else rate
            inputs = jnp.asarray(inputs)
            deterministic = _chosen(self, "deterministic", deterministic)
            check_flag(deterministic)
            if deterministic:
                return self._silent(inputs, rate)
            return self._noisy(inputs, rate, self._key(rngs, rate))


class Dropout(Noise):
    """Set a random share of the input to zero.

    **Rule** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and x (1 − p) at inference.

    **Remembers** its key and count.

    Args: those of ``flax.nnx.Dropout``, and
      classic: scale at inference instead of in training.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no rngs where a key is needed.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.Dropout(0.75, rngs=nnx.Rngs(0))
      >>> assert set(layer(jnp.ones(100)).tolist()) == {0.0, 4.0}
      >>> assert layer(jnp.ones(3), deterministic=True).tolist() == [1.0, 1.0, 1.0]

    **Differs** from Flax: other masks from the same key (half the bits where the last axis is even); a rate may be traced; bfloat16 is divided in float32.

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(self, rate: Any, *, broadcast_dims: Sequence[int] = (), classic: bool = False, **common: Any) -> None:
        super().__init__(rate, **common)
        self.broadcast_dims, self.classic = tuple(broadcast_dims), classic

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.dropout(x, rate, key, broadcast_dims=self.broadcast_dims, classic=self.classic)

    def _silent(self, x: Any, rate: Any) -> Any:
        return F.dropout(x, rate, deterministic=True, classic=self.classic)


class DropPath(Noise):
    """Drop whole examples of a residual branch: stochastic depth.

    **Rule** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example.

    **Remembers** its key and count.

    Args:
      rate: p in [0, 1].
      deterministic: inference.
      rng_collection: the stream of keys.
      rngs: where the keys come from; may be given to the call instead.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.DropPath(0.5, rngs=nnx.Rngs(0))(jnp.ones((6, 3)))
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.drop_path(x, rate, key)


class DropBlock(Noise):
    """Drop blocks of neighbouring positions.

    **Rule** see ``functional.drop_block``.

    **Remembers** its key and count.

    Args: those of `DropPath`, and
      block_size: the side of a block.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.DropBlock(0.2, block_size=3, rngs=nnx.Rngs(0))(jnp.ones((4, 16, 16, 2)))
      >>> assert abs(float(y.mean()) - 1) < 1e-3 and 0.1 < float((y == 0).mean()) < 0.3

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """

    def __init__(self, rate: Any, *, block_size: int, **common: Any) -> None:
        super().__init__(rate, **common)
        self.block_size = block_size

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.drop_block(x, rate, key, block_size=self.block_size)


class AlphaDropout(Noise):
    """Dropout for SELU networks: a dropped unit saturates, and mean 0 and variance 1 stay.

    **Rule** y = a (m ? x : α') + b, see ``functional.alpha_dropout``.

    **Remembers** its key and count.

    Args: those of `Dropout` without ``classic``.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.AlphaDropout(0.5, rngs=nnx.Rngs(0))(jax.random.normal(jax.random.key(0), (20000,)))
      >>> assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05

    Reference: Klambauer et al. 2017, https://arxiv.org/abs/1706.02515.
    """

    def __init__(self, rate: Any, *, broadcast_dims: Sequence[int] = (), **common: Any) -> None:
        super().__init__(rate, **common)
        self.broadcast_dims = tuple(broadcast_dims)

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.alpha_dropout(x, rate, key, broadcast_dims=self.broadcast_dims)


class GaussianDropout(Noise):
    """Multiply by normal noise with dropout's mean and variance.

    **Rule** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1).

    **Remembers** its key and count.

    Args: those of `DropPath`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.GaussianDropout(0.2, rngs=nnx.Rngs(0))(jnp.ones(20000))
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.gaussian_dropout(x, rate, key)


class GaussianNoise(Noise):
    """Add normal noise, to the inputs of a network for example.

    **Rule** y = x + σ z, z ~ N(0, 1); σ stands where the others have their rate.

    **Remembers** its key and count.

    Args: those of `DropPath`, with
      rate: σ >= 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> assert abs(float(gnn.GaussianNoise(0.1, rngs=nnx.Rngs(0))(jnp.zeros(20000)).std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """

    def _check(self, rate: Any) -> None:
        check_rate(rate, "stddev", check.non_negative)

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.gaussian_noise(x, rate, key)

    def _key(self, rngs: Any, rate: Any) -> Any:
        return super()._key(rngs, 0 if isinstance(rate, (int, float)) and rate == 0 else None)


class StochasticPool(Noise):
    """Pool by drawing one activation from each window, in proportion to its size; at inference, by its mean.

    **Rule** y = a_i with probability a_i / Σ a; at inference Σ a² / Σ a.

    **Remembers** its key and count.

    Args:
      window_shape: the window over the positions.
      strides: its steps; by default 1 everywhere.
      padding: "VALID", "SAME" or pairs per position axis.
      deterministic: inference.
      rng_collection: the stream of keys.
      rngs: where the keys come from; may be given to the call instead.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer, x = gnn.StochasticPool((2,), rngs=nnx.Rngs(0)), jnp.array([1.0, 3.0]).reshape(1, 2, 1)
      >>> assert layer(x).item() in (1.0, 3.0) and layer(x, deterministic=True).item() == 2.5

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
    """

    def __init__(self, window_shape: Sequence[int], strides: Sequence[int] | None = None, padding: Any = "VALID", **common: Any) -> None:
        super().__init__(0.5, **common)  # it draws whatever the rate: the rate stands for needing a key
        self.window_shape, self.strides = tuple(window_shape), None if strides is None else tuple(strides)
        self.padding = padding if isinstance(padding, str) else tuple(map(tuple, padding))

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.stochastic_pool(x, self.window_shape, self.strides, self.padding, key=key)

    def _silent(self, x: Any, rate: Any) -> Any:
        return F.stochastic_pool(x, self.window_shape, self.strides, self.padding, deterministic=True)


class Prediction(NamedTuple):
    """Mean and variance of a model's output over its noise."""

    mean: Any
    var: Any


def mc_predict(model: Any, x: Any, samples: int, key: Any) -> Prediction:
    """Monte Carlo dropout: the mean and variance of predictions over sampled masks.

    **Rule** mean = Σ_s f(x; m_s) / S, var = Σ_s |f(x; m_s) − mean|² / S.

    Args:
      model: an ``nnx.Module``: it is viewed with its noise on (``deterministic=False``) and its batch statistics fixed, with
        every key replaced, and stays as it is. Or a function of (x, key), for Linen
        ``lambda x, key: model.apply(variables, x, deterministic=False, rngs={"dropout": key})``. A function is taken at its word: one that
        draws no noise from its key gives variance 0.
      x: the input, taken as it is by all samples.
      samples: S >= 1, all in one vmap.
      key: a random key or a seed.

    Raises:
      ValueError: an ``nnx.Module`` in which nothing has a key, or whose output does not depend on its keys: it has no noise, or passes
        ``deterministic`` to its layers itself. With a layer whose rate is the number 0 or 1 that is taken as meant.
      TypeError: no key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> model = nnx.Sequential(gnn.Dropout(0.5, rngs=nnx.Rngs(0)))
      >>> mean, var = gnn.mc_predict(model, jnp.ones(4), 4000, jax.random.key(0))
      >>> assert jnp.allclose(mean, 1, atol=0.1) and jnp.allclose(var, 1, atol=0.1)  # 0 or 2, half and half

    Reference: Gal and Ghahramani 2016, https://arxiv.org/abs/1506.02142.
    """
    with check.inside("mc_predict"):
        check.integer(1, samples=samples)
        key = one_key(key, "samples")
        predict = _sampler(model) if isinstance(model, nnx.Module) else model
        if isinstance(model, nnx.Module) and not _silent_by_rate(model) and not _depends(lambda key: predict(x, key), key):
            mend = "Let it have a noise layer, and pass no deterministic to its layers itself, for that has the last word"
            check.fail("needs a model whose output depends on its keys", "one that draws no noise", mend, path="model")
    outputs = jax.vmap(lambda sample: predict(x, sample))(jax.random.split(key, int(samples)))
    leaves, tree = jax.tree.flatten(outputs)
    of = [F.moments(leaf, 0) for leaf in leaves]
    return Prediction(jax.tree.unflatten(tree, [m.mean for m in of]), jax.tree.unflatten(tree, [m.var for m in of]))


def _silent_by_rate(model: Any) -> bool:
    """Whether a layer has a rate at which there is nothing to draw."""
    rates = [part.rate for _, part in nnx.iter_modules(model) if isinstance(part, nnx.Dropout)]
    return any(isinstance(rate, (int, float)) and rate in {0, 1} for rate in rates)


def _depends(function: Any, argument: Any) -> bool:
    """Whether a path leads from the argument to an output. What happens within one call counts as connected."""
    program = jax.make_jaxpr(function)(argument).jaxpr
    reached = set(program.invars)

    def meets(atoms: Any) -> bool:
        return any(not isinstance(atom, jax.extend.core.Literal) and atom in reached for atom in atoms)

    for equation in program.eqns:
        if meets(equation.invars):
            reached.update(equation.outvars)
    return meets(program.outvars)


def _sampler(model: Any) -> Any:
    noisy = nnx.view(model, deterministic=False, use_running_average=True, raise_if_not_found=False)
    graph, keys, rest = nnx.split(noisy, nnx.RngKey, ...)
    names = [path for path, _ in nnx.to_flat_state(keys)]
    if not names:
        check.fail("needs a model with random layers that own their rngs", "no key in its state", "Give the dropout layers rngs=nnx.Rngs(0)", path="model")

    def predict(x: Any, key: Any) -> Any:
        fresh = []
        for number, (path, old) in enumerate(nnx.to_flat_state(keys)):
            own = jax.random.fold_in(key, number)
            fresh.append((path, old.replace(jax.random.split(own, old.shape) if old.shape else own)))
        return nnx.merge(graph, nnx.from_flat_state(fresh), rest, copy=True)(x)

    return predict
