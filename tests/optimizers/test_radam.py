"""RAdam under JAX's transformations."""

import jax
import jax.numpy as jnp

import gradkit as gk


def test_radam_says_whether_it_divides_without_leaking_a_tracer():
    tx = gk.radam(0.1)
    with jax.checking_leaks():
        jax.jit(lambda g: tx.update(g, tx.init(g)))(jnp.ones(2))
