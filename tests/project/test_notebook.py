"""docs/notebook.md is true: its blocks run in the order in which they stand."""

import json
import re
from pathlib import Path

import pytest

from helpers.paths import EXAMPLE, ROOT

BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), flags=re.DOTALL
)


@pytest.mark.slow
def test_the_blocks_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / EXAMPLE.relative_to(ROOT)
    shipped.parent.mkdir(parents=True)
    shipped.symlink_to(EXAMPLE)
    names = {}
    for i, block in enumerate(BLOCKS):
        exec(compile(block, f"notebook.md, block {i + 1}", "exec"), names)
    assert "Good (green)" in capsys.readouterr().out
    summary = json.loads(Path("runs/notebook/summary.json").read_text())
    assert (summary["n_used"], summary["method"]) == (100, "exact")
    assert names["other"].posterior.method == "flow"


def test_the_page_shows_the_whole_result():
    text = "".join(BLOCKS)
    for name in ("infer(", "posterior", "checks", "warnings", "verdict", "others",
                 "plot_posterior(", "plot_convergence(", "plot_predictive(",
                 "plot_first_star(", "save(", "summary("):  # fmt: skip
        assert name in text
