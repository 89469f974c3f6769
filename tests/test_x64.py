"""The chain under JAX_ENABLE_X64=1: the same results as in float32, in a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax.galaxy import stream_galaxy
from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.measurements import AnyErrors
from chemsbi_jax.npe.model import log_prob
from chemsbi_jax.npe.training import NpeConfig, new_npe
from chemsbi_jax.priors import Prior

ROOT = Path(__file__).parents[1]
METHODS = ("gaussian", "flow", "exact")


def linear(theta, matrix):
    return theta @ matrix


def make_problem(dtype=jnp.float32):
    """A small untrained network, a linear model and eight stars with gaps."""
    rng = np.random.default_rng(4)
    matrix = 0.5 * rng.normal(size=(6, 8))
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    flow = SplineFlow(embedding=(8, 1), hidden=(8,), n_bins=3)
    config = NpeConfig(flow=flow, measure=AnyErrors())
    npe = new_npe(jax.random.key(0), prior, config)
    latent = rng.normal(size=(8, 6))
    latent[:, :2] = (0.8, -0.6)
    stars = cs.Stars.complete(latent @ matrix + 0.3 * rng.normal(size=(8, 8)), 0.3)
    stars.observed[:4, 2] = False
    return npe, Partial(linear, matrix=jnp.asarray(matrix, dtype)), stars


def run_chain(dtype=jnp.float32) -> dict:
    """Results of every method on this problem, as numbers."""
    npe, forward, stars = make_problem(dtype)
    key, found = jax.random.key(1), {}
    for method in METHODS:
        galaxy = cs.infer_galaxy(key, npe, stars, method, 200, forward=forward)
        found[method] = [*galaxy.mean, *galaxy.sd, *np.mean(galaxy.draws, axis=0)]
    found["stream"] = [*stream_galaxy(key, npe, stars, "gaussian", 50).mean]
    found["stars"] = np.asarray(cs.sample_stars(key, npe, stars, 20))[:, 3].ravel()
    inputs = npe.reader.inputs(stars)
    density = log_prob(npe, jnp.asarray(found["stars"].reshape(8, 6)), inputs)
    found["log_prob"] = np.asarray(density)
    return {name: np.asarray(x, float).tolist() for name, x in found.items()}


def test_jax_enable_x64_does_not_change_the_results():
    script = (
        "import json, jax.numpy as jnp, test_x64; assert jnp.zeros(1).dtype == 'f8'; "
        "print(json.dumps(test_x64.run_chain(jnp.float64)))"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"JAX_ENABLE_X64": "1", "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    with_x64 = json.loads(run.stdout.splitlines()[-1])
    for name, numbers in run_chain().items():
        # both compute in float32; `log_prob` is no entrance and computes in float64
        limit = 1e-4 if name == "log_prob" else 1e-6
        np.testing.assert_allclose(
            with_x64[name], numbers, rtol=limit, atol=limit, err_msg=name
        )


@pytest.mark.slow
def test_nuts_runs_with_x64():
    script = (
        "import jax, numpy as np, chemsbi_jax as cs, test_x64; "
        "npe, forward, stars = test_x64.make_problem(); "
        "r = cs.run_nuts(jax.random.key(0), forward, stars, npe, n_draws=100, "
        "quiet=True); print(*r.posterior.mean, *r.posterior.sd)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"JAX_ENABLE_X64": "1", "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    *mean, first_sd, second_sd = map(float, run.stdout.splitlines()[-1].split())
    exact = run_chain()["exact"]
    # at least 400 effective draws: 0.05 sigma, four times
    np.testing.assert_allclose(mean, exact[:2], atol=0.2 * min(exact[2:4]))
    np.testing.assert_allclose([first_sd, second_sd], exact[2:4], rtol=0.2)
