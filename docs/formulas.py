r"""The methods in teaching order, each with its formula in TeX and the transform of its picture.

A method is a file of gradkit/optimizers or gradkit/wrappers; its page is docs/methods/<file>.md,
written by docs/methods.py. The symbols are those of the docstrings. ``\ema{x}{b}`` is the
exponential moving average of x with decay b, a hat is the debiased average, ``\D`` is Δθ
(docs/javascripts/math.js has the macros).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradkit as gk


@dataclass(frozen=True)
class Method:
    """A page: its formula, and how its picture is made."""

    tex: str
    make: Callable[[Any], gk.Transform] | None = None  # of the learning rate; None: gk.<name>(rate)
    rates: tuple[float, float] = (1e-3, 5.0)  # where the picture's learning rate is looked for
    fixed: bool = False  # the method sets its own step size: the picture shows the defaults
    examples: bool = False  # takes the gradients of single examples
    extras: str = ""  # what its note says of the extra arguments
    room: str = "optimizers"  # the package of its module
    matrix: bool = False  # for matrices: the picture's point is the diagonal of one

    def transform(self, name: str, rate: Any) -> gk.Transform:
        """The transform at a learning rate."""
        return self.make(rate) if self.make else getattr(gk, name)(rate)


def _lines(*lines: str) -> str:
    return "\\begin{aligned}\n" + " \\\\[0.7em]\n".join(lines) + "\n\\end{aligned}"


ADAM_AVERAGES = r"m &= \ema{g}{b_1}, \qquad v = \ema{|g|^2}{b_2}"

SEARCHED = "the loss, its gradient and the loss as a function of the parameters (`value`, `grad`,"
SEARCHED += " `value_fn`), for the line search"

FAMILIES: dict[str, dict[str, Method]] = {
    "Gradient descent and momentum": {
        "sgd": Method(
            _lines(
                r"\D_t &= -\alpha_t\, M_t, \qquad H_t = g_t + \rho\, H_{t-1}",
                r"M_t &= g_t \quad\text{(plain)}, \qquad H_t \quad\text{(momentum)}, \qquad"
                r" g_t + \rho\, H_t \quad\text{(Nesterov)}",
            ),
            lambda rate: gk.sgd(rate, momentum=0.9),
        ),
        "momentum": Method(
            r"\D_t = -\alpha_t\, v_t, \qquad v_t = \beta\, v_{t-1} + (1-\beta)\, g_t"
        ),
        "nesterov": Method(
            r"\D_t = \rho\, \D_{t-1} - \alpha_t \nabla L(\theta_{t-1} + \rho\, \D_{t-1})",
            extras="the loss as a function of the parameters (`value_fn`), because the gradient is"
            " taken at the look-ahead point",
        ),
        "sign_sgd": Method(r"\D_t = -\alpha_t \operatorname{sign}(g_t)"),
        "signum": Method(r"\D_t = -\alpha_t \operatorname{sign}(m_t), \qquad m = \ema{g}{\beta}"),
        "lion": Method(
            r"\D_t = -\alpha_t \bigl(\operatorname{sign}(b_1 m_{t-1} + (1-b_1)\, g_t)"
            r" + \lambda\, \theta_t\bigr), \qquad m = \ema{g}{b_2}"
        ),
        "optimistic_gradient_descent": Method(
            r"\D_t = -\eta_t \bigl(\alpha\, g_t + \beta\, (g_t - g_{t-1})\bigr),"
            r" \qquad \D_1 = -\eta_1\, \alpha\, g_1"
        ),
        "asgd": Method(
            _lines(
                r"\D_t &= -\eta_t\, (g_t + \lambda\, \theta_t), \qquad"
                r" \eta_t = \frac{\eta}{(1 + \lambda\, \eta\, t)^{a}}",
                r"A_t &= \text{the mean of } \theta \text{ from step } t_0 \text{ on}",
            )
        ),
        "noisy_sgd": Method(
            r"\D_t = -\alpha_t\, (g_t + \sigma_t\, n_t), \qquad n_t \sim \mathcal{N}(0, 1),"
            r" \qquad \sigma_t^2 = \frac{\eta}{t^{\gamma}}",
            lambda rate: gk.noisy_sgd(rate, key=0),
        ),
        "grokfast": Method(
            r"u_t = g_t + \lambda\, h_t, \qquad h_t = a\, h_{t-1} + (1-a)\, g_t, \qquad h_1 = g_1",
            lambda rate: gk.chain(gk.grokfast(), gk.sgd(rate)),
        ),
    },
    "One learning rate for each element": {
        "adagrad": Method(
            r"\D_t = -\alpha_t \frac{g_t}{\sqrt{G_t + \varepsilon}},"
            r" \qquad G_t = a + \sum_{s \le t} |g_s|^2"
        ),
        "rmsprop": Method(
            r"\D_t = -\alpha_t \frac{g_t}{\sqrt{G_t + \varepsilon}}, \qquad G = \ema{|g|^2}{\beta}"
            r" \quad\text{or, centered,}\quad \ema{|g|^2}{\beta} - |\ema{g}{\beta}|^2"
        ),
        "adadelta": Method(
            _lines(
                r"\D_t &= -\alpha_t\, u_t, \qquad"
                r" u_t = \frac{\sqrt{X_{t-1} + \varepsilon}}{\sqrt{G_t + \varepsilon}}\, g_t",
                r"G &= \ema{|g|^2}{\rho}, \qquad X = \ema{|u|^2}{\rho}",
            ),
            rates=(0.1, 1000.0),
        ),
        "rprop": Method(
            _lines(
                r"\D_t &= -\Delta_t \operatorname{sign}(g_t)",
                r"\Delta_t &= \begin{cases}"
                r"\min(\eta_+ \Delta_{t-1}, \Delta_{\max}) & g_t\, g_{t-1} > 0 \\"
                r"\max(\eta_- \Delta_{t-1}, \Delta_{\min}) & g_t\, g_{t-1} < 0,"
                r" \text{ and } g_t \text{ becomes } 0 \end{cases}",
            )
        ),
    },
    "Adam and its relatives": {
        "adam": Method(
            _lines(
                r"\D_t &= -\alpha_t \frac{\hat m_t}{\sqrt{\hat v_t + \varepsilon_{\text{root}}}"
                r" + \varepsilon}",
                ADAM_AVERAGES,
            )
        ),
        "adamw": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{\hat m_t}{\sqrt{\hat v_t"
                r" + \varepsilon_{\text{root}}} + \varepsilon} + \lambda\, \theta_t\right)",
                ADAM_AVERAGES,
            )
        ),
        "nadam": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{\tilde m_t}{\sqrt{\hat v_t"
                r" + \varepsilon_{\text{root}}} + \varepsilon} + \lambda\, \theta_t\right)"
                r" \qquad (\lambda = 0 \text{ for nadam})",
                r"\tilde m_t &= \frac{b_1\, m_t}{1 - b_1^{t+1}} + \frac{(1-b_1)\, g_t}{1 - b_1^t}",
                ADAM_AVERAGES,
            )
        ),
        "adamax": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{\hat m_t}{v_t} + \lambda\, \theta_t\right)"
                r" \qquad (\lambda = 0 \text{ for adamax})",
                r"m &= \ema{g}{b_1}, \qquad v_t = \max(|g_t| + \varepsilon,\; b_2\, v_{t-1})",
            )
        ),
        "amsgrad": Method(
            _lines(
                r"\D_t &= -\alpha_t \frac{\hat m_t}{\sqrt{\max_{s \le t} \hat v_s"
                r" + \varepsilon_{\text{root}}} + \varepsilon}",
                ADAM_AVERAGES,
            )
        ),
        "radam": Method(
            _lines(
                r"\D_t &= -\alpha_t\, r_t \frac{\hat m_t}{\sqrt{\hat v_t"
                r" + \varepsilon_{\text{root}}} + \varepsilon} \quad\text{if } \rho_t \ge"
                r" \text{threshold, else}\quad -\alpha_t\, \hat m_t",
                r"r_t^2 &= \frac{(\rho_t - 4)(\rho_t - 2)\, \rho_\infty}"
                r"{(\rho_\infty - 4)(\rho_\infty - 2)\, \rho_t}",
                r"\rho_t &= \rho_\infty - \frac{2\, t\, b_2^t}{1 - b_2^t}, \qquad"
                r" \rho_\infty = \frac{2}{1-b_2} - 1",
            )
        ),
        "adabelief": Method(
            _lines(
                r"\D_t &= -\alpha_t \frac{\hat m_t}{\sqrt{\hat s_t} + \varepsilon}, \qquad"
                r" m = \ema{g}{b_1}",
                r"s_t &= b_2\, s_{t-1} + (1-b_2)\, |g_t - m_t|^2 + \varepsilon_{\text{root}}",
            )
        ),
        "yogi": Method(
            _lines(
                r"\D_t &= -\alpha_t \frac{\hat m_t}{\sqrt{\hat v_t + \varepsilon_{\text{root}}}"
                r" + \varepsilon}, \qquad m = \ema{g}{b_1}",
                r"v_t &= v_{t-1} - (1-b_2) \operatorname{sign}(v_{t-1} - |g_t|^2)\, |g_t|^2",
            )
        ),
        "laprop": Method(
            _lines(
                r"\D_t &= -\alpha_t\, (\hat m_t + \lambda\, \theta_t), \qquad v = \ema{|g|^2}{b_2}",
                r"m &= \ema{\frac{g}{\sqrt{\hat v + \varepsilon_{\text{root}}} +"
                r" \varepsilon}}{b_1}",
            )
        ),
        "adopt": Method(
            _lines(
                r"\D_t &= -\alpha_t\, m_t, \qquad v = \ema{|g|^2}{b_2}, \quad v_1 = |g_1|^2",
                r"m_t &= b_1\, m_{t-1} + (1-b_1) \operatorname{clip}\left("
                r"\frac{g_t}{\max(\sqrt{v_{t-1}}, \varepsilon)},\; \pm c_t\right)",
            )
        ),
        "acprop": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{g_t}{\sqrt{\hat s_{t-1}} + \varepsilon}"
                r" + \lambda\, \theta_t\right), \qquad m = \ema{g}{b_1}",
                r"s_t &= b_2\, s_{t-1} + (1-b_2)\, |g_t - m_{t-1}|^2 + \varepsilon_{\text{root}}",
            )
        ),
        "adan": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{\hat m_t + b_2\, \hat d_t}{\sqrt{\hat n_t"
                r" + \varepsilon_{\text{root}}} + \varepsilon} + \lambda\, \theta_t\right)",
                r"m &= \ema{g}{b_1}, \qquad d = \ema{g_t - g_{t-1}}{b_2}",
                r"n &= \ema{|g_t + b_2\, (g_t - g_{t-1})|^2}{b_3}",
            )
        ),
        "ademamix": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{M_t}{\sqrt{\hat v_t + \varepsilon_{\text{root}}}"
                r" + \varepsilon} + \lambda\, \theta_t\right), \qquad v = \ema{|g|^2}{b_2}",
                r"M &= \hat m_1 + a\, m_2, \qquad m_1 = \ema{g}{b_1}, \qquad m_2 = \ema{g}{b_3}",
                r"M_t &= m_t + a\, g_t, \qquad m_t = b_1 m_{t-1} + g_t"
                r" \qquad\text{(simplified)}",
            )
        ),
        "optimistic_adam": Method(
            r"\D_t = -\bigl(\alpha_t\, u_t + \omega_t\, (u_t - u_{t-1})\bigr), \qquad"
            r" u \text{ the direction of Adam}"
        ),
        "mars": Method(
            _lines(
                r"c_t &= g_t + \gamma\, \frac{b_1}{1-b_1}\, (g_t - g_{t-1}), \qquad c_1 = g_1",
                r"\D &= \text{AdamW of } c_t \min\left(1,"
                r" \frac{\text{max\_norm}}{\lVert c_t \rVert}\right)",
            )
        ),
        "madgrad": Method(
            _lines(
                r"\D_t &= (1-\rho)\, (z_t - \theta_t), \qquad"
                r" z_t = \theta_0 - \frac{s_t}{\sqrt[3]{n_t} + \varepsilon}",
                r"s_t &= \sum_{i \le t} \lambda_i\, g_i, \qquad"
                r" n_t = \sum_{i \le t} \lambda_i\, |g_i|^2, \qquad"
                r" \lambda_t = (\alpha_t + \varepsilon) \sqrt{t}",
            )
        ),
    },
    "Less state": {
        "adafactor": Method(
            _lines(
                r"\D_t &= -\alpha_t\, \max(\operatorname{rms}\theta, 10^{-3})\,"
                r" \operatorname{clip}_{\operatorname{rms}}\left(\frac{g_t}{\sqrt{V_t}}\right),"
                r" \qquad V_{ij} = \frac{R_i\, C_j}{\operatorname{mean} R}",
                r"R, C &= \text{averages of the row and column means of } |g|^2"
                r" \text{ with decay } 1 - t^{-c}",
            )
        ),
        "sm3": Method(
            _lines(
                r"\D_t &= -\alpha_t\, \ema{\frac{g}{\sqrt{G}}}{\beta}, \qquad"
                r" G_t = \min_r \mu_{t-1}(r) + g_t^2",
                r"\mu_t(r) &= \text{the maximum of } G_t \text{ over the slice } r,"
                r" \text{ one slice for each index of each axis}",
            )
        ),
        "adam_mini": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{\hat m_t}{\sqrt{\hat v_b} + \varepsilon}"
                r" + \lambda\, \theta_t\right), \qquad m = \ema{g}{b_1}",
                r"v_b &= \ema{\text{mean over the block } b \text{ of } |g|^2}{b_2}",
            )
        ),
        "came": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\frac{m_t}{\sqrt{S_t}} + \lambda\, \theta_t\right),"
                r" \qquad m = \ema{\hat u}{b_1}, \qquad"
                r" S = \ema{|\hat u - m|^2 + \varepsilon_2}{b_3}",
                r"\hat u &= \operatorname{clip}_{\operatorname{rms}}"
                r"\left(\frac{g}{\sqrt{V}}\right),"
                r" \qquad V = \ema{|g|^2 + \varepsilon_1}{b_2}",
            )
        ),
        "novograd": Method(
            _lines(
                r"\D_t &= -\alpha_t\, u_t, \qquad u_t = b_1\, u_{t-1} + \frac{g_t}{\sqrt{v_t"
                r" + \varepsilon_{\text{root}}} + \varepsilon} + \lambda\, \theta_t",
                r"v_t &= b_2\, v_{t-1} + (1-b_2)\, \lVert g_t \rVert^2, \qquad"
                r" v_1 = \lVert g_1 \rVert^2 \qquad\text{(one number for each leaf)}",
            )
        ),
    },
    "Large batches: norms of the layers": {
        "lars": Method(
            r"\D_t = \rho\, \D_{t-1} - \alpha_t\, \kappa\,"
            r" \frac{\lVert \theta \rVert}{\lVert u_t \rVert}\, u_t,"
            r" \qquad u_t = g_t + \lambda\, \theta_t",
            lambda rate: gk.lars(rate, trust_coefficient=0.1),
        ),
        "lamb": Method(
            r"\D_t = -\alpha_t \frac{\lVert \theta \rVert}{\lVert u_t \rVert}\, u_t, \qquad"
            r" u_t = \frac{\hat m_t}{\sqrt{\hat v_t + \varepsilon_{\text{root}}} + \varepsilon}"
            r" + \lambda\, \theta_t"
        ),
        "fromage": Method(
            r"\theta \leftarrow \frac{1}{\sqrt{1 + \alpha^2}} \left(\theta - \alpha"
            r" \frac{\lVert \theta \rVert}{\lVert g \rVert}\, g\right)"
        ),
    },
    "Matrices: orthogonalized momentum": {
        "muon": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\sqrt{\max(1, \tfrac{\text{out}}{\text{in}})}\,"
                r" U V^{\mathsf H} + \lambda\, \theta_t\right), \qquad"
                r" U \Sigma V^{\mathsf H} = \hat m_t, \qquad m = \ema{g}{\beta}",
                r"U V^{\mathsf H} &\approx X_5, \qquad X \leftarrow (a I + b A + c A^2) X,"
                r" \quad A = X X^{\mathsf H}, \quad X_0 = \frac{\hat m_t}{\lVert \hat m_t \rVert}",
            ),
            matrix=True,
        ),
        "normuon": Method(
            _lines(
                r"\D_t &= -\alpha_t \sqrt{\max(1, \tfrac{\text{out}}{\text{in}})}\,"
                r" \frac{\lVert u_t \rVert}{\lVert w_t \rVert}\, w_t, \qquad"
                r" w_t = \frac{u_t}{\sqrt{v_t} + \varepsilon}, \qquad u_t = U V^{\mathsf H}"
                r" \text{ of Muon}",
                r"v &= \ema{\text{mean over the inputs of } |u|^2}{\beta_2},"
                r" \text{ one for each output}",
            ),
            matrix=True,
        ),
        "scion": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\rho\, \operatorname{lmo}(m_t) + \theta_t\right),"
                r" \qquad m = \ema{g}{\beta}",
                r"\operatorname{lmo}(m) &= \sqrt{\tfrac{\text{out}}{\text{in}}}\, U V^{\mathsf H}"
                r" \text{ (hidden)}, \quad \tfrac{1}{\text{in}} \operatorname{sign}(m)"
                r" \text{ (last)}, \quad \frac{m}{\operatorname{rms} m} \text{ (vectors)}",
            ),
            make=lambda rate: gk.scion(rate, radius=3.0),
            rates=(1e-3, 1.0),
            matrix=True,
        ),
        "dion": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\sqrt{\tfrac{\text{out}}{\text{in}}}\, P V_t^{\mathsf H}"
                r" + \lambda\, \theta_t\right), \qquad P = \operatorname{qr}(B_t V_{t-1}), \qquad"
                r" B_t = M_{t-1} + g_t",
                r"M_t &= B_t - (1 - \beta)\, P R^{\mathsf H}, \qquad R = B_t^{\mathsf H} P, \qquad"
                r" V_t = R \text{ with unit columns}",
            ),
            make=lambda rate: gk.dion(rate, weight_decay=0.0),
            matrix=True,
        ),
    },
    "Curvature": {
        "sophia": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(\operatorname{clip}\left(\frac{\hat m_t}"
                r"{\max(\gamma\, h_t, \varepsilon)},\; \pm c\right) + \lambda\, \theta_t\right)",
                r"m &= \ema{g}{b_1}, \qquad h = \ema{\hat h}{b_2}, \qquad"
                r" \hat h \approx \operatorname{diag} \nabla^2 L \text{ every } k \text{ steps}",
            ),
            lambda rate: gk.sophia(rate, gamma=1.0),
            rates=(1e-3, 0.2),
            extras="the loss as a function of the parameters (`value_fn` or `obj_fn`)",
        ),
        "newton": Method(
            r"\D_t = -\alpha_t\, |H_t + \lambda I|^{-1} g_t, \qquad H = \nabla^2 L"
            r" = Q \Lambda Q^\top, \quad |H| = Q\, |\Lambda|\, Q^\top",
            lambda rate: gk.newton(),
            fixed=True,
            extras=SEARCHED,
        ),
        "newton_cg": Method(
            r"\D_t = -\alpha_t\, u_t, \qquad \lVert (H_t + \lambda I)\, u_t - g_t \rVert"
            r" \le \min\left(\tfrac12, \sqrt{\lVert g_t \rVert}\right) \lVert g_t \rVert,"
            r" \qquad \lVert u_t \rVert \le r_t",
            lambda rate: gk.newton_cg(),
            fixed=True,
            extras=SEARCHED,
        ),
        "levenberg_marquardt": Method(
            r"\D_t = -(J_t^\top J_t + \lambda_t D_t^2)^{-1} g_t, \qquad"
            r" g = J^\top r, \quad L = \tfrac12 \lVert r(\theta) \rVert^2",
            lambda rate: gk.levenberg_marquardt(),
            fixed=True,
            extras="the residuals as a function of the parameters (`residual_fn`)",
        ),
        "bfgs": Method(
            _lines(
                r"\D_t &= -\alpha_t\, H_t\, g_t, \qquad"
                r" H \leftarrow (I - \rho\, s y^\top)\, H\, (I - \rho\, y s^\top)"
                r" + \rho\, s s^\top",
                r"s &= \theta_t - \theta_{t-1}, \qquad y = g_t - g_{t-1}, \qquad"
                r" \rho = \frac{1}{s^\top y}",
            ),
            lambda rate: gk.bfgs(),
            fixed=True,
            extras=SEARCHED,
        ),
        "nonlinear_cg": Method(
            _lines(
                r"\D_t &= -\alpha_t\, u_t, \qquad u_t = g_t + \beta_t\, u_{t-1}",
                r"\beta_t &= \max\left(0, \frac{g_t^\top (g_t - g_{t-1})}"
                r"{\lVert g_{t-1} \rVert^2}\right) \qquad\text{(Polak–Ribière+)}",
            ),
            lambda rate: gk.nonlinear_cg(),
            fixed=True,
            extras=SEARCHED,
        ),
    },
    "Matrix preconditioners": {
        "shampoo": Method(
            _lines(
                r"\D_t &= -\alpha_t\, (u_t + \lambda\, \theta_t), \qquad"
                r" u_t = \hat L_t^{-1/4}\, \hat m_t\, \hat R_t^{-1/4}, \qquad m = \ema{g}{b_1}",
                r"L &= \ema{g\, g^\top}{b_2}, \qquad R = \ema{g^\top g}{b_2}, \qquad"
                r" \lVert u_t \rVert \text{ that of another optimizer}",
            ),
            lambda rate: gk.shampoo(
                rate, precondition_frequency=1, precondition_1d=True, matrix_epsilon=1e-4
            ),
        ),
        "soap": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(Q_L \frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon}"
                r" Q_R^\top + \lambda\, \theta_t\right), \qquad g' = Q_L^\top g\, Q_R",
                r"m &= \ema{g'}{b_1}, \quad v = \ema{|g'|^2}{b_2}, \quad Q_L, Q_R ="
                r" \text{eigenvectors of } \ema{g\, g^\top}{\beta}, \ema{g^\top g}{\beta}",
            ),
            lambda rate: gk.soap(
                rate, weight_decay=0.0, precondition_frequency=1, precondition_1d=True
            ),
        ),
        "psgd_kron": Method(
            _lines(
                r"\D_t &= -\alpha_t\, (\operatorname{clip}(Q_L^\top Q_L\, \hat m_t\, Q_R^\top Q_R)"
                r" + \lambda\, \theta_t), \qquad m = \ema{g}{b_1}",
                r"Q &\leftarrow Q - \mu\, \frac{A A^\top - B B^\top}{\lVert A A^\top + B B^\top"
                r" \rVert}\, Q, \quad A = Q_L \hat m\, Q_R^\top, \quad"
                r" B = Q_L^{-\top} n\, Q_R^{-1}",
            ),
            lambda rate: gk.psgd_kron(rate, min_ndim_triangular=1),
        ),
        "galore": Method(
            _lines(
                r"\D_t &= -\alpha_t \left(s\, P\, A(P^\top g_t) + \lambda\, \theta_t\right)",
                r"P &= \text{the first } r \text{ singular vectors of } g, \text{ every } k"
                r" \text{ steps}, \qquad A = \text{Adam}",
            ),
            lambda rate: gk.galore(rate),
        ),
    },
    "The step size from the loss or the distance": {
        "polyak_sgd": Method(
            r"\D_t = -s_t\, \min\left(\frac{f(\theta_t) - f^*}{\lVert g_t \rVert^2 + \varepsilon},"
            r"\; \gamma_{\max}\right) g_t",
            lambda rate: gk.polyak_sgd(),
            fixed=True,
            extras="the loss (`value`)",
        ),
        "momo": Method(
            _lines(
                r"\D_t &= -\tau_t\, \frac{M_t}{P_t}, \qquad \tau_t = \min\left(\alpha_t,\;"
                r" \frac{(\bar f + \langle M, \theta \rangle - \bar\gamma - f^*)_+}"
                r"{\langle M, M / P \rangle}\right)",
                r"M, \bar f, \bar\gamma &= \text{averages of } g,\; f(\theta) \text{ and }"
                r" \langle g, \theta \rangle, \qquad P = 1 \text{ or that of Adam}",
            ),
            lambda rate: gk.momo(),
            fixed=True,
            extras="the loss (`value`)",
        ),
        "dog": Method(
            r"\D_t = -\alpha_t \frac{r_t}{\sqrt{G_t + \varepsilon}}\, g_t, \qquad"
            r" r_t = \max_{s \le t} \lVert \theta_s - \theta_0 \rVert, \qquad"
            r" G_t = \sum_{s \le t} \lVert g_s \rVert^2",
            lambda rate: gk.dog(init_step=("distance", 0.05)),
            fixed=True,
        ),
        "dowg": Method(
            r"\D_t = -\alpha_t \frac{d_t}{\sqrt{v_t} + \varepsilon}\, g_t, \qquad"
            r" d_t = \max_{s \le t} \lVert \theta_s - \theta_0 \rVert^2, \qquad"
            r" v_t = \sum_{s \le t} d_s \lVert g_s \rVert^2",
            lambda rate: gk.dowg(init_estim_sq_dist=0.01),
            fixed=True,
        ),
        "dadapt_adamw": Method(
            _lines(
                r"\D_t &= -\frac{m_t}{\sqrt{v_t} + \varepsilon} - w\, \lambda_t\, \theta_t, \qquad"
                r" d_t = \max\left(d_{t-1},\; \frac{r_t}{(1-\beta)\, \lVert S_t \rVert_1}\right)",
                r"m &= \ema{\lambda_t\, g}{b_1}, \qquad v = \ema{g^2}{b_2}, \qquad"
                r" \lambda_t = d_t\, \alpha_t \frac{\sqrt{1 - b_2^t}}{1 - b_1^t}",
                r"S &= \ema{\lambda_t\, g}{\beta}, \qquad r = \ema{\lambda_t\, \langle g,"
                r" S / (\sqrt{v} + \varepsilon) \rangle}{\beta}, \qquad \beta = \sqrt{b_2}",
            ),
            lambda rate: gk.dadapt_adamw(estim_lr0=0.01),
            fixed=True,
        ),
        "prodigy": Method(
            _lines(
                r"\D_t &= -\lambda_t \frac{m_t}{\sqrt{v_t} + d_t\, \varepsilon}"
                r" - w\, \lambda_t\, \theta_t, \qquad d_t = \max\left(d_{t-1},\; \frac{c\, r_t}"
                r"{\lVert S_t \rVert_1}\right)",
                r"m &= \ema{d\, g}{b_1}, \qquad v = \ema{d^2 g^2}{b_2}, \qquad"
                r" \lambda_t = d_t\, \alpha_t \frac{\sqrt{1 - b_2^t}}{1 - b_1^t}",
                r"S_t &= b_3\, S_{t-1} + \lambda_t\, d_t\, g_t / d_0, \qquad r_t = b_3\, r_{t-1}"
                r" + \frac{d_t}{d_0}\, \lambda_t\, \langle g_t, \theta_0 - \theta_t \rangle",
            ),
            lambda rate: gk.prodigy(estim_lr0=0.01),
            fixed=True,
        ),
        "cocob": Method(
            _lines(
                r"\theta &\leftarrow \theta_0 + C\, \frac{L + W}{L \max(S + L,\; a\, L)}",
                r"C &= -\sum g, \qquad L = \max |g|, \qquad S = \sum |g|, \qquad"
                r" W = \text{the reward so far}",
            ),
            lambda rate: gk.cocob(alpha=10.0),
            fixed=True,
        ),
    },
    "Quasi-Newton methods": {
        "lbfgs": Method(
            _lines(
                r"\D_t &= -\alpha_t\, \eta_t\, H_t\, g_t, \qquad"
                r" H \leftarrow (I - \rho\, s\, y^\top)\, H\, (I - \rho\, y\, s^\top)"
                r" + \rho\, s\, s^\top \text{ for the last } m \text{ pairs, from } \gamma I",
                r"s &= \theta_t - \theta_{t-1}, \qquad y = g_t - g_{t-1}, \qquad"
                r" \rho = \frac{1}{s^\top y}, \qquad \gamma = \frac{s^\top y}{y^\top y},"
                r" \qquad \eta_t \text{ by a line search}",
            ),
            lambda rate: gk.lbfgs(),
            fixed=True,
            extras="the loss, its gradient, and the loss as a function of the parameters (`value`,"
            " `grad`, `value_fn`)",
        ),
    },
    "Privacy": {
        "dpsgd": Method(
            r"\D_t = -\alpha_t\, M_t, \qquad M = \frac{1}{n} \left(\sum_{i=1}^n"
            r" g_i \min\left(1, \frac{C}{\lVert g_i \rVert}\right) + \sigma\, C\, \xi\right),"
            r" \qquad \xi \sim \mathcal{N}(0, 1)",
            lambda rate: gk.dpsgd(rate, 4.0, 0.1, 0),
            examples=True,
        ),
    },
}

FAMILIES["Around another optimizer"] = {
    "lookahead": Method(
        _lines(
            r"\varphi &\leftarrow \varphi + \text{fast}(g), \qquad g \text{ the gradient at }"
            r" \varphi",
            r"\theta &\leftarrow \theta + \alpha\, (\varphi - \theta), \qquad"
            r" \varphi \leftarrow \theta \qquad\text{on every } k\text{-th step}",
        ),
        lambda rate: gk.lookahead(gk.sgd(rate, momentum=0.9), 6, 0.5),
        room="wrappers",
    ),
    "sam": Method(
        r"\D_t = \text{optimizer}\bigl(\nabla L(\theta_t - \text{adv}(g_t))\bigr), \qquad"
        r" \text{adv}(g) = -\rho\, \frac{g}{\lVert g \rVert} \quad\text{in the paper}",
        lambda rate: gk.sam(
            gk.sgd(rate, momentum=0.9), gk.chain(gk.normalize(), gk.sgd(0.05)), opaque_mode=True
        ),
        room="wrappers",
        extras="the loss as a function of the parameters (`value_fn`) or a gradient function"
        " (`grad_fn`), with `opaque_mode=True`",
    ),
    "schedule_free": Method(
        _lines(
            r"z_{t+1} &= z_t + \text{inner}(\nabla L(y_t)), \qquad"
            r" y_t = (1 - b_1)\, z_t + b_1\, x_t",
            r"x_{t+1} &= (1 - c_t)\, x_t + c_t\, z_{t+1}, \qquad"
            r" c_t = \frac{w_t}{\sum_{s \le t} w_s}, \qquad w_t = (\max_{s \le t} \alpha_s)^r",
        ),
        lambda rate: gk.schedule_free_sgd(rate),
        room="wrappers",
    ),
    "mechanize": Method(
        r"\theta_t = \theta_0 + \Bigl(\sum_i s_{t,i}\Bigr)\, \Delta_t, \qquad"
        r" \Delta_{t+1} = \Delta_t + \text{the update of the base optimizer}",
        lambda rate: gk.mechanize(gk.sgd(0.05), s_init=0.01),
        fixed=True,
        room="wrappers",
    ),
    "cautious": Method(
        r"u \leftarrow u\, \varphi\, \frac{n}{\sum \varphi + \varepsilon}, \qquad"
        r" \varphi = \begin{cases} 1 & u\, g < 0 \\ 0 & \text{elsewhere} \end{cases}, \qquad"
        r" u = \text{inner}(g) \text{, a leaf of } n \text{ elements}",
        lambda rate: gk.cautious(gk.adam(rate)),
        room="wrappers",
    ),
}

SCHEDULES: dict[str, dict[str, str]] = {
    "constant": {
        "constant_schedule": r"\alpha_t = c",
        "piecewise_constant_schedule": r"\alpha_t = I \prod_{b_i \le t} s_i",
    },
    "decay": {
        "linear_schedule": r"\alpha_t = I + (E - I)\, \tfrac{t}{T}",
        "polynomial_schedule": r"\alpha_t = E + (I - E) \left(1 - \tfrac{t}{T}\right)^p",
        "cosine_decay_schedule": r"\alpha_t = I \left(a + (1-a)\, w^p\right), \quad"
        r" w = \tfrac12 \left(1 + \cos \tfrac{\pi t}{T}\right)",
        "exponential_decay": r"\alpha_t = I\, r^{t/T}",
        "natural_exponential_decay": r"\alpha_t = I\, e^{-r\, t/T}",
        "inverse_time_decay": r"\alpha_t = \frac{I}{1 + r\, t/T}",
        "inverse_sqrt_schedule": r"\alpha_t = P \min\left(\tfrac{t}{W}, \sqrt{W/t}\right),"
        r" \quad t = \text{step} + 1",
        "adafactor_decay_schedule": r"\beta_t = 1 - t^{-c}, \quad t = \text{step} + 1",
    },
    "warmup": {
        "linear_warmup": r"\alpha_t = \tfrac{t}{W}\, s(0) \text{ for } t = \text{step} + 1 \le W,"
        r" \text{ then } s(\text{step} - W)",
        "warmup_constant_schedule": r"\alpha_t = I + (P - I)\, \tfrac{t}{W} \text{ for } t \le W,"
        r" \text{ then } P",
        "warmup_cosine_decay_schedule": r"\text{then } E + (P - E)\, w^p, \quad w = \tfrac12"
        r" \left(1 + \cos \tfrac{\pi (t - W)}{D - W}\right)",
        "warmup_exponential_decay_schedule": r"\text{then } P\, r^{(t - W)/T}",
        "warmup_stable_decay_schedule": r"\text{then } P \text{ for } S \text{ steps, then }"
        r" E + (P - E)\, c(x), \quad c(x) \in \{1 - x,\; \tfrac12 (1 + \cos \pi x),\;"
        r" 1 - \sqrt{x}\}",
    },
    "cycles": {
        "triangular_schedule": r"\alpha_t = \gamma^{m-1} \left(\alpha_{\min} + (\alpha_{\max}"
        r" - \alpha_{\min}) \left(1 - \left\lvert\tfrac{t}{\Delta T} - 2m + 1"
        r"\right\rvert\right)\right),"
        r" \quad m = \left\lfloor 1 + \tfrac{t}{2 \Delta T} \right\rfloor",
        "warm_restarts_schedule": r"\alpha_t = \gamma^{m-1} I \left(a + \tfrac{1-a}{2}"
        r" \left(1 + \cos \tfrac{\pi t}{T_m}\right)\right), \quad T_m = \kappa\, T_{m-1}",
        "sgdr_schedule": r"\text{one warmup and cosine decay for each period}",
    },
    "onecycle": {
        "linear_onecycle_schedule": r"\text{lines through } \tfrac{P}{d} \text{ at } 0,\; P"
        r" \text{ at } p_1 T,\; \tfrac{P}{d} \text{ at } p_2 T,\; \tfrac{P}{d f} \text{ at } T",
        "cosine_onecycle_schedule": r"\text{half cosines through } \tfrac{P}{d} \text{ at } 0,\; P"
        r" \text{ at } p_1 T,\; \tfrac{P}{d f} \text{ at } T",
    },
    "join": {
        "join_schedules": r"\alpha_t = s_i(t - b_i) \text{ for } b_i \le t < b_{i+1}",
        "piecewise_interpolate_schedule": r"v_0 = I \text{ at } 0, \quad v_i = v_{i-1}\, s_i"
        r" \text{ at } b_i, \quad \text{between them a line or half a cosine}",
    },
    "epochs": {
        "per_epoch": r"\alpha_t = s\left(\lfloor t / n \rfloor\right)",
        "linear_scaling_rule": r"\alpha \leftarrow \alpha\, \tfrac{B}{B_0}",
    },
}
