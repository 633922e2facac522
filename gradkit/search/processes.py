"""Gaussian processes on the unit cube, and the acquisition functions of Bayesian optimization."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.optimizers.adam import adam
from gradkit.schedules.decay import cosine_decay_schedule

KERNELS = ("matern52", "rbf")
STEPS = 150  # of Adam, for each start


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "x", "lengthscales", "amplitude", "noise", "mean", "cholesky", "weights",
        "log_marginal_likelihood",
    ],
    meta_fields=["kernel"],
)  # fmt: skip
@dataclasses.dataclass(frozen=True)
class GaussianProcess:
    """Hold a Gaussian process given observations: ``predict(x)`` is its posterior.

    A pytree, made by ``gaussian_process`` or ``fit_gaussian_process``.

    Args:
      x: the points observed (n, d).
      lengthscales: the distance in each dimension over which the function changes (d,).
      amplitude: the standard deviation of the function around its mean.
      noise: the standard deviation of an observation around the function.
      mean: the mean of the function before any observation.
      cholesky: the lower Cholesky factor of the covariance K of the observations (n, n).
      weights: K⁻¹ (y − mean), (n,).
      log_marginal_likelihood: log p(y | x, hyperparameters).
      kernel: ``"matern52"`` or ``"rbf"``.
    """

    x: jax.Array
    lengthscales: jax.Array
    amplitude: jax.Array
    noise: jax.Array
    mean: jax.Array
    cholesky: jax.Array
    weights: jax.Array
    log_marginal_likelihood: jax.Array
    kernel: str

    def predict(self, x: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The mean and the standard deviation of the function at new points, without noise.

        Args:
          x: the points (m, d).

        Returns:
          two arrays (m,).
        """
        x = jnp.asarray(x, self.x.dtype)
        if x.ndim != 2 or x.shape[1] != self.x.shape[1]:
            problem = f"predict: x has the shape {list(x.shape)}"
            check.refuse(problem, expected=f"[m, {self.x.shape[1]}]")
        across = self.amplitude**2 * _correlation(self.kernel, self.x, x, self.lengthscales)
        mean = self.mean + jnp.matmul(across.T, self.weights, precision="highest")
        solved = jax.scipy.linalg.solve_triangular(self.cholesky, across, lower=True)
        variance = self.amplitude**2 - jnp.sum(solved**2, axis=0)
        return mean, jnp.sqrt(jnp.maximum(variance, 0.0))


def gaussian_process(
    x: ArrayLike,
    y: ArrayLike,
    lengthscales: ArrayLike,
    amplitude: ArrayLike = 1.0,
    noise: ArrayLike = 1e-3,
    mean: ArrayLike = 0.0,
    *,
    errors: ArrayLike | None = None,
    where: ArrayLike | None = None,
    kernel: str = "matern52",
) -> GaussianProcess:
    """Condition a Gaussian process with known hyperparameters on observations.

    **Value** p(f(x*) | x*, H) = N(mean + kᵀ K⁻¹ (y − mean), k** − kᵀ K⁻¹ k), where
    K = amplitude² c(r) + noise² + errors² on the diagonal, k is the covariance of x* with the
    points, r² = Σ ((x_i − x'_i) / lengthscale_i)², and c(r) = (1 + √5 r + 5r²/3) exp(−√5 r) for
    ``"matern52"``, exp(−r²/2) for ``"rbf"``.

    Args:
      x: the points (n, d), best within the unit cube.
      y: the observations (n,).
      lengthscales: one number > 0 for each dimension (d,), or one for all.
      amplitude: the standard deviation of the function around its mean, > 0.
      noise: the standard deviation of an observation around the function, > 0.
      mean: the mean of the function.
      errors: standard errors of the observations (n,), added to the noise; None for none.
      where: which observations count (n,): False leaves one out, whatever is in it.
      kernel: ``"matern52"`` or ``"rbf"``.

    Returns:
      a ``GaussianProcess``.

    Raises:
      ValueError: shapes that do not fit, an unknown kernel.

    Example:
      >>> import gradkit as gk, numpy as np
      >>> x = np.array([[0.0], [0.5], [1.0]])
      >>> process = gk.search.gaussian_process(x, [1.0, 0.0, 1.0], 0.3, noise=1e-3)
      >>> mean, std = process.predict([[0.5], [0.75]])
      >>> assert abs(mean[0]) < 1e-3 and std[0] < 0.01 < std[1]

    Reference: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, algorithm 2.1.
    """
    with check.inside("gaussian_process"):
        check.one_of(KERNELS, kernel=kernel)
        x, y, errors, where = _observations(x, y, errors, where)
        try:
            scales = jnp.broadcast_to(jnp.asarray(lengthscales, x.dtype), x.shape[1:])
        except ValueError:
            problem = f"lengthscales has the shape {list(np.shape(lengthscales))}"
            check.refuse(problem, expected=f"[{x.shape[1]}] or one number")
        check.positive(amplitude=amplitude, noise=noise)
        numbers = (jnp.asarray(v, x.dtype) for v in (amplitude, noise, mean))
    return _condition(kernel, x, y, errors, where, scales, *numbers)


def fit_gaussian_process(
    x: ArrayLike,
    y: ArrayLike,
    *,
    errors: ArrayLike | None = None,
    where: ArrayLike | None = None,
    kernel: str = "matern52",
    priors: bool = True,
) -> GaussianProcess:
    """Fit a Gaussian process: its hyperparameters maximize the marginal likelihood.

    ``y`` is standardized to mean 0 and standard deviation 1 for the fit, and the hyperparameters
    are returned in its units. Adam runs from three starts; one compiled program serves all data
    of one shape.

    Args:
      x: the points (n, d), within the unit cube.
      y: the observations (n,).
      errors: standard errors of the observations (n,), added to the noise; None for none.
      where: which observations count (n,); False leaves one out.
      kernel: ``"matern52"`` or ``"rbf"``.
      priors: weigh the likelihood with weak priors, which keep few points from being overfitted:
        log lengthscale ~ N(√2 + log(d)/2, 3) and log noise ~ N(−4, 1).

    Returns:
      a ``GaussianProcess``.

    Raises:
      ValueError: shapes that do not fit, an unknown kernel.

    Example:
      >>> import gradkit as gk, numpy as np
      >>> x = np.linspace(0.0, 1.0, 16)[:, None]
      >>> process = gk.search.fit_gaussian_process(x, np.sin(6 * x[:, 0]))
      >>> mean, std = process.predict([[0.4]])
      >>> assert abs(mean[0] - np.sin(2.4)) < 0.05

    Reference: Snoek, Larochelle & Adams 2012, arXiv:1206.2944; the priors: Hvarfner, Hellsten &
    Nardi 2024, arXiv:2402.02229.
    """
    with check.inside("fit_gaussian_process"):
        check.one_of(KERNELS, kernel=kernel)
        check.boolean(priors=priors)
        observations = _observations(x, y, errors, where)
    return _fit(kernel, priors, *observations)


def expected_improvement(mean: ArrayLike, std: ArrayLike, best: ArrayLike) -> jax.Array:
    """Expected improvement of a loss below the best one so far, the acquisition function.

    **Value** EI = E[max(y* − y, 0)] = (y* − μ) Φ(z) + σ φ(z), z = (y* − μ) / σ, for
    y ~ N(μ, σ²); max(y* − μ, 0) where σ = 0. Φ is the normal distribution function, φ its density.

    Args:
      mean: the posterior means μ of the loss.
      std: its posterior standard deviations σ ≥ 0, of the shape of ``mean``.
      best: the best loss y* so far, of a shape that broadcasts.

    Returns:
      the expected improvements ≥ 0, of the shape of ``mean``; the point to try has the largest.

    Example:
      >>> import gradkit as gk
      >>> values = gk.search.expected_improvement([0.0, 1.0], [1.0, 0.0], 0.0)
      >>> assert abs(values[0] - 0.3989) < 1e-4 and values[1] == 0

    Reference: Jones, Schonlau & Welch 1998, Journal of Global Optimization 13:455–492.
    """
    mean, std = jnp.asarray(mean, float), jnp.asarray(std, float)
    return _improvement(mean, std, jnp.asarray(best, mean.dtype))


def upper_confidence_bound(mean: ArrayLike, std: ArrayLike, kappa: ArrayLike = 2.0) -> jax.Array:
    """Upper confidence bound of minus the loss, the acquisition function GP-UCB.

    **Value** −μ + κ σ: the negative of the loss that the point may reach with some luck.

    Args:
      mean: the posterior means μ of the loss.
      std: its posterior standard deviations σ, of the shape of ``mean``.
      kappa: how much uncertainty is worth, ≥ 0.

    Returns:
      the bounds, of the shape of ``mean``; the point to try has the largest.

    Example:
      >>> import gradkit as gk
      >>> values = gk.search.upper_confidence_bound([0.0, 1.0], [0.1, 1.0], kappa=2.0)
      >>> assert values[1] > values[0]

    Reference: Srinivas, Krause, Kakade & Seeger 2010, arXiv:0912.3995.
    """
    check.non_negative(kappa=kappa)
    mean, std = jnp.asarray(mean, float), jnp.asarray(std, float)
    return jnp.asarray(kappa, mean.dtype) * std - mean


# ---- the computation ----------------------------------------------------------------------------


@jax.jit
def _improvement(mean: jax.Array, std: jax.Array, best: jax.Array) -> jax.Array:
    gap = best - mean
    certain = std <= 0
    z = gap / jnp.where(certain, 1.0, std)
    density = jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    # z Φ(z) + φ(z) cancels for z far below 0; the asymptotic series of Φ does not.
    far = -jnp.minimum(z, -5.0)
    tail = density * (1 - 3 / far**2 + 15 / far**4 - 105 / far**6) / far**2
    near = jnp.maximum(z * jax.scipy.stats.norm.cdf(z) + density, 0.0)
    return jnp.where(certain, jnp.maximum(gap, 0.0), std * jnp.where(z < -8, tail, near))


def _observations(x: Any, y: Any, errors: Any, where: Any) -> tuple[jax.Array, ...]:
    x = jnp.asarray(x, float)
    if x.ndim != 2 or 0 in x.shape:
        check.refuse(f"x has the shape {list(x.shape)}", expected="[n, d], n and d at least 1")
    n = x.shape[0]
    found = {"y": jnp.asarray(y, x.dtype)}
    found["errors"] = jnp.zeros((n,), x.dtype) if errors is None else jnp.asarray(errors, x.dtype)
    found["where"] = jnp.ones((n,), bool) if where is None else jnp.asarray(where, bool)
    for name, value in found.items():
        if value.shape != (n,):
            problem = f"{name} has the shape {list(value.shape)}"
            check.refuse(problem, expected=f"[{n}], one for each row of x")
    return x, found["y"], found["errors"], found["where"]


def _correlation(kernel: str, x: jax.Array, z: jax.Array, lengthscales: jax.Array) -> jax.Array:
    """c(r) of every pair, (n, m)."""
    squared = jnp.sum(((x[:, None] - z[None]) / lengthscales[None, None]) ** 2, axis=-1)
    if kernel == "rbf":
        return jnp.exp(-squared / 2)
    apart = squared > 0  # the root has no derivative at 0
    r = jnp.where(apart, jnp.sqrt(jnp.where(apart, 5 * squared, 1.0)), 0.0)
    return (1 + r + r**2 / 3) * jnp.exp(-r)


def _covariance(
    kernel: str, x: Any, errors: Any, where: Any, scales: Any, amplitude: Any, noise: Any
) -> jax.Array:
    """K of the observations; a row that does not count is one of the identity."""
    both = where[:, None] & where[None, :]
    signal = jnp.where(both, amplitude**2 * _correlation(kernel, x, x, scales), 0.0)
    variances = noise**2 + jnp.where(where, errors, 0.0) ** 2
    return signal + jnp.diag(jnp.where(where, variances, 1.0))


@functools.partial(jax.jit, static_argnums=0)
def _condition(
    kernel: str, x: Any, y: Any, errors: Any, where: Any, scales: Any, amplitude: Any, noise: Any,
    mean: Any,
) -> GaussianProcess:  # fmt: skip
    """The posterior, with no residual where a row does not count."""
    matrix = _covariance(kernel, x, errors, where, scales, amplitude, noise)
    cholesky = jnp.linalg.cholesky(matrix)
    residual = jnp.where(where, y - mean, 0.0)
    weights = jax.scipy.linalg.cho_solve((cholesky, True), residual)
    likelihood = -(
        jnp.sum(residual * weights) / 2
        + jnp.sum(jnp.log(jnp.diagonal(cholesky)))
        + jnp.sum(where).astype(x.dtype) * (math.log(2 * math.pi) / 2)
    )
    # A row that does not count is moved out of the reach of the kernel.
    x = jnp.where(where[:, None], x, 1e6)
    return GaussianProcess(x, scales, amplitude, noise, mean, cholesky, weights, likelihood, kernel)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(kernel: str, priors: bool, x: Any, y: Any, errors: Any, where: Any) -> GaussianProcess:
    d, dtype = x.shape[1], x.dtype
    count = jnp.maximum(jnp.sum(where), 1).astype(dtype)
    known = jnp.where(where, y, 0.0)
    shift = jnp.sum(known) / count
    scale = jnp.sqrt(jnp.sum(jnp.where(where, known - shift, 0.0) ** 2) / count)
    scale = jnp.where(scale > 0, scale, 1.0)
    data = (jnp.where(where, (known - shift) / scale, 0.0), errors / scale)
    identity = jnp.eye(x.shape[0], dtype=dtype)
    # The covariance must be positive definite in the dtype.
    least = 1e-2 if dtype == jnp.float32 else 1e-4
    bounds = jnp.asarray([math.log(0.02), math.log(0.05), math.log(least)], dtype)
    most = jnp.asarray([math.log(50.0), math.log(20.0), 0.0], dtype)

    def unpack(theta: Any) -> Any:
        """Log lengthscales, amplitude and noise within their bounds, of free numbers."""
        group = jnp.asarray([0] * d + [1, 2])
        low, high = bounds[group], most[group]
        logs = low + (high - low) * jax.nn.sigmoid(theta)
        return logs[:d], logs[d], logs[d + 1]

    def covariance(theta: Any) -> Any:
        scales, amplitude, noise = unpack(theta)
        return _covariance(kernel, x, data[1], where, *map(jnp.exp, (scales, amplitude, noise)))

    def penalty(theta: Any) -> Any:
        scales, _, noise = unpack(theta)
        center = math.sqrt(2.0) + math.log(d) / 2
        return jnp.sum((scales - center) ** 2) / 6 + (noise + 4) ** 2 / 2

    def slope(theta: Any) -> Any:
        """Minus the log likelihood up to a constant, and its gradient: ∂L/∂K = (K⁻¹ − ww')/2."""
        matrix, pull = jax.vjp(covariance, theta)
        cholesky = jnp.linalg.cholesky(matrix)
        inverse = jax.scipy.linalg.cho_solve((cholesky, True), identity)
        weights = jnp.matmul(inverse, data[0], precision="highest")
        value = jnp.sum(data[0] * weights) / 2 + jnp.sum(jnp.log(jnp.diagonal(cholesky)))
        (gradient,) = pull((inverse - weights[:, None] * weights[None]) / 2)
        if priors:
            more, by_priors = jax.value_and_grad(penalty)(theta)
            value, gradient = value + more, gradient + by_priors
        return value, gradient

    def start(scale: float, noise: float) -> Any:
        logs = jnp.asarray([math.log(scale)] * d + [0.0, math.log(noise)], dtype)
        group = jnp.asarray([0] * d + [1, 2])
        part = (logs - bounds[group]) / (most[group] - bounds[group])
        return jnp.log(part) - jnp.log1p(-part)

    starts = jnp.stack([start(0.2, 0.05), start(1.0, 0.05), start(1.0, 0.5)])
    # Adam compiles in a tenth of the time of L-BFGS with its line search, and finds the same.
    tx = adam(cosine_decay_schedule(0.2, STEPS), b2=0.95)

    def step(_: Any, carry: Any) -> Any:
        theta, state, best, at = carry
        value, gradient = jax.vmap(slope)(theta)
        better = value < best
        best, at = jnp.where(better, value, best), jnp.where(better[:, None], theta, at)
        updates, state = tx.update(jnp.nan_to_num(gradient), state)
        return theta + updates, state, best, at

    first = (starts, tx.init(starts), jnp.full((len(starts),), jnp.inf, dtype), starts)
    *_, best, at = jax.lax.fori_loop(0, STEPS, step, first)
    scales, amplitude, noise = unpack(at[jnp.argmin(best)])
    return _condition(
        kernel, x, known, errors, where, jnp.exp(scales), jnp.exp(amplitude) * scale,
        jnp.exp(noise) * scale, shift,
    )  # fmt: skip
