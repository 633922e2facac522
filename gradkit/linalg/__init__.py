"""Functions of matrices: pure, batched, and tested alone.

| function | returns |
|---|---|
| ``nnls(A, b, iters)`` | the x ≥ 0 with the least ‖A x − b‖ |
"""

from gradkit.linalg.nnls import nnls as nnls
