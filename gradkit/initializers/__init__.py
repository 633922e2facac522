"""Initial parameters: draws whose variance suits the activation, and pretrained values.

An initializer is a function ``initializer(key, shape, dtype)``, as in ``jax.nn.initializers``, and
is what the layers of Flax take as ``kernel_init`` and ``bias_init``.

| | |
|---|---|
| ``gaussian(mean, stddev)``, ``symmetric_uniform(bound)`` | a fixed variance |
| ``lecun()`` | the variance 1 / fan_in |
| ``xavier(activation)`` | 2 / (fan_in + fan_out), times 16 for the logistic function |
| ``he(negative_slope)`` | 2 / fan_in, for ReLU and leaky ReLU |
| ``variance_preserving(activation)`` | gain² / fan_in, for any activation |
| ``orthogonal(scale)``, ``sparse(connections)`` | orthonormal columns; few connections |
| ``lsuv(outputs, params, *args)`` | outputs of unit variance on data |
| ``gain(activation)``, ``fans(shape)`` | what the variances are made of |
| ``warm_start(params, pretrained)`` | values of another tree, with a report |

The names of ``jax.nn.initializers`` are here too, as they are there: ``constant``, ``normal``,
``uniform``, ``truncated_normal``, ``variance_scaling``, ``lecun_normal``, ``glorot_uniform``, ...
"""

from jax.nn.initializers import Initializer as Initializer
from jax.nn.initializers import constant as constant
from jax.nn.initializers import delta_orthogonal as delta_orthogonal
from jax.nn.initializers import glorot_normal as glorot_normal
from jax.nn.initializers import glorot_uniform as glorot_uniform
from jax.nn.initializers import he_normal as he_normal
from jax.nn.initializers import he_uniform as he_uniform
from jax.nn.initializers import kaiming_normal as kaiming_normal
from jax.nn.initializers import kaiming_uniform as kaiming_uniform
from jax.nn.initializers import lecun_normal as lecun_normal
from jax.nn.initializers import lecun_uniform as lecun_uniform
from jax.nn.initializers import normal as normal
from jax.nn.initializers import ones as ones
from jax.nn.initializers import truncated_normal as truncated_normal
from jax.nn.initializers import uniform as uniform
from jax.nn.initializers import variance_scaling as variance_scaling
from jax.nn.initializers import xavier_normal as xavier_normal
from jax.nn.initializers import xavier_uniform as xavier_uniform
from jax.nn.initializers import zeros as zeros

from gradkit.initializers.draws import gaussian as gaussian
from gradkit.initializers.draws import orthogonal as orthogonal
from gradkit.initializers.draws import sparse as sparse
from gradkit.initializers.draws import symmetric_uniform as symmetric_uniform
from gradkit.initializers.gain import gain as gain
from gradkit.initializers.lsuv import lsuv as lsuv
from gradkit.initializers.scaling import fans as fans
from gradkit.initializers.scaling import he as he
from gradkit.initializers.scaling import lecun as lecun
from gradkit.initializers.scaling import variance_preserving as variance_preserving
from gradkit.initializers.scaling import xavier as xavier
from gradkit.initializers.warm_start import WarmStart as WarmStart
from gradkit.initializers.warm_start import warm_start as warm_start
