"""The command `infer`: flags, one call, files."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread

from chemsbi_jax.catalog import Catalog, read_catalog
from chemsbi_jax.catalog.shipped import table_of
from chemsbi_jax.cli.flags import InferFlags, StarFlags
from chemsbi_jax.cli.run import check_flags, command_line
from chemsbi_jax.compute.devices import join_processes
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import InputError, WidthError
from chemsbi_jax.galaxy.any_yields import columns_to_read
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.inference import Inference, infer, infer_as_worker
from chemsbi_jax.inference.rows import save_rows
from chemsbi_jax.inference.shared import read_settings
from chemsbi_jax.options import Limits
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import require_folder

PROGRESS = "progress.json"  # beside the results, until they are complete
ONE_PROCESS = ("exact", "robust")


def main(config: InferFlags, limits: Limits = Limits()) -> dict:
    """Run the inference and write its files; returns the content of summary.json."""
    join(config)
    watch = Stopwatch(config.quiet)
    with watch("read"):
        columns = columns_to_read(config.yields, config.weights)
        catalog = read_and_report(config.stars, config, config.quiet, columns)
    about = {
        "method": method_of(config),
        "weights": config.weights,
        "seed": config.seed,
        "limits": limits,
        "path": table_of(config.stars),
        "quiet": config.quiet,
    }
    if config.process_id > 0:
        infer_as_worker(catalog, **about)
        return {"warnings": []}
    require_folder(config.out)
    progress, drawn = config.out / PROGRESS, {}
    Thread(target=_import_what_saves, daemon=True).start()
    try:
        found = infer(
            catalog,
            **about,
            yields=config.yields,
            forward=config.forward,
            shared_errors=shared_settings(config),
            checkpoint=progress,
            watch=watch,
            meanwhile=lambda first: drawn.update(first.draw_figures(config.truth)),
        )
    except WidthError:  # a second run would resume at the same numbers
        progress.unlink(missing_ok=True)
        raise
    _print(found, config)
    command, truth = command_line("chemsbi infer", config, ("stars",)), config.truth
    summary = found.save(config.out, truth=truth, command=command, drawn=drawn or None)
    progress.unlink(missing_ok=True)
    _print(closing_line(found, config.out), config)
    return summary


def _import_what_saves() -> None:
    """Import matplotlib and the rest while the stars are computed: half a second."""
    for module in ("plots", "results.netcdf"):
        import_module(f"chemsbi_jax.{module}")


def _print(content: object, config: InferFlags) -> None:
    if not config.quiet:
        print(content, flush=True)


def shared_settings(config: InferFlags) -> bool | SharedErrors:
    """Priors of the second interval; False: it is not wanted."""
    if config.shared_errors and not config.fast:
        return read_settings(config.hold, config.shared_priors, config.sampler)
    if config.hold or config.shared_priors or config.sampler:
        named = {
            "--hold": config.hold,
            "--shared-priors": config.shared_priors,
            "--sampler": config.sampler,
        }
        given = " and ".join(flag for flag, value in named.items() if value)
        off = "--fast" if config.fast else "--no-shared-errors"
        raise InputError(
            f"{given}: this is for the second interval, which {off} leaves out. Remove "
            f"{off}, or {given}."
        )
    return False


def method_of(config: InferFlags) -> str:
    """The method that the flags name."""
    if config.robust and config.method != "auto":
        raise InputError(
            f"Expected --robust without --method {config.method}: it is a method of "
            "its own. Remove one of the two flags."
        )
    return "robust" if config.robust else config.method


def join(config: InferFlags) -> None:
    """Make this process one of `--n-processes`; call it before any JAX operation."""
    check_flags(config, n_processes=1, process_id=0)
    if config.process_id >= config.n_processes:
        raise InputError(
            f"Expected --process-id below --n-processes ({config.n_processes}); got "
            f"{config.process_id}."
        )
    if config.n_processes == 1:
        return
    if method_of(config) in ONE_PROCESS:
        raise InputError(
            "Expected --method auto, flow or gaussian for several processes; got "
            f"{'--robust' if config.robust else config.method}, which one process runs."
        )
    if config.yields is not None:
        raise InputError(
            "Expected one process with --yields, whose method is exact; got "
            f"--n-processes {config.n_processes}."
        )
    join_processes(config.coordinator, config.n_processes, config.process_id)


def read(
    path: Path,
    flags: StarFlags,
    out: Path,
    quiet: bool,
    columns: Sequence[str] = ABUNDANCES,
) -> Catalog:
    """Read the stars; lists the rows that are not used in `out`/dropped_rows.csv."""
    catalog = read_and_report(path, flags, quiet, columns)
    save_rows(out, catalog.report)
    return catalog


def read_and_report(
    path: Path,
    flags: StarFlags,
    quiet: bool,
    columns: Sequence[str] = ABUNDANCES,
) -> Catalog:
    """Read the stars, and print the report of the table."""
    catalog = read_catalog(path, flags.options(), columns)
    if not quiet:
        print(catalog.report.text(), flush=True)
    return catalog


def closing_line(found: Inference, out: Path) -> str:
    """How long the stages took, and where the files are."""
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in found.seconds.items())
    return f"({seconds})\nResults are in {out}."


def exit_code(summary: dict, config: InferFlags) -> int:
    """3 if there is a warning and --strict is given, else 0."""
    return 3 if config.strict and summary["warnings"] else 0
