"""The search of the digits, with few and short trials."""

import re

import pytest

from tests.examples.test_examples import PNG, run

pytestmark = pytest.mark.slow


def test_search_ends_with_an_optimizer_for_the_digits(tmp_path):
    pytest.importorskip("sklearn")
    told = run("examples/search.py", "--quick", "--out", tmp_path / "search.png")
    assert "8/8" in told  # the progress bar
    coarse, fine, final = re.findall(r"dev loss .*\n┡.*\n│ (\w+) .*│ +([\d.]+)", told)
    assert float(coarse[1]) < 2.0  # log 10 = 2.3 is a guess
    assert float(fine[1]) < 2.0
    assert re.search(r"Best: (\w+)\(", told)[1] in ("sgd", "adamw")
    assert re.search(rf"│ {final[0]} .* {final[1]} ± 0\.\d+ │", told)
    assert float(re.search(r"seen: ([\d.]+)%", told)[1]) > 70
    assert (tmp_path / "search.png").read_bytes().startswith(PNG)
