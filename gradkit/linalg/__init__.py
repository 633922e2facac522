"""Functions of matrices: pure, batched, and tested alone.

| function | returns |
|---|---|
| ``orthogonalize(x)`` | the polar factor of x: its singular values become 1 |
| ``clip_singular_values(x, max_value)`` | x with its singular values bounded |
| ``spectral_norm(x)`` | the largest singular value |
| ``inverse_root(a, p)`` | A^(−1/p), by eigenvalues or by a coupled Newton iteration |
| ``power_iteration(matrix)`` | the dominant eigenvalue and its eigenvector |
| ``nnls(A, b, iters)`` | the x ≥ 0 with the least ‖A x − b‖ |
"""

from gradkit.linalg.dimensions import MuonDimensionNumbers as MuonDimensionNumbers
from gradkit.linalg.inverse_root import inverse_root as inverse_root
from gradkit.linalg.inverse_root import matrix_inverse_pth_root as matrix_inverse_pth_root
from gradkit.linalg.nnls import nnls as nnls
from gradkit.linalg.orthogonalize import COEFFICIENTS as COEFFICIENTS
from gradkit.linalg.orthogonalize import orthogonalize as orthogonalize
from gradkit.linalg.power_iteration import power_iteration as power_iteration
from gradkit.linalg.spectrum import clip_singular_values as clip_singular_values
from gradkit.linalg.spectrum import spectral_norm as spectral_norm
