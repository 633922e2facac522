"""Functions of matrices, batched over leading axes: inverse roots."""

from gradkit.linalg.inverse_root import inverse_root as inverse_root
from gradkit.linalg.inverse_root import matrix_inverse_pth_root as matrix_inverse_pth_root
