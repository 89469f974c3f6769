"""`chemsbi infer` on the shipped stars in fresh processes: first run and later runs."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import resources
from itertools import product
from pathlib import Path

STARS = Path("pretrained") / "stars" / "example_galaxy.ecsv"
RUNS = ("first run", "second run", "third run")
WORK = {"whole": (), "without the second interval": ("--no-shared-errors",)}
# counts what XLA compiles and what it loads from the cache
CODE = """
import json, resource, sys, time
start = time.perf_counter()
import jax
events = {"compiled": 0, "loaded": 0}
def count(event, **_):
    if event == "/jax/compilation_cache/cache_misses":
        events["compiled"] += 1
    if event == "/jax/compilation_cache/cache_hits":
        events["loaded"] += 1
jax.monitoring.register_event_listener(count)
from chemsbi_jax.cli.main import main
code = main(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_SELF)
report = events | {
    "exit_code": code,
    "seconds": time.perf_counter() - start,
    "cpu_seconds": used.ru_utime + used.ru_stime,
    "peak_mb": used.ru_maxrss / 1024,
}
with open(sys.argv[1], "w") as file:
    json.dump(report, file)
"""


def run(config, out: Path) -> dict:
    """Runs of `chemsbi infer`, and the time of `chemsbi --help`."""
    out.mkdir(parents=True, exist_ok=True)
    report: dict = {work: _runs(out, flags) for work, flags in WORK.items()}
    report["help_seconds"] = min(_seconds_of_help() for _ in range(3))
    return report


def _runs(out: Path, flags: tuple[str, ...]) -> dict:
    """Three runs that share a cache, which is empty at first."""
    stars = Path(str(resources.files("chemsbi_jax") / STARS))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    report, file = {}, out / "start_run.json"
    with tempfile.TemporaryDirectory() as cache:
        environment = kept | {"CHEMSBI_COMPILATION_CACHE": cache}
        for name in RUNS:
            words = [file, "infer", stars, "--out", out / "start", "--quiet", *flags]
            _python(CODE, words, environment)
            report[name] = json.loads(file.read_text())
    return report


def _seconds_of_help() -> float:
    begin = time.perf_counter()
    _python("from chemsbi_jax.cli.main import main; main(['--help'])", [], os.environ)
    return time.perf_counter() - begin


def _python(code: str, words: list, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"chemsbi infer failed: {done.stderr[-2000:]}")


def rows(report: dict) -> list[str]:
    """Lines of the report."""
    lines = [
        "`chemsbi infer` on the shipped 1000 stars in a fresh process, empty cache at "
        "first.",
        "",
        "| work | run | wall s | CPU s | compiled | from the cache | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for work, name in product(WORK, RUNS):
        r = report[work][name]
        lines.append(
            f"| {work} | {name} | {r['seconds']:.1f} | {r['cpu_seconds']:.1f} "
            f"| {r['compiled']} | {r['loaded']} | {r['peak_mb']:.0f} |"
        )
    lines += ["", f"`chemsbi --help`: {report['help_seconds']:.2f} s, best of three."]
    return lines
