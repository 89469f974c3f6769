"""`compare_yields`: posterior, evidence and misfit of several yield sets."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key
from tqdm import tqdm

from chemsbi_jax.catalog import Catalog, read_catalog
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.any_yields import (
    ForwardName,
    abundances_of,
    columns_to_read,
    measured_in,
    model_of_yields,
    require_abundances,
    yields_checksum,
)
from chemsbi_jax.galaxy.rows import random_rows
from chemsbi_jax.galaxy.set_fit import SetFit, fit_set
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.inference.comparison_result import SetRecord, YieldComparison
from chemsbi_jax.inference.loo import leave_one_out
from chemsbi_jax.options import CatalogOptions
from chemsbi_jax.results import write_summary
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import package_version, sha256_of_arrays
from chemsbi_jax.types import Stars
from chemsbi_jax.yields import PARTS, load_part
from chemsbi_jax.yields.errors import YieldsError

AGB_AND_SN_IA = "k10+w7"  # what `all_sets` adds to a core-collapse part
COMPLETE = ("tng", "alternative")
N_ELEMENT_STARS = 100  # stars that the abundances are left out of, in turn
N_KEPT_DRAWS = 1000  # draws of each posterior in the record of a set


class _Work(NamedTuple):
    """What all sets share."""

    stars: Stars
    forward: ForwardName
    rows: np.ndarray
    quiet: bool


def compare_yields(
    stars: Stars | Catalog | str | os.PathLike,
    sets: Sequence[str | os.PathLike] | str = "all",
    *,
    seed: int = 0,
    forward: ForwardName = "emulator",
    folder: str | os.PathLike | None = None,
    n_element_stars: int = N_ELEMENT_STARS,
    options: CatalogOptions = CatalogOptions(),
    quiet: bool = False,
) -> YieldComparison:
    """Posterior, evidence and predictive densities of the stars for each yield set.

    Args:
        stars: stars, a catalogue, or the path of a table (`read_catalog`).
        sets: names as for `load_yields`, as a list or with commas between them; "all"
            takes the complete sets, and each core-collapse part with k10 and w7, as far
            as their tables are on this machine.
        seed: determines all random numbers; the same draws serve all sets.
        forward: "simulator" takes the simulator in place of emulators (slow).
        folder: keeps a record of each set that is done; a repeated call goes on there.
        n_element_stars: random stars that the abundances are left out of, in turn; 0
            leaves this part out.
        options: how a path is read.
        quiet: no progress bars.

    Raises:
        InputError: a set is unknown or lacks an abundance of the stars, its tables
            can't be had, or `folder` holds another comparison; names the remedy.
    """
    names = set_names(sets)
    stars = _read(stars, options, names)
    for name in names:  # before anything long
        require_abundances(stars, name, abundances_of(name))
    key_rows, key_sets = jax.random.split(jax.random.key(seed))
    rows = random_rows(key_rows, len(stars.values), n_element_stars)
    work = _Work(stars, forward, rows, quiet)
    settings = _settings(stars, seed, forward, n_element_stars)
    records = []
    with tqdm(total=len(names), desc="yield sets", unit="set", disable=quiet) as bar:
        for name in names:
            bar.set_postfix_str(name)
            path = _path(folder, name)
            record = None if path is None else _load(path, name, stars, settings)
            if record is None:
                record = fit_record(
                    key_sets,  # key reuse: common random numbers for all sets
                    name,
                    work,
                )._replace(settings=settings)
                if path is not None:
                    write_summary(path, record._asdict())
            records.append(record)
            bar.update()
    return YieldComparison(tuple(records), settings, len(stars.values))


def set_names(sets: Sequence[str | os.PathLike] | str) -> list[str]:
    """Names of the sets, each once.

    Raises:
        InputError: there is none, or one is given twice.
    """
    if isinstance(sets, str):
        names = all_sets() if sets == "all" else [s.strip() for s in sets.split(",")]
    else:
        names = [str(s) for s in sets]
    twice = sorted({n for n in names if names.count(n) > 1})
    if not names or not all(names) or twice:
        got = f"{twice[0]} twice" if twice else "an empty name"
        raise InputError(
            f"Expected names of yield sets, such as tng,nkt13+k10+w7; got {got}."
        )
    return names


def all_sets() -> list[str]:
    """The sets of "all" whose tables are on this machine."""
    parts = [n for n, entry in PARTS.items() if entry.channel == "sn2"]
    for name in AGB_AND_SN_IA.split("+"):
        load_part(name)  # raises with the remedy
    found = [n for n in COMPLETE if _is_there(n)]
    for name in parts:
        try:
            load_part(name, "sn2")
        except YieldsError:
            continue
        found.append(f"{name}+{AGB_AND_SN_IA}")
    return found


def _is_there(name: str) -> bool:
    try:
        abundances_of(name)
    except OSError:
        return False
    return True


def fit_record(key: Key[Array, ""], name: str, work: _Work) -> SetRecord:
    """The fit of one set, or the reason why there is none."""
    watch = Stopwatch(quiet=True)
    with watch("emulator"):
        measured = measured_in(work.stars)
        model = model_of_yields(name, work.forward, measured=measured, quiet=work.quiet)
    digest, stars = yields_checksum(name, measured), work.stars.select(model.abundances)
    about = {"name": name, "sha256": digest, "rms_dex": model.rms_dex}
    try:
        with watch("fit"):
            fit = fit_set(key, model.networks, stars, work.rows, work.quiet)
    except InputError as error:  # no posterior: the others go on
        return SetRecord(**about, failed=str(error), seconds=watch.seconds)
    return SetRecord(**about, **_numbers(fit, stars), seconds=watch.seconds)


def _numbers(fit: SetFit, stars: Stars) -> dict:
    """Fields of the record of a fit."""
    n_stars = len(stars.values)
    loo = leave_one_out(fit.evidence.pointwise)
    elpd, k_hat = (np.full(n_stars, np.nan) for _ in range(2))
    elpd[fit.is_used], k_hat[fit.is_used] = loo.elpd, loo.k_hat
    misfit, has = fit.misfit, np.flatnonzero(stars.observed.any(axis=0))
    columns = [(i, stars.abundances[i]) for i in has]
    draws = np.asarray(fit.posterior.draws)
    kept = draws[np.linspace(0, len(draws) - 1, N_KEPT_DRAWS).astype(int)]
    return {
        "mean": np.asarray(fit.posterior.mean).tolist(),
        "covariance": np.asarray(fit.posterior.covariance).tolist(),
        "draws": np.round(kept, 5).tolist(),
        "ln_z": fit.evidence.value,
        "ln_z_error": fit.evidence.error,
        "elpd": elpd.tolist(),
        "k_hat": k_hat.tolist(),
        "p_loo": loo.p_loo,
        "element": fit.left_out_element,
        "flagged": bool(misfit.is_flagged),
        "p_value": float(misfit.p_value),
        "text": misfit.text,
        "residual": {a: float(misfit.mean_residual[i]) for i, a in columns},
        "residual_error": {a: float(misfit.mean_error[i]) for i, a in columns},
        "left_out": np.flatnonzero(~fit.is_used).tolist(),
    }


def columns_of_sets(names: Sequence[str]) -> tuple[str, ...]:
    """Columns of a table for a comparison: the default eight, and what all sets have.

    An abundance of the eight that a set lacks is read, too, so that it is not left out
    silently.
    """
    each = [set(columns_to_read(name)) for name in names]
    return tuple(a for a in columns_to_read(names[0]) if all(a in has for has in each))


def _read(
    stars: Stars | Catalog | str | os.PathLike,
    options: CatalogOptions,
    sets: Sequence[str],
) -> Stars:
    name = "stars"
    if isinstance(stars, str | os.PathLike):
        name, columns = str(stars), columns_of_sets(sets)
        stars = read_catalog(stars, options, columns)
    stars = stars.stars if isinstance(stars, Catalog) else stars
    return check_stars(stars, name)


def _settings(stars: Stars, seed: int, forward: str, n_element_stars: int) -> dict:
    """All that decides the record of a set beside the set itself."""
    if set(measured_in(stars)) <= set(ABUNDANCES):  # further columns have only gaps
        stars = stars.select(ABUNDANCES)
    arrays = {k: v for k, v in stars.arrays().items() if k != "ids"}
    if stars.abundances != ABUNDANCES:
        arrays["abundances"] = np.array(stars.abundances)
    return {
        "stars (checksum)": sha256_of_arrays(arrays)[:16],
        "seed": seed,
        "forward": forward,
        "n_element_stars": n_element_stars,
        "version": package_version(),
    }


def _path(folder: str | os.PathLike | None, name: str) -> Path | None:
    """Where the record of a set lies."""
    if folder is None:
        return None
    plain = re.sub(r"[^\w+.-]", "_", Path(name).name)
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return Path(folder) / f"{plain if plain == name else f'{plain}-{digest}'}.json"


def _load(path: Path, name: str, stars: Stars, settings: dict) -> SetRecord | None:
    """The record of a set that is done; None if there is none, or it is damaged.

    Raises:
        InputError: it was made with other settings or other yields; names them.
    """
    try:
        record = SetRecord(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    digest = yields_checksum(name, measured_in(stars))
    now = {**settings, "yields (checksum)": digest}
    before = {**record.settings, "yields (checksum)": record.sha256}
    differs = [
        f"{k} was {before.get(k)}, is {now.get(k)}"
        for k in sorted({*now, *before})
        if before.get(k) != now.get(k)
    ]
    if differs:
        raise InputError(
            f"{path} holds another comparison: {'; '.join(differs)}. "
            f"{_other_abundances(record, stars)}Choose an empty folder, or delete this "
            "file."
        )
    return record


def _other_abundances(record: SetRecord, stars: Stars) -> str:
    """Which abundances only the record or only the stars have; empty if none."""
    then, now = list(record.residual), measured_in(stars)
    gone = [a for a in then if a not in now]
    new = [a for a in now if a not in then] if then else []  # no posterior: no names
    if not gone and not new:
        return ""
    reason = "A comparison reads the abundances that all of its sets have. "
    if gone:
        return f"{reason}That one used {', '.join(gone)}, too. "
    return (
        f"{reason}This one uses {', '.join(new)}, too; --without {','.join(new)} "
        "leaves them out. "
    )
