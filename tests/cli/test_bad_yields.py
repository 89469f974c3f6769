"""Bad yields and folders: the sentence that each gets, and exit code 2."""

import copy
import json
import re
from pathlib import Path

import pytest

from helpers.broken_yields import BROKEN, UNREADABLE
from helpers.paths import TOY

OUT = ["--out", "out"]


HUGE = {
    "huge number": (lambda t: t["sn_ia"].update(mass=10**400), "sn_ia.mass: expected"),
}


@pytest.mark.parametrize(
    ("edit", "says"), (BROKEN | HUGE).values(), ids=[*BROKEN, *HUGE]
)
def test_bad_yields(edit, says, refused, tmp_path):
    table = copy.deepcopy(json.loads(TOY.read_text()))
    edit(table)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table))
    message = refused("make_mock", "--yields", path, "--quiet", "--out", "out.ecsv")
    assert re.search(f"mine.json: .*{says}", message)


UNREADABLE_TOO = UNREADABLE | {"deep": (b"[" * 10**5, "expected a JSON file")}


@pytest.mark.parametrize(
    ("content", "says"), UNREADABLE_TOO.values(), ids=UNREADABLE_TOO
)
@pytest.mark.parametrize("script", ["simulate", "train_emulator"])
def test_unreadable_yields(script, content, says, refused, tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    assert f"mine.json: {says}" in refused(script, "--yields", path, *OUT)


def test_the_folder_of_a_script_is_a_file(refused, tmp_path):
    """Refused before a training begins."""
    Path(tmp_path / "out").write_text("mine")
    assert "is a file" in refused("train_emulator", "--yields", TOY, *OUT)
    assert "is a file" in refused("train_npe", *OUT)
