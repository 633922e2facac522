"""Second derivatives of functions on trees: products with matrices, and diagonals.

| function | computes |
|---|---|
| ``hessian_vector_product(fun, params, vector)`` | H v, at about four times the cost of ``fun`` |
| ``gauss_newton_vector_product(residuals, params, vector)`` | Jᵀ J v, or Jᵀ H_loss J v |
| ``hessian_matrix(fun, params)`` | H, as a matrix over all elements |
| ``jacobian_matrix(residuals, params)`` | J, as a matrix over all elements |
| ``hutchinson_diagonal(product, params, key)`` | an unbiased estimate of a matrix's diagonal |
| ``hvp``, ``hessian_diag``, ``fisher_diag`` | the functions of ``optax.second_order`` |

Parameters are real; for complex ones, differentiate with respect to their real and imaginary parts.
"""

from gradkit.curvature.diagonal import fisher_diag as fisher_diag
from gradkit.curvature.diagonal import hessian_diag as hessian_diag
from gradkit.curvature.diagonal import hutchinson_diagonal as hutchinson_diagonal
from gradkit.curvature.products import gauss_newton_vector_product as gauss_newton_vector_product
from gradkit.curvature.products import hessian_matrix as hessian_matrix
from gradkit.curvature.products import hessian_vector_product as hessian_vector_product
from gradkit.curvature.products import hvp as hvp
from gradkit.curvature.products import jacobian_matrix as jacobian_matrix
