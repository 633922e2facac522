"""Euclidean projections onto sets, as in ``optax.projections``.

Each function takes a pytree as one vector x and returns the nearest point p of a set, argmin ‖x −
p‖. The transform ``project`` keeps parameters in such a set.

| | set |
|---|---|
| ``projection_non_negative`` | p ≥ 0 |
| ``projection_box`` | lower ≤ p ≤ upper |
| ``projection_hypercube`` | 0 ≤ p ≤ scale |
| ``projection_simplex`` | p ≥ 0, Σp = scale |
| ``projection_l1_ball``, ``projection_l1_sphere`` | ‖p‖₁ ≤ scale, ‖p‖₁ = scale |
| ``projection_l2_ball``, ``projection_l2_sphere`` | ‖p‖₂ ≤ scale, ‖p‖₂ = scale |
| ``projection_linf_ball`` | ‖p‖∞ ≤ scale |
| ``projection_vector`` | p = t a |
| ``projection_hyperplane``, ``projection_halfspace`` | ⟨a, p⟩ = b, ⟨a, p⟩ ≤ b |

All are exact (by sorting, where a threshold is needed), differentiable almost everywhere with
finite derivatives elsewhere, and work under ``jit`` and ``vmap``. They compute in float32 or wider
and round once, to the dtype of the leaf. An empty set is refused where its numbers are known;
traced numbers are not judged.
"""

from gradkit.projections.bounds import projection_box as projection_box
from gradkit.projections.bounds import projection_hypercube as projection_hypercube
from gradkit.projections.bounds import projection_linf_ball as projection_linf_ball
from gradkit.projections.bounds import projection_non_negative as projection_non_negative
from gradkit.projections.norms import projection_l1_ball as projection_l1_ball
from gradkit.projections.norms import projection_l1_sphere as projection_l1_sphere
from gradkit.projections.norms import projection_l2_ball as projection_l2_ball
from gradkit.projections.norms import projection_l2_sphere as projection_l2_sphere
from gradkit.projections.norms import projection_simplex as projection_simplex
from gradkit.projections.planes import projection_halfspace as projection_halfspace
from gradkit.projections.planes import projection_hyperplane as projection_hyperplane
from gradkit.projections.planes import projection_vector as projection_vector
