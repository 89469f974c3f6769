"""Large tables in `infer.py`: all stars for the result, some of them for the checks."""

import jax
import numpy as np
from infer_checks import AGREE_SIGMA

import chemsbi_jax as cs
from chemsbi_jax.devices import join_processes, leave_processes
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy import stream_galaxy
from chemsbi_jax.galaxy.amortised.stream import METHODS
from chemsbi_jax.galaxy.infer import STREAM_FROM, infer_prefixes

N_CHECKED = 8192  # stars of a large table for checks and figures; nothing to pad
MAX_EXACT = 5000  # stars; more would take the exact method minutes
N_EXACT = 2000  # of them, beside the answer for all
N_PREFIXES = 2048  # stars of the figure of convergence


def join(config) -> None:
    """Make this process one of `--n-processes`; call it before any JAX operation."""
    if config.n_processes == 1:
        return
    if config.robust or config.method == "exact":
        raise InputError(
            "Expected --method auto, flow or gaussian for several processes; got "
            f"{'--robust' if config.robust else config.method}, which one process runs."
        )
    join_processes(config.coordinator, config.n_processes, config.process_id)


def infer_all(key, loaded, method: str, config) -> cs.GalaxyPosterior:
    """The posterior of all stars; large tables go on where a run was interrupted."""
    stars, npe = loaded.stars, loaded.npe
    large = is_large(stars) or config.n_processes > 1
    if method in METHODS and large:
        # beside the results, until they are complete
        path = config.out / "progress.json"
        galaxy = stream_galaxy(
            key,
            npe,
            stars,
            method,
            forward=loaded.forward,
            checkpoint=path,
            quiet=config.quiet,
        )
        leave_processes()
    else:
        galaxy = cs.infer_galaxy(
            key, npe, stars, method, forward=loaded.forward, quiet=config.quiet
        )
    if not is_large(stars):
        return galaxy
    n, n_all = _n_checked(method), len(stars.values)
    text = f"{n} of {n_all} stars, drawn at random, for checks, figures, posterior.nc"
    subset = {"n_stars": n, "of": n_all, "text": text}
    return galaxy._replace(checks=galaxy.checks | {"subset": subset})


def is_large(stars: cs.Stars) -> bool:
    """Whether the draws of all stars are too many for the memory."""
    return len(stars.values) > STREAM_FROM


def to_check(key, loaded, galaxy: cs.GalaxyPosterior, quiet: bool) -> tuple:
    """The stars for the checks, and their posterior: all of them if not too many."""
    if not is_large(loaded.stars):
        return loaded, galaxy
    stars = some_stars(key, loaded.stars, _n_checked(galaxy.method))
    part = cs.infer_galaxy(
        key, loaded.npe, stars, galaxy.method, forward=loaded.forward, quiet=quiet
    )
    return loaded._replace(stars=stars), part


def _n_checked(method: str) -> int:
    return N_CHECKED if method in METHODS else N_EXACT


def some_stars(key, stars: cs.Stars, n: int) -> cs.Stars:
    """At most `n` random rows of a table, in its order."""
    n_all = len(stars.values)
    if n_all <= n:
        return stars
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    rows = np.sort(draw.choice(n_all, n, replace=False))
    return stars.take(rows)


def try_exact(key, loaded, quiet: bool) -> tuple:
    """The exact posterior, or None and the reason why there is no such."""
    stars, npe, forward = loaded.stars, loaded.npe, loaded.forward
    try:
        exact = cs.infer_galaxy(key, npe, stars, "exact", forward=forward, quiet=quiet)
    except (InputError, np.linalg.LinAlgError) as error:
        return None, str(error)
    rests = exact.checks["at_rest"]
    return (exact, "") if rests else (None, "It did not come to rest.")


def exact_beside(key, loaded, galaxy, quiet: bool) -> cs.GalaxyPosterior:
    """The answer for all stars, with the exact one for a few in its checks."""
    stars = some_stars(key, loaded.stars, N_EXACT)
    exact, why = try_exact(key, loaded._replace(stars=stars), quiet)
    if exact is None:
        why = f"The exact method failed for {len(stars.values)} of the stars. {why}"
        return galaxy._replace(checks=galaxy.checks | {"no_exact": why})
    sd = np.sqrt(np.diag(exact.covariance))
    found = {
        name: {"mean": float(exact.mean[i]), "sd": float(sd[i])}
        for i, name in enumerate(cs.PARAMETERS[:2])
    }
    found |= {"n_stars": len(stars.values)}
    return galaxy._replace(checks=galaxy.checks | {"exact_subset": found})


def compare_on_part(galaxy, part, other) -> dict:
    """How the methods differ for the same few stars, in sigma of the result for all.

    Both see the same stars, so most of this is no noise: it stays for any number of
    stars, while the interval narrows.
    """
    if "subset" not in galaxy.checks:
        return {}
    sd = np.sqrt(np.diag(galaxy.covariance))
    shift = (np.asarray(other.mean) - np.asarray(part.mean)) / sd
    return {"methods_differ_sigma_of_all": shift.tolist()}


def warn_of_subset(checks: dict) -> list[str]:
    """What to say of large tables, and of stars that the exact method did not have."""
    warnings = []
    shift = checks.get("methods_differ_sigma_of_all", [0.0, 0.0])
    if np.abs(shift).max() > AGREE_SIGMA:
        warnings.append(
            f"For {checks['subset']['n_stars']} of the stars the methods differ by "
            f"{shift[0]:+.1f} and {shift[1]:+.1f} sigma of the result for all: with so "
            "many stars the interval is narrower than the error of the method."
        )
    exact = checks.get("exact_subset")
    if exact:
        each = [(n, exact[n]) for n in cs.PARAMETERS[:2]]
        interval = ", ".join(f"{n} = {p['mean']:.3f} +- {p['sd']:.3f}" for n, p in each)
        warnings.append(
            f"The exact method had {exact['n_stars']} of the stars, drawn at random, "
            f"as it takes long: {interval}. For all: --method exact, in one process."
        )
    return warnings


def name_of_part(other: cs.GalaxyPosterior, galaxy: cs.GalaxyPosterior) -> str:
    """Label of the other method, which has only some stars of a large table."""
    subset = galaxy.checks.get("subset")
    return f"{other.method}, {subset['n_stars']} stars" if subset else other.method


def prefixes(key, loaded, stars: cs.Stars, galaxy: cs.GalaxyPosterior) -> tuple:
    """`infer_prefixes` of a table, or of some stars of a large one and of all."""
    method = "gaussian" if galaxy.method == "gaussian" else "flow"
    npe, forward = loaded.npe, loaded.forward
    subset = galaxy.checks.get("subset")
    if not subset:
        n, means, sds = infer_prefixes(key, npe, stars, method, forward)
        means, sds = np.array(means), np.array(sds)
        # the last one is the result, also where another method made it
        means[-1], sds[-1] = galaxy.mean, np.sqrt(np.diag(galaxy.covariance))
        return n, means, sds
    # the rows are random, but in the order of the table
    part = some_stars(key, stars, N_PREFIXES)
    order = np.random.default_rng(0).permutation(len(part.values))
    part = part.take(order)
    n, means, sds = infer_prefixes(key, npe, part, method, forward)
    sd = np.sqrt(np.diag(galaxy.covariance))
    return np.append(n, subset["of"]), np.vstack([means, galaxy.mean]), [*sds, sd]
