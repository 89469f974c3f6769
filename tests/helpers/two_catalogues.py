"""Second intervals of known common parameters, as results and as folders of runs."""

import json
import zlib

import numpy as np
import xarray as xr

import chemsbi_jax as cs
from chemsbi_jax.constants import N_GLOBAL, SHARED_FACTORS
from chemsbi_jax.galaxy.hierarchical import HierarchicalPosterior, SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, physical, psi_names
from chemsbi_jax.priors import paper_prior
from chemsbi_jax.results import write_ecsv, write_summary

N_DRAWS = 3000
WIDTH = 0.5  # of the posterior of the galaxy's latents; all others have their prior's


def second_interval(seed, galaxy=(0.0, 0.0), *, settings=None, converged=True):
    """Normal draws with known mean and width of the galaxy's two latents."""
    layout = make_layout(settings or SharedErrors(), SHARED_FACTORS)
    n = len(layout.scale)
    latents = np.random.default_rng(seed).standard_normal((N_DRAWS, n))
    latents = (latents - latents.mean(axis=0)) / latents.std(axis=0)
    latents[:, :N_GLOBAL] = np.array(galaxy) + WIDTH * latents[:, :N_GLOBAL]
    draws = physical(latents, layout, paper_prior())
    first = draws[:, :N_GLOBAL]
    moments = first.mean(axis=0), np.cov(first.T)
    checks = {"converged": converged}
    posterior = cs.GalaxyPosterior("hierarchical", first, *moments, checks)
    scales = np.asarray(layout.scale, float)
    names = psi_names(SHARED_FACTORS)
    return HierarchicalPosterior(posterior, names, draws, latents, scales, {})


def write_run(folder, found, n_used=100, **summary):
    """What `chemsbi infer` writes of this interval, as far as it is read again."""
    folder.mkdir(parents=True)
    write_ecsv(folder / "posterior_shared.ecsv", found.to_table({}))
    seed = zlib.crc32(folder.name.encode())
    write_stars(folder, np.random.default_rng(seed).normal(size=(20, 8)))
    galaxy = found.posterior.interval()
    content = galaxy | {"n_used": n_used, "shared_errors": galaxy, "warnings": []}
    write_summary(folder / "summary.json", content | summary)
    return folder


def write_stars(folder, abundances):
    """The stars of a run, in posterior.nc."""
    cells = {
        "star": ("star", [f"s{i}" for i in range(len(abundances))]),
        "abundances": (("star", "element"), abundances),
        "observed": (("star", "element"), np.isfinite(abundances)),
    }
    path = folder / "posterior.nc"
    xr.Dataset(cells).to_netcdf(path, group="observed_data", engine="h5netcdf")


def change_table(folder, old, new):
    """Another text in the table of draws."""
    path = folder / "posterior_shared.ecsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def change_summary(folder, **content):
    """Other content of summary.json."""
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content))
