"""The checks of `infer.py`: does the model fit, do methods and subsets agree?"""

import jax
import jax.numpy as jnp
import numpy as np

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.diagnostics.misfit import N_REFERENCE, misfit_test, star_residuals
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.amortised.product import is_far
from chemsbi_jax.npe.noise import observe_like

N_CHECK_DRAWS = 64  # of each star, for the checks in abundance space
N_LEAVE_OUT = 200  # stars whose posterior is repeated without each abundance
AGREE_SIGMA, AGREE_WIDTH = 2.0, 0.2  # the methods differ by more: a warning
LARGE_ERROR = 2.0  # sigma, of what was taken out; a tenth of it may be left
N_NAMED = 5  # stars in a sentence
STABLE = 3.0  # sigma; a larger change is a warning


def check_fit(key, npe, forward, stars, draws, galaxy):
    """Compare the stars with model stars at the inferred parameters."""
    key_theta, key_noise, key_draws, key_rows = jax.random.split(key, 4)
    theta = priors.sample(key_theta, npe.prior, N_REFERENCE)
    theta = theta.at[:, :2].set(jnp.asarray(galaxy.mean))
    clean = forward(theta)
    good = np.asarray(jnp.isfinite(clean).all(axis=-1))
    if not good.any():  # the inferred parameters lie outside the model
        return misfit_test(stars.values, np.empty((0, len(cs.ABUNDANCES))))
    rows = np.random.default_rng(np.asarray(jax.random.key_data(key_rows)))
    rows = rows.integers(len(stars.values), size=good.sum())
    table = cs.Stars(*(x[rows] for x in stars))
    model = observe_like(key_noise, table, theta[good], clean[good])
    model_draws = cs.sample_stars(key_draws, npe, model, N_CHECK_DRAWS)
    residuals = jax.jit(star_residuals)
    return misfit_test(
        residuals(jnp.asarray(stars.values), draws[:, :N_CHECK_DRAWS], forward),
        residuals(jnp.asarray(model.values), model_draws, forward),
        (stars.errors, model.errors),
    )


def compare(galaxy: cs.GalaxyPosterior, other: cs.GalaxyPosterior) -> dict:
    """Difference of the two methods, in units of the result's own width."""
    sd, other_sd = (np.sqrt(np.diag(g.covariance)) for g in (galaxy, other))
    shift, ratio = (np.asarray(other.mean) - galaxy.mean) / sd, other_sd / sd
    n_weak = other.checks.get("weak_stars", 0)
    # `exact` counts weak stars and the network does not: it may be wider, and farther
    knows_less = bool(n_weak) and "weak_stars" not in galaxy.checks
    unit = np.maximum(ratio, 1.0) if knows_less else 1.0
    return {
        "other": other.method,
        "shift_sigma": shift.tolist(),
        "width_ratio": ratio.tolist(),
        "guarded_stars": other.checks.get("guarded_stars")
        or galaxy.checks.get("guarded_stars", 0),
        "weak_stars": n_weak,
        "agree": bool(
            (np.abs(shift) < AGREE_SIGMA * unit).all()
            and (np.abs(ratio / unit - 1.0) < AGREE_WIDTH).all()
        ),
    }


def compare_halves(key, npe, forward, stars: cs.Stars) -> dict | None:
    """Even rows against odd rows, by the flow; None for fewer than four stars."""
    if len(stars.values) < 4:
        return None
    halves = [cs.Stars(*(x[i::2] for x in stars)) for i in (0, 1)]
    one, two = (cs.infer_galaxy(key, npe, half, forward=forward) for half in halves)
    pairs = zip((one, two), halves, strict=True)
    if any(g.checks["weak_stars"] == len(half.values) for g, half in pairs):
        return None  # a half that says nothing agrees with everything
    shift = np.asarray(one.mean) - two.mean
    covariance = np.asarray(one.covariance) + two.covariance
    distance = float(np.sqrt(shift @ np.linalg.solve(covariance, shift)))
    sd = np.sqrt(np.diag(covariance))
    return {
        "shift_sigma": (shift / sd).tolist(),
        "distance": distance,
        "stable": distance < STABLE,
    }


def leave_out(key, npe, forward, stars: cs.Stars) -> dict:
    """Change of the result without each abundance, in sigma of the full one.

    With the first stars only: an abundance that moves the result by many sigma is one
    that the model can't bring together with the others.
    """
    some, shifts = cs.Stars(*(x[:N_LEAVE_OUT] for x in stars)), {}

    def infer(some: cs.Stars) -> cs.GalaxyPosterior:
        return cs.infer_galaxy(key, npe, some, "exact", forward=forward)

    try:
        full = infer(some)
    except InputError:  # nothing explains these rows: they say nothing more
        return {"n_stars": 0, "shift_sigma": shifts}
    for i, name in enumerate(cs.ABUNDANCES):
        observed = some.observed.copy()
        observed[:, i] = False
        if not observed.any() or (observed == some.observed).all():
            continue
        less = some._replace(observed=observed)
        try:
            found = infer(less)
        except InputError:  # the others alone give no posterior: nothing to compare
            continue
        sd = np.sqrt(np.diag(found.covariance))
        shifts[name] = ((np.asarray(found.mean) - full.mean) / sd).tolist()
    return {"n_stars": len(some.values), "shift_sigma": shifts}


def robust_beside(key, npe, forward, stars: cs.Stars) -> cs.GalaxyPosterior | None:
    """What the stars say if each abundance has a model error; None if nothing does."""
    try:
        return cs.infer_galaxy(key, npe, stars, "robust", forward=forward)
    except InputError:  # no star that the model can make: the first warning says so
        return None


def describe_robust(robust: cs.GalaxyPosterior, n_stars: int) -> dict:
    """The robust interval and its model errors, as summary.json has them."""
    sd = np.sqrt(np.diag(robust.covariance))
    each = zip(cs.PARAMETERS[:2], np.asarray(robust.mean), sd, strict=True)
    content = {name: {"mean": float(m), "sd": float(s)} for name, m, s in each}
    errors = robust.checks["model_error_dex"]
    return content | {"n_stars": n_stars, "model_error_dex": errors}


def warn_of_place(checks: dict) -> list[str]:
    """Stars that say too little, and parameters that lie too far out."""
    warnings, n_weak = [], checks.get("weak_stars", 0)
    can_exact = not checks.get("no_exact")
    if n_weak:
        warnings.append(
            f"{n_weak} stars do not count: what is measured of them tells too little "
            "for a network." + (" --method exact can use them." if can_exact else "")
        )
    if checks.get("is_prior"):
        warnings.append("No star counts: this is the prior, not a result.")
    widths = checks["prior_widths"]
    moved = np.abs(checks.get("network_error_sigma", 0.0)).max()
    if moved > LARGE_ERROR:
        warnings.append(
            f"The network's mean error, which was taken out, is {moved:.1f} times the "
            "width: what is left of it may matter."
            + (" Compare with --method exact." if can_exact else "")
        )
    if is_far(widths):
        warnings.append(
            f"The result lies {widths:.1f} prior widths from the prior's mean, where "
            "networks and emulator have hardly been trained: do not rely on it."
        )
    return warnings


def list_warnings(checks: dict) -> list[str]:
    """Sentences for the reader of the result."""
    warnings = [checks["no_exact"]] if checks.get("no_exact") else []
    left_out = checks.get("left_out", [])
    if left_out:
        some = ", ".join(left_out[:N_NAMED]) + ", ..." * (len(left_out) > N_NAMED)
        warnings.append(
            f"Stars that no parameters explain, and which do not count: "
            f"{len(left_out)} ({some}). Everything else is about the others."
        )
    if checks["model_fit"]["flagged"]:
        warnings.append(checks["model_fit"]["text"])
    if checks.get("robust"):
        each = [(n, checks["robust"][n]) for n in cs.PARAMETERS[:2]]
        interval = ", ".join(f"{n} = {p['mean']:.3f} +- {p['sd']:.3f}" for n, p in each)
        warnings.append(
            f"With a model error for each abundance ({checks['robust']['n_stars']} "
            f"stars; --robust for all): {interval}. Quote this beside the interval; "
            "errors that all stars share it does not cover."
        )
    agree = checks["methods_agree"]
    if not agree["agree"]:
        warnings.append(
            f"The methods differ: {agree['other']} gives "
            f"{agree['shift_sigma'][0]:+.1f} and {agree['shift_sigma'][1]:+.1f} sigma"
            f", widths {agree['width_ratio'][0]:.2f} and "
            f"{agree['width_ratio'][1]:.2f} times those of the result"
            + (
                f", without {agree['weak_stars']} stars that tell little to a network."
                if agree["weak_stars"]
                else "."
            )
        )
    errors = checks.get("model_error_dex")
    if errors:
        worst = sorted(errors, key=errors.get, reverse=True)[:3]
        sizes = ", ".join(f"{k} {errors[k]:.3f}" for k in worst)
        warnings.append(f"Model errors were added [dex], the largest: {sizes}.")
    halves = checks.get("halves")
    if halves and not halves["stable"]:
        warnings.append(
            f"Even and odd rows of the table differ by {halves['distance']:.1f} sigma: "
            "they are not a sample of one galaxy, or the model does not fit them."
        )
    if not checks.get("at_rest", True):
        warnings.append(
            "The exact method did not come to rest: do not use the interval."
        )
    warnings += warn_of_place(checks)
    if checks.get("mass_at_edge", 0.0) > 1e-3:
        warnings.append(
            "The posterior reaches the edge of its grid: the stars pull the "
            "parameters out of the prior."
        )
    return warnings
