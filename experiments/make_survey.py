"""Make a mock table of a survey: its columns, flags, gaps, ages and unusable rows.

    python experiments/make_survey.py --out runs/tutorial/survey.csv

The same as `chemsbi mock --survey galah`: the stars come from the emulator, with the
errors that GALAH has, in the columns of its third data release.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import chemsbi_jax as cs
from chemsbi_jax.cli import mock
from chemsbi_jax.cli.flags import MockFlags
from chemsbi_jax.cli.run import run_script


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/tutorial/survey.csv")
    """Table to write (CSV)."""
    truth: tuple[float, float] = (-2.6, -3.3)
    """alpha_imf and log10_n_ia of the galaxy."""
    n: int = 400
    """Rows."""
    seed: int = 3
    """Random seed."""
    quiet: bool = False
    """Nothing on the screen."""


def main(config: Config) -> cs.Stars:
    """Make the stars and write their table."""
    return mock.main(MockFlags(**asdict(config), survey="galah"))


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
