"""The command `compare-yields`: posterior, evidence and misfit of several sets."""

from chemsbi_jax.cli.flags import CompareFlags
from chemsbi_jax.cli.infer import read
from chemsbi_jax.cli.run import check_flags
from chemsbi_jax.inference.comparison import (
    columns_of_sets,
    compare_yields,
    set_names,
)

SETS = "sets"  # folder of the records of sets that are done


def main(config: CompareFlags) -> dict:
    """Fit all sets and write the files; returns the content of comparison.json."""
    check_flags(config, n_element_stars=0)
    columns = columns_of_sets(set_names(config.sets))
    catalog = read(config.stars, config, config.out, config.quiet, columns)
    found = compare_yields(
        catalog,
        config.sets,
        seed=config.seed,
        forward=config.forward,
        folder=config.out / SETS,
        n_element_stars=config.n_element_stars,
        quiet=config.quiet,
    )
    summary = found.save(config.out)
    if not config.quiet:
        print(f"{found.table()}\nResults are in {config.out}.")
    return summary
