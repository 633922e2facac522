"""Optimizers and training steps on eight virtual devices against one.

The devices must exist before JAX starts, so one process of its own computes all facts.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.core.on_eight_devices import MAKERS

SCRIPT = pathlib.Path(__file__).with_name("on_eight_devices.py")
FLAGS = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)


@pytest.fixture(scope="module")
def facts():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env=os.environ | {"XLA_FLAGS": FLAGS, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("name"): line for line in lines}


def test_there_are_eight_devices(facts):
    assert facts["devices"]["count"] == 8


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_on_an_explicit_mesh_is_that_of_one_device(facts, name):
    fact = facts[f"explicit {name}"]
    assert "error" not in fact
    assert fact["distance"] < (2e-2 if name == "compensated" else 2e-5)
    assert fact["traces"] == 1


@pytest.mark.parametrize("name", MAKERS)
def test_the_state_has_the_sharding_of_the_parameters(facts, name):
    assert facts[f"explicit {name}"]["typed"]
    assert facts[f"explicit {name}"]["jitted_init"]


def test_a_step_takes_and_returns_the_shardings_that_it_is_given(facts):
    assert facts["shardings"]["distance"] < 1e-5
    assert facts["shardings"]["traces"] == 1
    assert facts["shardings"]["placed"]
    assert facts["shardings"]["devices"] == 8


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_each_device_orthogonalizes_its_share_of_the_matrices(facts, kind):
    fact = facts[f"spread {kind}"]
    assert fact["distance"] < 2e-6
    assert fact["share"] < 0.2  # two of fifteen products, and what is not spread
    assert fact["rows"] == [16, 16]  # one of zeros
    assert fact["local"] == [2, 2]


def test_the_mesh_may_be_given(facts):
    assert facts["spread mesh"]["distance"] < 2e-6


def test_one_sharding_may_stand_for_a_whole_tree(facts):
    assert facts["prefix"]["distance"] < 1e-5
    assert facts["prefix"]["placed"]
