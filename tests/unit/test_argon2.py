"""Hashes of JupyterLab's passwords."""

import argon2
import pytest
from jupyter import jupyter_password


def accepts(hashed, password):
    """Check a hash as jupyter_server does: without its prefix, with argon2-cffi."""
    try:
        return argon2.PasswordHasher().verify(hashed.removeprefix("argon2:"), password)
    except argon2.exceptions.VerificationError:
        return False


def test_the_hash_is_argon2id_and_opens_for_its_password_only():
    hashed = jupyter_password("correct horse")
    assert hashed.startswith("argon2:$argon2id$v=19$m=10240,t=10,p=8$")
    assert accepts(hashed, "correct horse")
    assert not accepts(hashed, "wrong horse")


def test_every_hash_has_its_own_salt():
    assert jupyter_password("correct horse") != jupyter_password("correct horse")


def test_a_hash_that_still_opens_is_kept_wherever_it_stands():
    hashed = jupyter_password("correct horse")
    assert jupyter_password("correct horse", f'# x\nc.X.hashed_password = "{hashed}"\nc.Y = 1\n') == hashed


@pytest.mark.parametrize(
    "known",
    [
        "",
        None,
        'hashed_password = "argon2:$argon2id$broken"',
        'hashed_password = "argon2:$argon2id$v=19$m=10240,t=10,p=8$AAAA$!!"',
        'hashed_password = "sha1:ab:cd"',
        f'hashed_password = "argon2:{argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")}"',
        f'hashed_password = "{jupyter_password("another horse")}"',
    ],
    ids=["none", "null", "broken", "damaged", "sha1", "weak", "other password"],
)
def test_any_other_hash_is_replaced(known):
    hashed = jupyter_password("correct horse", known)
    assert hashed not in (known or "")
    assert accepts(hashed, "correct horse")


def test_an_empty_password_is_refused():
    with pytest.raises(ValueError, match="empty"):
        jupyter_password("")
