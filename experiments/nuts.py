"""Gold standard for a table of stars: NUTS over the galaxy and all of its stars.

    python experiments/nuts.py STARS --out DIR
    python experiments/nuts.py --compare --out DIR   # every method against NUTS
    python experiments/nuts.py --hierarchical --out DIR   # the second interval

Writes summary.json (with a convergence block), posterior.nc and, if it converged, a
figure beside the flow's answer. With --compare it writes compare.md and compare.json
instead, for data sets of reproduce.py. With --hierarchical NUTS runs over all shared
parameters and all stars of these data sets, beside the second interval by --samplers
of infer.py, and writes compare_hierarchical.md and .json; a stopped run goes on from
these. Exit code 2: the input cannot be used; 3: the chains did not converge, with
--strict.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro
from common.reproduction.nuts_comparison import compare_all, report_comparison
from common.reproduction.shared_nuts import (
    SAMPLERS,
    compare_shared,
    report_shared,
)

from chemsbi_jax import results
from chemsbi_jax.cli import nuts
from chemsbi_jax.cli.flags import NutsFlags
from chemsbi_jax.cli.nuts import exit_code, load_models
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes
from chemsbi_jax.galaxy.hierarchical.settings import prior_scales
from chemsbi_jax.storage.files import whole_file


@dataclass(frozen=True)
class Config(NutsFlags):
    """Flags of this script."""

    stars: Annotated[Path | None, tyro.conf.Positional] = None
    """Star table: ECSV, FITS, CSV, VOTable or Parquet."""
    compare: bool = False
    """Compare flow, gaussian and exact with NUTS; needs the published tables."""
    hierarchical: bool = False
    """Compare the second interval, with shared errors, with NUTS."""
    standard: bool = True
    """With --hierarchical: run NUTS over all stars, which takes half an hour for 200;
    without, the samplers of infer.py are compared with the truth alone."""
    compare_n_stars: tuple[int, ...] = (10, 200, 1000)
    """Numbers of stars of --compare and --hierarchical."""
    compare_sets: tuple[str, ...] = ("tng", "chempy-alternative", "illustris-tng")
    """Data sets of both, by their names in reproduce.py."""
    samplers: tuple[Literal["network", "nuts"], ...] = SAMPLERS
    """With --hierarchical: samplers to run.
    Columns of a sampler that is not run are kept from an earlier run in --out."""
    effective_draws: int = SharedErrors.effective_draws
    """With --hierarchical: effective draws of --sampler nuts; more take more runs."""


def main(config: Config) -> dict:
    """Run NUTS; returns the content of summary.json, or of compare.json."""
    least = {"n_chains": 1, "n_warmup": 1, "n_draws": 4, "effective_draws": 1}
    check_flags(config, compare_n_stars=1, **least)
    if config.compare:
        return run_comparison(config)
    if config.hierarchical:
        return run_hierarchical(config)
    if config.stars is None:
        raise InputError("Expected a star table, or --compare, or --hierarchical.")
    return nuts.main(config)


def run_comparison(config: Config) -> dict:
    """Every method against NUTS on the same stars; returns compare.json's content."""
    if config.weights == "auto":
        config = replace(config, weights="tng")
    npe, forward = load_models(config)
    sizes = {"n_chains": config.n_chains, "n_warmup": config.n_warmup}
    sizes |= {"n_draws": config.n_draws, "quiet": config.quiet}

    def keep(rows: list[dict]) -> None:
        failed = [r["set"] for r in rows if not r["converged"]]
        content = {"rows": rows, "warnings": failed}
        results.write_summary(config.out / "compare.json", content)
        with whole_file(config.out / "compare.md") as path:
            path.write_text(report_comparison(rows), encoding="utf-8")

    key = jax.random.key(config.seed)
    rows = compare_all(key, npe, forward, config, sizes, keep)
    if not config.quiet:
        print(report_comparison(rows))
    return {"rows": rows, "warnings": [r["set"] for r in rows if not r["converged"]]}


def run_hierarchical(config: Config) -> dict:
    """The second interval against NUTS; returns the content of its JSON file."""
    # errors before the standard, which takes hours
    if not config.samplers or len(set(config.samplers)) < len(config.samplers):
        raise InputError(
            f"Expected --samplers once each, of {SAMPLERS}; got {config.samplers}."
        )
    prior_scales(SharedErrors(effective_draws=config.effective_draws), SHARED_FACTORS)
    sizes = ChainSizes(config.n_chains, config.n_warmup, config.n_draws)
    flags = {"seed": config.seed, "n_stars": list(config.compare_n_stars)}
    flags |= {"standard": config.standard, **sizes._asdict()}
    path = config.out / "compare_hierarchical.json"

    def content(rows: list[dict]) -> dict:
        failed = [_name(r) for r in rows if not _is_converged(r)]
        return {"flags": flags, "rows": rows, "warnings": failed}

    def keep(rows: list[dict]) -> None:
        results.write_summary(path, content(rows))
        with whole_file(path.with_suffix(".md")) as place:
            place.write_text(report_shared(rows), encoding="utf-8")

    key, before = jax.random.key(config.seed), _rows_of_same_flags(path, flags)
    rows = compare_shared(key, config, sizes, before, keep)
    if not config.quiet:
        print(report_shared(rows))
    return content(rows)


def _name(row: dict) -> str:
    return f"{row['set']}, {row['n']}"


def _is_converged(row: dict) -> bool:
    """Whether the chains over all stars did, and those of --sampler nuts."""
    by_nuts = row.get("checks_nuts", {}).get("sampler", "nuts") == "nuts"
    return row.get("converged", True) and by_nuts


def _rows_of_same_flags(path: Path, flags: dict) -> list[dict]:
    """Rows of an earlier run in this folder, if it had the same flags."""
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: expected the file of an earlier run; got {error}. Remove it, or "
            "give another folder (--out)."
        ) from None
    found = content.get("flags") if isinstance(content, dict) else None
    is_same = found == json.loads(json.dumps(flags))
    if not is_same:
        raise InputError(
            f"{path}: expected the rows of a run with the flags {flags}; got {found}. "
            "Remove it, or give another folder (--out)."
        )
    return content["rows"]


if __name__ == "__main__":
    sys.exit(run_script(main, Config, exit_code))
