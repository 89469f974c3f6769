"""Download the public yield tables and star tables; prints where each file lies.

    python experiments/download.py --sets all

Files in the folder `CHEMSBI_DATA` are only checked; the others go to the download
cache. Star tables that have no public address of their own come from a mirror
(`CHEMSBI_DATA`, or `--base-url`); without one, the public originals they were made
from are downloaded, but not opened: they can hold pickled objects. Makes no figure.
Exit code 2: a file could not be had.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from tqdm import tqdm

from chemsbi_jax.errors import DatasetError, MirrorOnlyError
from chemsbi_jax.storage.datasets import FILES, fetch

SETS = {
    "tng": ("yields/tng/",),
    "alternative": ("yields/alternative/",),
    "stars": ("stars/",),
    "all": ("yields/", "stars/"),
}
"""Name of a set -> how its files' names begin."""


@dataclass(frozen=True)
class Config:
    """What to download."""

    sets: tuple[Literal["tng", "alternative", "stars", "all"], ...] = ("all",)
    """Sets of files."""
    base_url: str | None = None
    """Address of a mirror to use in place of the public ones."""
    quiet: bool = False
    """No progress bar, and no list of files."""


def main(config: Config) -> dict[str, Path]:
    """Fetch the sets; returns name -> file.

    Raises:
        DatasetError: a file that has an address could not be had, or is damaged.
    """
    prefixes = tuple(p for s in config.sets for p in SETS[s])
    names = [n for n in FILES if n.startswith(prefixes) and "/originals/" not in n]
    found: dict[str, Path] = {}
    notes: list[str] = []
    for name in tqdm(names, desc="files", unit="file", disable=config.quiet):
        try:
            found[name] = fetch(name, progress=False, base_url=config.base_url)
        except MirrorOnlyError as error:
            notes.append(str(error))
            original = FILES[name].made_from
            if original in FILES:
                found[original] = fetch(original, progress=False)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if not config.quiet:
        for name, path in found.items():
            print(f"{name}: {path}")
    return found


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
