"""diffrax: a neural differential equation, trained as in its own example."""

import jax
import jax.numpy as jnp

from tests.conformance.side_by_side import needs

PACKAGE = "diffrax"
diffrax, eqx = needs("diffrax"), needs("equinox")
TIMES = jnp.linspace(0.0, 1.0, 8)
CURVES = jnp.stack([jnp.cos(2 * TIMES), -jnp.sin(2 * TIMES)], axis=1)


class Field(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, t, y, args):
        return self.mlp(y)


def loss(field):
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=1.0,
        dt0=0.1,
        y0=CURVES[0],
        saveat=diffrax.SaveAt(ts=TIMES),
    )
    return jnp.mean((solution.ys - CURVES) ** 2)


def test_neural_ode(same):
    """A neural ODE, 15 steps of adabelief through the solver's adjoint."""

    def job(tx):
        field = Field(eqx.nn.MLP(2, 2, 8, 1, activation=jnp.tanh, key=jax.random.key(0)))
        state = tx.init(eqx.filter(field, eqx.is_inexact_array))

        @eqx.filter_jit
        def step(field, state):
            value, grads = eqx.filter_value_and_grad(loss)(field)
            updates, state = tx.update(grads, state, eqx.filter(field, eqx.is_inexact_array))
            return eqx.apply_updates(field, updates), state, value

        for _ in range(15):
            field, state, value = step(field, state)
        return eqx.filter(field, eqx.is_inexact_array), value

    same(job, lambda lib: lib.adabelief(0.01, eps=1e-6), rtol=1e-3)
