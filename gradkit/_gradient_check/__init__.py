"""Gradients against difference quotients."""

from gradkit._gradient_check.check_gradient import check_gradient as check_gradient
from gradkit._gradient_check.report import GradientReport as GradientReport
