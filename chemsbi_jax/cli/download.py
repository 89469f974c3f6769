"""The command `download`: the public yield tables and star tables."""

import sys
from pathlib import Path

from tqdm import tqdm

from chemsbi_jax.cli.flags import DownloadFlags
from chemsbi_jax.errors import MirrorOnlyError
from chemsbi_jax.storage.datasets import FILES, fetch

SETS = {
    "tng": ("yields/tng/",),
    "alternative": ("yields/alternative/",),
    "stars": ("stars/",),
    "all": ("yields/", "stars/"),
}
"""Name of a set -> how its files' names begin."""


def main(config: DownloadFlags) -> dict[str, Path]:
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
