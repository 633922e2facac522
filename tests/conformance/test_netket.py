"""NetKet: variational Monte Carlo takes an optax transform."""

from tests.conformance.side_by_side import needs

PACKAGE = "netket"
nk = needs("netket")


def vmc(tx, dtype):
    """The parameters after some steps towards the ground state of an Ising chain."""
    hilbert = nk.hilbert.Spin(s=1 / 2, N=6)
    hamiltonian = nk.operator.IsingJax(hilbert=hilbert, graph=nk.graph.Chain(6), h=1.0)
    state = nk.vqs.FullSumState(hilbert, nk.models.RBM(alpha=1, param_dtype=dtype), seed=0)
    nk.driver.VMC(hamiltonian, tx, variational_state=state).run(20, out=nk.logging.RuntimeLog(), show_progress=False)
    return state.parameters


def test_vmc_real(same):
    """VMC: an Ising chain, real parameters, 20 steps of adam with a schedule."""
    same(lambda tx: vmc(tx, float), lambda lib: lib.adam(lib.exponential_decay(0.02, 10, 0.5), eps=1e-4), rtol=1e-4)


def test_vmc_complex(same):
    """VMC: an Ising chain, complex parameters, 20 steps of momentum."""
    same(lambda tx: vmc(tx, complex), lambda lib: lib.sgd(0.02, momentum=0.9), rtol=1e-4)
