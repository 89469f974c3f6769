"""The command `combine`: one galaxy from several catalogues of its stars."""

import os
from itertools import count
from pathlib import Path

from chemsbi_jax.cli.combine_flags import CombineFlags
from chemsbi_jax.cli.run import check_flags
from chemsbi_jax.errors import InputError
from chemsbi_jax.inference.combine import combine_catalogues
from chemsbi_jax.storage.files import require_folder

WARNED = 3  # exit code with --strict


def main(config: CombineFlags) -> dict:
    """Combine the runs and write the files; returns the content of combined.json."""
    check_flags(config, slope_error=0)
    if (config.out / "summary.json").exists():
        raise InputError(
            "Expected a folder of its own for the common interval; got --out "
            f"{config.out}, which has the summary.json of a run. Give a new folder."
        )
    runs = (config.run, *config.others)
    found = combine_catalogues(
        dict(zip(names_of(runs), runs, strict=True)),
        slope_error=config.slope_error,
        seed=config.seed,
    )
    require_folder(config.out)
    summary = found.save(config.out, truth=config.truth)
    if not config.quiet:
        print(f"{found}\nResults are in {config.out}.")
    return summary


def exit_code(summary: dict, config: CombineFlags) -> int:
    """3 for warnings, with --strict."""
    return WARNED if config.strict and summary["warnings"] else 0


def names_of(runs: tuple[Path, ...]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart.

    Raises:
        InputError: a folder is given twice.
    """
    paths = [Path(os.path.abspath(run)) for run in runs]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(
                f"Expected each folder once; got {path} twice, and its stars would "
                "count twice. Leave one out."
            )
    ends = ([str(Path(*p.parts[-n:])) for p in paths] for n in count(1))
    return next(names for names in ends if len(set(names)) == len(names))
