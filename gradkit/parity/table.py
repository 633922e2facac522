"""The table of counterparts: which part of gradkit stands for which of optax and of torch.optim, and how they are held together.

Names and arguments are optax's, so most rows are one call, ``lambda k: k.adamw(1e-2, weight_decay=0.1)``, made once by gradkit and once
by optax. Where the call differs a row has two; where the *rule* differs on purpose it has a note. torch's rules that gradkit does not have:

- AMSGrad takes the peak of the second moment before it is debiased (gradkit and optax: after);
- NAdam moves b1 along a schedule of its own (``momentum_decay``), which cannot be switched off;
- Adagrad's ``lr_decay``, SGD's ``dampening``: a schedule, and ``ema`` in the place of ``trace``.
"""

from gradkit.parity.row import ALL as ALL
from gradkit.parity.row import Row as Row
from gradkit.parity.row import installed as installed
from gradkit.parity.rows_catalogue import CATALOGUE
from gradkit.parity.rows_core import CORE
from gradkit.parity.rows_torch import TORCH
from gradkit.parity.rows_wrappers import WRAPPERS

TABLE: tuple[Row, ...] = (*CORE, *CATALOGUE, *WRAPPERS, *TORCH)
