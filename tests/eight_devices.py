"""Runs a script on eight virtual devices, which must exist before JAX starts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def facts_of(script: Path) -> dict[str, dict[str, Any]]:
    """What the script prints, a line of JSON per fact, by the fact's name."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, str(script)],
        # With as many threads as cores, collectives of eight devices wait for one another.
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "NPROC": "32"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("name"): line for line in lines}
