"""Two real processes, which send gradients to one another, against one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from tests.core.in_two_processes import PARAMS, train

pytestmark = pytest.mark.slow


def test_two_processes_train_as_one_does():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("in_two_processes.py")
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(process), str(port)],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        params, losses, share = train(
            jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
        )
        ends = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0, 0], ends
    facts = json.loads(ends[0][0].splitlines()[-1])
    assert (facts["processes"], facts["devices"]) == (2, 2)
    assert share == 1
    assert facts["share"] < 0.55
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(facts["losses"], losses, rtol=4 * np.finfo(np.float32).eps)
    for name, start in PARAMS.items():
        # Each mean over a batch is the sum of two halves: a few ulp of the largest element.
        found, expected = np.float32(facts["params"][name]), params[name]
        ulp = np.spacing(np.max(np.abs(expected)))
        assert np.max(np.abs(found - expected)) <= 8 * ulp, name
        assert np.max(np.abs(expected - start)) > 0.1
