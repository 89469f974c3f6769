"""Every writer: whole files or none, a sentence, and earlier results untouched."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from chemsbi_jax import plots
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.cli import run
from chemsbi_jax.errors import OutputError
from chemsbi_jax.results import GalaxyPosterior, write_posterior, write_summary
from chemsbi_jax.storage.files import whole_files
from chemsbi_jax.storage.weights import load_arrays, save_weights
from chemsbi_jax.types import Stars

LARGE = 4000  # of anything: more than a full disk of 2 kB takes


@dataclass(frozen=True)
class Config:
    """Flags of a script that only writes."""

    out: Path = Path("out")
    text: str = ""
    seed: int = 0


def stars(n):
    values, times = np.zeros((n, 8)), np.full(n, np.nan)
    ids = np.arange(n).astype(str)
    return Stars(values, values + 0.05, np.ones((n, 8), bool), times, times, ids)


def posterior(n):
    draws = np.random.default_rng(n).normal(size=(max(n, 8), 2))
    return GalaxyPosterior("flow", draws, np.zeros(2), np.eye(2), {})


def figure(n):
    losses = np.random.default_rng(n).normal(size=max(n, 2))
    return plots.plot_losses(losses, losses)


def record(folder, n):
    config = Config(folder, "x" * n)
    run.write_record(folder, "run", config, {"loss": np.nan, "n": n})


WRITERS = {
    "weights": lambda f, n: save_weights(f, "npe", {"a": np.arange(n, dtype="f4")}, {}),
    "description": lambda f, n: save_weights(
        f, "npe", {"a": np.full(3, n, "f4")}, {"note": "x" * n}
    ),
    "figure": lambda f, n: plots.save_figure(figure(n), f / "losses.png"),
    "record": record,
    "table": lambda f, n: write_stars(f / "stars.ecsv", stars(n)),
    "summary": lambda f, n: write_summary(f / "summary.json", {"text": "x" * n}),
    "posterior": lambda f, n: write_posterior(f / "p.nc", posterior(n), stars(2)),
}


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.filterwarnings("ignore:.*implicitly cleaned up:ResourceWarning")
def test_full_disk(write, tmp_path, full_disk):
    write(tmp_path, 2)
    before = contents(tmp_path)
    assert before
    with full_disk(1000), pytest.raises(OutputError) as error:
        write(tmp_path, LARGE)
    assert "choose another folder" in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("place", ["file", "file/deep", "/proc/none", "/sys/none"])
def test_where_nobody_can_write(write, place, tmp_path):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / place  # an absolute place stands for itself
    with pytest.raises(OutputError, match="choose") as error:
        write(folder, 2)
    assert str(folder) in str(error.value)
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_folder_of_another_user(write, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    tmp_path.chmod(0o755)
    write(tmp_path, 2)
    before = contents(tmp_path)
    os.seteuid(65534)
    try:
        with pytest.raises(OutputError, match="a folder that you may write to"):
            write(tmp_path, 3)
    finally:
        os.seteuid(0)
    assert contents(tmp_path) == before


def test_a_script_on_a_full_disk(tmp_path, full_disk, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["script", "--out", str(tmp_path)])

    def main(config):
        run.write_record(config.out, "run", config, {"text": "x" * LARGE})

    record(tmp_path, 2)
    before = contents(tmp_path)["run.metrics.json"]
    with full_disk():
        assert run.run_script(main, Config) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: Cannot write run.metrics.json into folder")
    assert said.count("\n") == 1
    assert contents(tmp_path)["run.metrics.json"] == before


def test_files_that_belong_together(tmp_path):
    """The first is not replaced where the second can't be written."""
    pair = (tmp_path / "a", tmp_path / "b")
    with whole_files(*pair) as paths:
        [path.write_text("old") for path in paths]

    def fail():
        with whole_files(*pair) as (one, _):
            one.write_text("new")  # the other is forgotten

    with pytest.raises(OutputError):
        fail()
    assert contents(tmp_path) == {"a": b"old", "b": b"old"}


def test_weights_of_two_trainings_are_told(tmp_path):
    """A kill between the two renames leaves new arrays and an old description."""
    for name, value in (("old", 1.0), ("new", 2.0)):
        save_weights(tmp_path / name, "npe", {"a": np.full(3, value, "f4")}, {})
    like = {"a": np.zeros(3, "f4")}
    load_arrays(tmp_path / "old", "npe", like)
    (tmp_path / "new" / "npe.safetensors").replace(tmp_path / "old/npe.safetensors")
    with pytest.raises(ValueError, match="those of another training"):
        load_arrays(tmp_path / "old", "npe", like)
