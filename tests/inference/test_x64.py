"""The chain under JAX_ENABLE_X64=1: the same results as in float32, in a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax.galaxy import stream_galaxy
from chemsbi_jax.galaxy.hierarchical import load_shared_network
from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.measurements import AnyErrors
from chemsbi_jax.npe.model import log_prob
from chemsbi_jax.npe.training import NpeConfig, new_npe
from chemsbi_jax.priors import Prior
from helpers.paths import ROOT

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
    inputs = jnp.asarray(npe.reader.inputs(stars), dtype)
    theta = jnp.asarray(found["stars"].reshape(8, 6), dtype)
    found["log_prob"] = np.asarray(eqx.filter_jit(log_prob)(npe, theta, inputs))
    return {name: np.asarray(x, float).tolist() for name, x in found.items()}


def in_process(script: str, x64: bool, cache: Path) -> str:
    """The last line that a script prints in a process of its own."""
    environment = os.environ | {
        "JAX_ENABLE_X64": str(int(x64)),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        # float32 programs are the same with and without x64: compiled once for both
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]


def test_the_network_of_shared_errors_has_32_bits():
    """Otherwise JAX warns of float64 at each use, which is an error in the tests."""
    with jax.enable_x64(True):
        network, _, scales, *_ = load_shared_network()
    assert all(
        x.dtype.itemsize <= 4
        for x in jax.tree.leaves(eqx.filter(network, eqx.is_array))
    )
    n = len(scales)
    context = jnp.zeros(network.flow.cond_shape)
    draws = eqx.filter_eval_shape(network.flow.sample, jax.random.key(0), (3,), context)
    assert draws.shape == (3, n)


@pytest.mark.thorough
def test_jax_enable_x64_does_not_change_the_results(tmp_path):
    script = (
        "import json, jax.numpy as jnp; from inference import test_x64; "
        "dtype = jnp.zeros(1).dtype; "
        "print(json.dumps([str(dtype), test_x64.run_chain(dtype)]))"
    )
    (one, plain), (other, with_x64) = (
        json.loads(in_process(script, x64, tmp_path)) for x64 in (False, True)
    )
    assert (one, other) == ("float32", "float64")
    for name, numbers in plain.items():
        # both compute in float32; `log_prob` is no entrance and computes in float64
        limit = 1e-4 if name == "log_prob" else 1e-6
        np.testing.assert_allclose(
            with_x64[name], numbers, rtol=limit, atol=limit, err_msg=name
        )


@pytest.mark.slow
def test_nuts_runs_with_x64(tmp_path):
    script = (
        "import jax, numpy as np, chemsbi_jax as cs; from inference import test_x64; "
        "npe, forward, stars = test_x64.make_problem(); "
        "r = cs.run_nuts(jax.random.key(0), forward, stars, npe, n_draws=100, "
        "quiet=True); print(*r.posterior.mean, *r.posterior.sd)"
    )
    numbers = in_process(script, True, tmp_path).split()
    *mean, first_sd, second_sd = map(float, numbers)
    exact = run_chain()["exact"]
    # at least 400 effective draws: 0.05 sigma, four times
    np.testing.assert_allclose(mean, exact[:2], atol=0.2 * min(exact[2:4]))
    np.testing.assert_allclose([first_sd, second_sd], exact[2:4], rtol=0.2)
