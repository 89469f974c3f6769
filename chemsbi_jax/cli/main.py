"""The command `chemsbi`: reads the flags, and only then loads the code of a command."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro

from chemsbi_jax.cli import flags as f
from chemsbi_jax.cli.combine_flags import CombineFlags
from chemsbi_jax.cli.run import ends_at_interrupt, run, seldom_collected

MODULES: dict[type, str] = {
    f.InferFlags: "infer",
    CombineFlags: "combine",
    f.CompareFlags: "compare_yields",
    f.NutsFlags: "nuts",
    f.MockFlags: "mock",
    f.SimulateFlags: "simulate",
    f.EmulatorFlags: "train_emulator",
    f.NpeFlags: "train_npe",
    f.DownloadFlags: "download",
    f.DoctorFlags: "doctor",
}
"""Flags of a command -> its module, with `main` and, if it has one, `exit_code`."""


def _command(name: str, about: str, **default: Any) -> Any:
    return tyro.conf.subcommand(name, description=about, **default)


INFER = """Infer the IMF slope and number of SNe Ia of a galaxy from a table of stars.

Writes report.html, summary.json, posterior.nc, posterior.ecsv and figures into --out.
Exit code 0: done; 2: the input cannot be used; 3: done, with warnings and --strict."""
COMBINE = """Combine runs of `chemsbi infer` for several catalogues of one galaxy.

Writes combined.json, combined.ecsv, a table and two figures into --out.
Exit code 3: the catalogues contradict each other, or another warning, with --strict."""
COMPARE = "Compare yield sets: posteriors, evidences and stacking weights for a table."
NUTS = """Sample a galaxy and all of its stars with NUTS, for comparison; for few stars.

Writes summary.json, posterior.nc and, if the chains converged, a figure.
Exit code 3: the chains did not converge, with --strict."""
MOCK = "Make a table of mock stars of one galaxy with known parameters."
SIMULATE = "Simulate stars with parameters drawn from a prior."
TRAIN = "Train an emulator or a posterior network."
DOWNLOAD = "Download the public yield tables and star tables."
DOCTOR = "Print versions, devices, cores, caches and tables, for a bug report."

# the scripts write into the checkout by default; users of the command have none
OWN_PLOTS = f.SimulateFlags(plots=Path("runs/simulations"))

Command = (
    Annotated[f.InferFlags, _command("infer", INFER)]
    | Annotated[CombineFlags, _command("combine", COMBINE)]
    | Annotated[f.CompareFlags, _command("compare-yields", COMPARE)]
    | Annotated[f.NutsFlags, _command("nuts", NUTS)]
    | Annotated[f.MockFlags, _command("mock", MOCK)]
    | Annotated[f.SimulateFlags, _command("simulate", SIMULATE, default=OWN_PLOTS)]
    | Annotated[f.TrainFlags, _command("train", TRAIN)]
    | Annotated[f.DownloadFlags, _command("download", DOWNLOAD)]
    | Annotated[f.DoctorFlags, _command("doctor", DOCTOR)]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code.

    Args:
        arguments: words after `chemsbi`; None takes those of the process.
    """
    flags = tyro.cli(
        Command,
        prog="chemsbi",
        description="The IMF slope and number of SNe Ia of a galaxy from its stars.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    if isinstance(flags, f.TrainFlags):
        flags = flags.network
    with ends_at_interrupt(), seldom_collected():  # while the command is imported, too
        return run(*entry_points(flags))


def entry_points(flags: Any) -> tuple[Callable, Any, Callable]:
    """Arguments of `run` for the flags of a command."""
    module = import_module(f"chemsbi_jax.cli.{MODULES[type(flags)]}")
    exit_code = getattr(module, "exit_code", lambda result, flags: 0)
    return module.main, flags, exit_code


if __name__ == "__main__":
    sys.exit(main())
