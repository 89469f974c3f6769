"""Folders are refused before anything long."""

from pathlib import Path

import pytest

from chemsbi_jax.errors import OutputError
from chemsbi_jax.storage.files import require_folder


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder of Linux")
def test_a_folder_that_only_looks_writable_is_refused_at_the_start(tmp_path):
    with pytest.raises(OutputError, match="Cannot write into folder /proc/new"):
        require_folder("/proc/new")
    require_folder(tmp_path / "new" / "deep")
    assert not list(tmp_path.iterdir())
