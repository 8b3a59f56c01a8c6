"""The sentence about a full disk."""

import errno
import os

import pytest
from ansible.module_utils import disk


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/opt/x"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        "failed to write: No space left on device (os error 28)",
        "NoSpaceLeftError: No space left on devices.",
    ],
)
def test_what_says_that_a_disk_is_full_gets_its_name_and_what_helps(error, tmp_path):
    said = disk.full(error, str(tmp_path / "not/there"), "", None)
    assert said.startswith(str(error))
    assert "; the disk is full: " in said
    assert said.endswith(
        "MB, %s of them free now); make room there and run again, the next run goes on" % (said.split(" of them")[0].split()[-1])
    )


def test_a_disk_that_is_full_is_named_whatever_was_said(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "LOW", 1 << 60)
    assert "the disk is full: " in disk.full("it broke", str(tmp_path))


def test_other_errors_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "LOW", 0)
    assert disk.full("it broke", str(tmp_path)) == "it broke"
