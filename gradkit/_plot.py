"""Matplotlib, imported where something is drawn."""

from typing import Any

from gradkit import _checks as check


def pyplot() -> Any:
    """matplotlib.pyplot, or a refusal that says how to get it."""
    try:
        from matplotlib import pyplot as found  # noqa: PLC0415
    except ImportError as error:
        check.refuse(
            f"matplotlib is missing ({error})",
            fix="Install it with: pip install 'gradkit[plot]'",
            error=ImportError,
        )
    return found
