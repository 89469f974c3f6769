"""Public files: found, checked, downloaded; the web is a server on loopback."""

import contextlib
import functools
import hashlib
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chemsbi_jax.errors import DatasetError, MirrorOnlyError
from chemsbi_jax.storage import datasets
from chemsbi_jax.storage.datasets import FILES, DataFile, fetch
from helpers.paths import ROOT

SCRIPT = ROOT / "experiments" / "download.py"
TNG = [name for name in FILES if name.startswith("yields/tng/")]
CONTENT = b"".join(b"line %d\n" % i for i in range(200))
TOY = "yields/toy.dat"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.requests.append(self.path)

    def log_request(self, *args):
        self.log_message()


@contextlib.contextmanager
def serving(folder):
    """A server of `folder`; gives its address and the list of requests so far."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.requests
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No mirror, an empty cache, and no address that is not on this machine."""
    for name in (datasets.MIRROR_FOLDER, datasets.MIRROR_URL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def digest(content):
    return hashlib.sha256(content).hexdigest()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def download(*flags, **variables):
    return subprocess.run(
        [sys.executable, SCRIPT, *flags],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def toy(monkeypatch):
    def register(**fields):
        file = DataFile(**{"sha256": digest(CONTENT), **fields})
        monkeypatch.setitem(FILES, TOY, file)

    register()
    return register


def test_registry_has_the_published_checksums(data):
    lines = (data / "SHA256SUMS").read_text().splitlines()
    published = {name: digest for digest, name in (line.split() for line in lines)}
    ours = {n: f.sha256 for n, f in FILES.items() if "/originals/" not in n}
    # the Nomoto text files are not read: the .npy files beside them are
    unused = {n for n in published if "nomoto_2013_z=" in n or "SNIayields" in n}
    assert ours == {n: d for n, d in published.items() if n not in unused}


def test_every_file_has_an_address_or_an_origin():
    for name, file in FILES.items():
        assert (file.url is None) == bool(file.made_from), name
        assert len(file.sha256) == 64, name


def test_local_folder_comes_first(toy, monkeypatch, tmp_path):
    write(tmp_path / TOY, CONTENT)
    monkeypatch.setenv(datasets.MIRROR_FOLDER, str(tmp_path))
    assert fetch(TOY, base_url="http://127.0.0.1:9") == tmp_path / TOY


def test_damaged_local_file_is_refused(toy, monkeypatch, tmp_path):
    write(tmp_path / TOY, CONTENT + b"!")
    monkeypatch.setenv(datasets.MIRROR_FOLDER, str(tmp_path))
    with pytest.raises(DatasetError) as error:
        fetch(TOY)
    for part in (tmp_path / TOY, digest(CONTENT), digest(CONTENT + b"!"), "Replace it"):
        assert str(part) in str(error.value)


def test_wrong_folder_is_named(toy, monkeypatch, tmp_path):
    monkeypatch.setenv(datasets.MIRROR_FOLDER, str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="nowhere, which is no folder"):
        fetch(TOY)


def test_unknown_name():
    with pytest.raises(DatasetError, match="Unknown data file 'yields/none'"):
        fetch("yields/none")


@pytest.mark.parametrize("by_variable", [False, True], ids=["argument", "variable"])
def test_mirror_downloads_once(toy, monkeypatch, tmp_path, by_variable):
    write(tmp_path / "web" / TOY, CONTENT)
    with serving(tmp_path / "web") as (address, requests):
        if by_variable:
            monkeypatch.setenv(datasets.MIRROR_URL, address + "/")
        mirror = None if by_variable else address
        path = fetch(TOY, progress=False, base_url=mirror)
        assert path.read_bytes() == CONTENT
        assert fetch(TOY, progress=False, base_url=mirror) == path
        assert requests == [f"/{TOY}"]


def test_damaged_cache_is_replaced(toy, tmp_path):
    write(tmp_path / "web" / TOY, CONTENT)
    write(datasets.cache_folder() / TOY, b"cut sho")
    with serving(tmp_path / "web") as (address, _):
        assert fetch(TOY, progress=False, base_url=address).read_bytes() == CONTENT


def test_damaged_download_is_refused(toy, tmp_path):
    write(tmp_path / "web" / TOY, b"<html>not found</html>")
    with (
        serving(tmp_path / "web") as (address, _),
        pytest.raises(DatasetError, match=f"could not download {TOY} from {address}"),
    ):
        fetch(TOY, progress=False, base_url=address)
    assert not (datasets.cache_folder() / TOY).exists()


def test_missing_on_the_server(toy, tmp_path):
    with (
        serving(tmp_path) as (address, _),
        pytest.raises(DatasetError, match="404.*set CHEMSBI_DATA to a folder"),
    ):
        fetch(TOY, progress=False, base_url=address)


def test_no_network(toy):
    with pytest.raises(DatasetError, match=r"could not download .*set CHEMSBI_DATA"):
        fetch(TOY, progress=False, base_url="http://127.0.0.1:9")


def test_public_address(toy, tmp_path):
    write(tmp_path / "public" / "a" / "toy.dat", CONTENT)
    with serving(tmp_path / "public") as (address, requests):
        toy(url=f"{address}/a/toy.dat")
        assert fetch(TOY, progress=False).read_bytes() == CONTENT
        assert requests == ["/a/toy.dat"]


def test_first_lines_of_a_public_file(toy, tmp_path):
    head = b"".join(CONTENT.splitlines(keepends=True)[:90])
    write(tmp_path / "public" / "full.dat", CONTENT)
    with serving(tmp_path / "public") as (address, requests):
        toy(
            sha256=digest(head),
            url=f"{address}/full.dat",
            head=90,
            head_of=digest(CONTENT),
        )
        assert fetch(TOY, progress=False).read_bytes() == head
        assert fetch(TOY, progress=False).read_bytes() == head
        assert requests == ["/full.dat"]


def test_file_without_an_address():
    with pytest.raises(MirrorOnlyError, match="made from .*Mock_Data_TNG.npz.*mirror"):
        fetch("stars/illustris_tng.ecsv")


def test_download_script_from_a_server(data):
    with serving(data) as (address, requests):
        done = download("--sets", "tng", "stars", "--base-url", address)
    assert done.returncode == 0, done.stderr
    for name in (*TNG, "stars/illustris_tng.ecsv", "stars/real/reddy2003.csv"):
        assert f"/{name}" in requests
        path = Path(done.stdout.split(f"{name}: ")[1].splitlines()[0])
        assert path.read_bytes() == (data / name).read_bytes()
    assert "100%" in done.stderr


def test_download_script_gets_the_original_of_a_mirror_only_table(
    monkeypatch, tmp_path, capsys
):
    spec = importlib.util.spec_from_file_location("download", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    original = "stars/originals/toy.npz"
    write(tmp_path / "public" / "toy.npz", CONTENT)
    for name in list(FILES):
        monkeypatch.delitem(FILES, name)
    with serving(tmp_path / "public") as (address, _):
        file = DataFile(digest(CONTENT), f"{address}/toy.npz")
        monkeypatch.setitem(FILES, original, file)
        table = DataFile("0" * 64, made_from=original)
        monkeypatch.setitem(FILES, "stars/toy.ecsv", table)
        found = script.main(script.Config(sets=("stars",), quiet=True))
    assert list(found) == [original]
    assert found[original].read_bytes() == CONTENT
    note = capsys.readouterr().err
    assert note.startswith(f"note: stars/toy.ecsv was made from {original}")
    assert "comes from a mirror only" in note


def test_download_script_is_silent_when_quiet(data):
    done = download("--sets", "tng", "--quiet", CHEMSBI_DATA=str(data))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_download_script_without_network():
    done = download("--sets", "tng", "--quiet", "--base-url", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: could not download yields/tng/AGB.hdf5")
    assert "Traceback" not in done.stderr


def test_download_script_names_a_damaged_file(data, tmp_path):
    shutil.copytree(data / "yields" / "tng", tmp_path / "yields" / "tng")
    damaged = tmp_path / "yields" / "tng" / "SNIa.hdf5"
    damaged.chmod(0o644)
    damaged.write_bytes(b"")
    done = download("--sets", "tng", "--quiet", CHEMSBI_DATA=str(tmp_path))
    assert done.returncode == 2
    assert f"{damaged} is not the published file" in done.stderr
