"""The folder of compiled programs that commands share."""

import json
import os
import subprocess
import sys

import pytest

CACHE = """
import sys
import jax
from chemsbi_jax.cli.cache import use_compilation_cache
if sys.argv[1] == "on":
    use_compilation_cache()
print(jax.jit(lambda x: x + 1.0)(1.0))
"""


def start(folder, program=CACHE, switch="on"):
    """A process with this cache; its output and errors are pipes."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    return subprocess.Popen(
        [sys.executable, "-c", program, switch],
        env=kept | {"CHEMSBI_COMPILATION_CACHE": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("switch", "is_filled"), [("on", True), ("off", False), ("library", False)]
)
def test_the_cache_is_filled_by_commands_only(switch, is_filled, tmp_path):
    folder = tmp_path / "cache"
    by = "library" if switch == "library" else "on"
    out, err = start("off" if switch == "off" else folder, switch=by).communicate()
    assert out == "2.0\n", err
    assert bool(list(folder.glob("*-cache"))) == is_filled


def test_the_cache_recovers_from_a_stopped_process(tmp_path):
    """An entry without its time of last use would stop all further writing."""
    stale = tmp_path / "jit_old-0123-cache"
    stale.write_bytes(b"half of a program")
    _, err = start(tmp_path).communicate()
    assert "cache entry" not in err
    assert not stale.exists()
    assert list(tmp_path.glob("*-cache"))


def test_two_commands_may_share_the_cache(tmp_path):
    both = [start(tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert (out, process.returncode) == ("2.0\n", 0), err
        assert "cache entry" not in err  # JAX's warning of an entry that failed
    names = {path.name for path in tmp_path.glob("*-cache")}
    assert names
    assert all((tmp_path / n.replace("-cache", "-atime")).exists() for n in names)


def test_the_cache_has_a_largest_size(tmp_path):
    program = f"{CACHE}\nprint(jax.config.jax_compilation_cache_max_size)"
    out, err = start(tmp_path, program).communicate()
    assert out.split() == ["2.0", str(512 * 1024**2)], err


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    out, err = start(tmp_path / "file" / "cache").communicate()
    assert out == "2.0\n"
    assert "No program is kept for later runs" in err


SHORT = """
import sys
import jax
import chemsbi_jax as cs
from chemsbi_jax.cli.cache import use_compilation_cache
from chemsbi_jax.compute import fingerprint
fingerprint.SETTLED = -1e9  # a file of the package may be new
if sys.argv[1] == "on":
    use_compilation_cache()
stars = cs.read_stars("example").take(range(40))
key = jax.random.key(0)
npe, forward = cs.load_networks("tng")
found = cs.infer_galaxy(key, npe, stars, method="flow", forward=forward)
print(found.mean.tolist(), found.draws.sum())
"""


@pytest.mark.thorough
def test_later_runs_load_the_programs_of_the_first_one(tmp_path, monkeypatch):
    """Also if Python hashes otherwise: numpyro's order of numbers depends on it."""
    outputs, files = [], []
    for salt, switch in (("1", "on"), ("2", "on"), ("3", "library")):
        monkeypatch.setenv("PYTHONHASHSEED", salt)
        out, err = start(tmp_path, SHORT, switch).communicate()
        assert out, err
        outputs.append(out)
        files.append(programs_in(tmp_path))
    assert len(set(outputs)) == 1
    assert files[0] == files[1]
    assert len(files[0]) > 5


def programs_in(folder):
    """Names of the traced programs, and their inodes, which a new file changes."""
    return {p.name: p.stat().st_ino for p in (folder / "exported").glob("*.zip")}


def infer_example(folder, out, *flags):
    """Content of the result of `chemsbi infer` with this cache, without its record."""
    program = (
        "import sys; from chemsbi_jax.cli.main import main; "
        "from chemsbi_jax.compute import fingerprint; fingerprint.SETTLED = -1e9; "
        "sys.exit(main())"
    )
    call = [sys.executable, "-c", program, "infer", "example"]
    call += ["--quiet", "--out", str(out), *flags]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment = kept | {"CHEMSBI_COMPILATION_CACHE": str(folder)}
    subprocess.run(call, env=environment, check=True, capture_output=True)
    summary = json.loads((out / "summary.json").read_text())
    return {k: v for k, v in summary.items() if k not in ("provenance", "seconds")}


@pytest.mark.slow
def test_stored_programs_change_no_number_of_a_whole_run(tmp_path):
    traced = infer_example(tmp_path / "no", tmp_path / "a", "--no-compilation-cache")
    assert not (tmp_path / "no").exists()
    first = infer_example(tmp_path / "cache", tmp_path / "b")
    files = programs_in(tmp_path / "cache")
    again = infer_example(tmp_path / "cache", tmp_path / "c")
    assert files == programs_in(tmp_path / "cache")
    assert len(files) > 20
    assert traced == first == again
