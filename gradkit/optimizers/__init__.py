"""Optimizers, one method a file."""

from gradkit.optimizers.acprop import acprop as acprop
from gradkit.optimizers.acprop import scale_by_acprop as scale_by_acprop
from gradkit.optimizers.adabelief import adabelief as adabelief
from gradkit.optimizers.adabelief import scale_by_belief as scale_by_belief
from gradkit.optimizers.adadelta import adadelta as adadelta
from gradkit.optimizers.adadelta import scale_by_adadelta as scale_by_adadelta
from gradkit.optimizers.adafactor import adafactor as adafactor
from gradkit.optimizers.adafactor import scale_by_factored_rms as scale_by_factored_rms
from gradkit.optimizers.adagrad import adagrad as adagrad
from gradkit.optimizers.adagrad import scale_by_rss as scale_by_rss
from gradkit.optimizers.adam import adam as adam
from gradkit.optimizers.adam import scale_by_adam as scale_by_adam
from gradkit.optimizers.adam_mini import adam_mini as adam_mini
from gradkit.optimizers.adam_mini import scale_by_adam_mini as scale_by_adam_mini
from gradkit.optimizers.adamax import adamax as adamax
from gradkit.optimizers.adamax import adamaxw as adamaxw
from gradkit.optimizers.adamax import scale_by_adamax as scale_by_adamax
from gradkit.optimizers.adamw import adamw as adamw
from gradkit.optimizers.adan import adan as adan
from gradkit.optimizers.adan import scale_by_adan as scale_by_adan
from gradkit.optimizers.ademamix import ademamix as ademamix
from gradkit.optimizers.ademamix import scale_by_ademamix as scale_by_ademamix
from gradkit.optimizers.ademamix import scale_by_simplified_ademamix as scale_by_simplified_ademamix
from gradkit.optimizers.ademamix import simplified_ademamix as simplified_ademamix
from gradkit.optimizers.adopt import adopt as adopt
from gradkit.optimizers.adopt import scale_by_adopt as scale_by_adopt
from gradkit.optimizers.amsgrad import amsgrad as amsgrad
from gradkit.optimizers.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from gradkit.optimizers.asgd import asgd as asgd
from gradkit.optimizers.asgd import scale_by_asgd as scale_by_asgd
from gradkit.optimizers.bfgs import bfgs as bfgs
from gradkit.optimizers.bfgs import dfp as dfp
from gradkit.optimizers.bfgs import scale_by_bfgs as scale_by_bfgs
from gradkit.optimizers.bfgs import scale_by_dfp as scale_by_dfp
from gradkit.optimizers.came import came as came
from gradkit.optimizers.cocob import cocob as cocob
from gradkit.optimizers.cocob import scale_by_cocob as scale_by_cocob
from gradkit.optimizers.dadapt_adamw import dadapt_adamw as dadapt_adamw
from gradkit.optimizers.dion import dion as dion
from gradkit.optimizers.dion import scale_by_dion as scale_by_dion
from gradkit.optimizers.dog import dog as dog
from gradkit.optimizers.dog import (
    scale_by_distance_over_gradients as scale_by_distance_over_gradients,
)
from gradkit.optimizers.dog import scale_by_dog as scale_by_dog
from gradkit.optimizers.dowg import dowg as dowg
from gradkit.optimizers.dowg import scale_by_dowg as scale_by_dowg
from gradkit.optimizers.dpsgd import dpsgd as dpsgd
from gradkit.optimizers.fromage import fromage as fromage
from gradkit.optimizers.galore import GaLoreDimensionNumbers as GaLoreDimensionNumbers
from gradkit.optimizers.galore import galore as galore
from gradkit.optimizers.galore import scale_by_galore as scale_by_galore
from gradkit.optimizers.grokfast import grokfast as grokfast
from gradkit.optimizers.lamb import lamb as lamb
from gradkit.optimizers.laprop import laprop as laprop
from gradkit.optimizers.lars import lars as lars
from gradkit.optimizers.lbfgs import lbfgs as lbfgs
from gradkit.optimizers.lbfgs import scale_by_lbfgs as scale_by_lbfgs
from gradkit.optimizers.levenberg_marquardt import gauss_newton as gauss_newton
from gradkit.optimizers.levenberg_marquardt import levenberg_marquardt as levenberg_marquardt
from gradkit.optimizers.levenberg_marquardt import scale_by_gauss_newton as scale_by_gauss_newton
from gradkit.optimizers.levenberg_marquardt import (
    scale_by_levenberg_marquardt as scale_by_levenberg_marquardt,
)
from gradkit.optimizers.lion import lion as lion
from gradkit.optimizers.lion import scale_by_lion as scale_by_lion
from gradkit.optimizers.madgrad import madgrad as madgrad
from gradkit.optimizers.madgrad import scale_by_madgrad as scale_by_madgrad
from gradkit.optimizers.mars import mars as mars
from gradkit.optimizers.momentum import momentum as momentum
from gradkit.optimizers.momo import momo as momo
from gradkit.optimizers.momo import momo_adam as momo_adam
from gradkit.optimizers.muon import muon as muon
from gradkit.optimizers.muon import scale_by_muon as scale_by_muon
from gradkit.optimizers.nadam import nadam as nadam
from gradkit.optimizers.nadam import nadamw as nadamw
from gradkit.optimizers.nesterov import nesterov as nesterov
from gradkit.optimizers.newton import newton as newton
from gradkit.optimizers.newton import scale_by_newton as scale_by_newton
from gradkit.optimizers.newton_cg import newton_cg as newton_cg
from gradkit.optimizers.newton_cg import scale_by_newton_cg as scale_by_newton_cg
from gradkit.optimizers.noisy_sgd import noisy_sgd as noisy_sgd
from gradkit.optimizers.nonlinear_cg import nonlinear_cg as nonlinear_cg
from gradkit.optimizers.nonlinear_cg import scale_by_nonlinear_cg as scale_by_nonlinear_cg
from gradkit.optimizers.normuon import normuon as normuon
from gradkit.optimizers.normuon import scale_by_normuon as scale_by_normuon
from gradkit.optimizers.novograd import novograd as novograd
from gradkit.optimizers.novograd import scale_by_novograd as scale_by_novograd
from gradkit.optimizers.optimistic_adam import optimistic_adam as optimistic_adam
from gradkit.optimizers.optimistic_adam import optimistic_adam_v2 as optimistic_adam_v2
from gradkit.optimizers.optimistic_gradient_descent import (
    optimistic_gradient_descent as optimistic_gradient_descent,
)
from gradkit.optimizers.optimistic_gradient_descent import (
    scale_by_optimistic_gradient as scale_by_optimistic_gradient,
)
from gradkit.optimizers.polyak_sgd import polyak_sgd as polyak_sgd
from gradkit.optimizers.polyak_sgd import scale_by_polyak as scale_by_polyak
from gradkit.optimizers.prodigy import prodigy as prodigy
from gradkit.optimizers.psgd_kron import psgd_kron as psgd_kron
from gradkit.optimizers.psgd_kron import scale_by_psgd_kron as scale_by_psgd_kron
from gradkit.optimizers.radam import radam as radam
from gradkit.optimizers.radam import scale_by_radam as scale_by_radam
from gradkit.optimizers.rmsprop import rmsprop as rmsprop
from gradkit.optimizers.rmsprop import scale_by_rms as scale_by_rms
from gradkit.optimizers.rmsprop import scale_by_stddev as scale_by_stddev
from gradkit.optimizers.rprop import rprop as rprop
from gradkit.optimizers.rprop import scale_by_rprop as scale_by_rprop
from gradkit.optimizers.scion import scale_by_lmo as scale_by_lmo
from gradkit.optimizers.scion import scion as scion
from gradkit.optimizers.sgd import sgd as sgd
from gradkit.optimizers.shampoo import scale_by_shampoo as scale_by_shampoo
from gradkit.optimizers.shampoo import shampoo as shampoo
from gradkit.optimizers.sign_sgd import sign_sgd as sign_sgd
from gradkit.optimizers.signum import signum as signum
from gradkit.optimizers.sm3 import scale_by_sm3 as scale_by_sm3
from gradkit.optimizers.sm3 import sm3 as sm3
from gradkit.optimizers.soap import scale_by_soap as scale_by_soap
from gradkit.optimizers.soap import soap as soap
from gradkit.optimizers.sophia import scale_by_sophia as scale_by_sophia
from gradkit.optimizers.sophia import sophia as sophia
from gradkit.optimizers.yogi import scale_by_yogi as scale_by_yogi
from gradkit.optimizers.yogi import yogi as yogi
