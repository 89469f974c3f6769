"""The summary and the exit code of nuts.py."""

from dataclasses import replace

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.cli.flags import NutsFlags
from chemsbi_jax.cli.nuts import exit_code, summarise
from chemsbi_jax.galaxy.nuts.convergence import check_convergence
from chemsbi_jax.galaxy.nuts.sampler import NutsResult
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.types import GalaxyPosterior

N_STARS, N_DRAWS = 5, 2000


def result_of(chains):
    """A result of these draws (chain, draw, 2), which left out the second star."""
    flat = chains.reshape(-1, 2)
    convergence = check_convergence(chains, np.zeros(chains.shape[:2], bool))
    checks = {"left_out": [1]}
    posterior = GalaxyPosterior(
        "nuts", flat, flat.mean(axis=0), np.cov(flat, rowvar=False), checks
    )
    return NutsResult(posterior, np.zeros((N_STARS, 1, 6)), convergence)


@pytest.fixture
def config(tmp_path):
    table = tmp_path / "stars.csv"  # only its checksum counts
    table.write_text("id,fe_h\n")
    return NutsFlags(stars=table, out=tmp_path, strict=True)


@pytest.fixture
def summary_of(config):
    """The content of summary.json for these draws."""
    stars = cs.Stars.complete(np.zeros((N_STARS, 8)), 0.05)
    stars = stars._replace(ids=np.array(["a", "b", "c", "d", "e"]))
    watch = Stopwatch(quiet=True)
    with watch("nuts"):
        pass
    return lambda chains: summarise(config, stars, result_of(chains), watch)


def test_stars_that_are_left_out_are_not_used(config, summary_of):
    rng = np.random.default_rng(0)
    summary = summary_of(rng.normal((-2.3, -2.9), 0.01, (4, N_DRAWS, 2)))
    assert summary["n_stars"] == N_STARS
    assert summary["n_used"] == N_STARS - 1
    [warning] = summary["warnings"]
    assert "No parameters explain" in warning
    assert "id b" in warning
    assert exit_code(summary, config) == 0  # the chains converged


def test_strict_is_about_the_chains(config, summary_of):
    rng = np.random.default_rng(0)
    chains = rng.normal((-2.3, -2.9), 0.01, (4, N_DRAWS, 2))
    chains[0] += 0.05
    summary = summary_of(chains)
    assert any("did not converge" in w for w in summary["warnings"])
    assert exit_code(summary, config) == 3
    assert exit_code(summary, replace(config, strict=False)) == 0


def test_the_comparisons_have_an_exit_code_too(config):
    """Of `nuts.py --compare` and `--hierarchical`."""
    assert exit_code({"rows": [], "warnings": []}, config) == 0
    failed = {"rows": [], "warnings": ["tng, 10"]}
    assert exit_code(failed, config) == 3
    assert exit_code(failed, replace(config, strict=False)) == 0
