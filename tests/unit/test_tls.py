"""The certificates: what is refused beforehand, and what the program on the host decides."""

import json
import os
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from conftest import load
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tls import is_name, pem, tls_name_problems, tls_problems

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "roles/tls/files/fenton-certificate"
program = load(PROGRAM)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def private(key, password=None):
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def issue(key, names=("fenton.example.org",), start=NOW - timedelta(days=10), days=90):
    """Return a self-signed certificate, PEM."""
    kinds = [x509.DNSName(name) if not name[0].isdigit() else x509.IPAddress(ip_address(name)) for name in names]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(kinds), critical=False)
    )  # fmt: skip
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def test_a_right_pair_is_accepted_as_text_and_as_path(tmp_path):
    (tmp_path / "cert.pem").write_text(issue(KEY))
    (tmp_path / "key.pem").write_text(private(KEY))
    assert tls_problems(issue(KEY), private(KEY), ["fenton.example.org"], NOW) == []
    assert tls_problems(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"), ["FENTON.example.org"], NOW) == []


def test_a_wildcard_and_an_address_count_as_names():
    certificate = issue(KEY, ["*.example.org", "192.0.2.1"])
    assert tls_problems(certificate, private(KEY), ["fenton.example.org", "192.0.2.1"], NOW) == []
    assert "a.b.example.org" in tls_problems(certificate, private(KEY), ["a.b.example.org"], NOW)[0]


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        (issue(KEY), private(OTHER), "tls_key: the given text is not the key of the certificate"),
        (issue(KEY, start=NOW - timedelta(days=100)), private(KEY), "expired on 2026-05-22"),
        (issue(KEY, start=NOW + timedelta(days=1)), private(KEY), "is valid only from 2026-06-02 00:00 UTC on"),
        (issue(KEY, ["other.example.org"]), private(KEY), "is not for fenton.example.org"),
        (issue(KEY), private(KEY, b"secret"), "tls_key: the given text is encrypted"),
        (issue(KEY), "", "tls_key: is not set, but tls_certificate is"),
        ("", private(KEY), "tls_certificate: is not set, but tls_key is"),
        (issue(KEY), "/nowhere/key.pem", "tls_key: /nowhere/key.pem cannot be read: No such file or directory"),
        ("/nowhere/cert.pem", private(KEY), "tls_certificate: /nowhere/cert.pem cannot be read"),
        ("-----BEGIN nonsense", private(KEY), "tls_certificate: the given text holds no certificate"),
        (issue(KEY), "-----BEGIN nonsense", "tls_key: the given text holds no private key"),
    ],
)
def test_a_wrong_pair_gets_one_sentence(certificate, key, sentence):
    problems = tls_problems(certificate, key, ["fenton.example.org"], NOW)
    assert len(problems) == 1
    assert sentence in problems[0]
    assert "group_vars/all/tls.yml" in problems[0]
    assert "PRIVATE" not in problems[0]


def test_names():
    assert all(is_name(name) for name in ("fenton", "fenton.example.org", "192.0.2.1", "2001:db8::1", "a_b"))
    assert not any(is_name(name) for name in ("", "a b", "-a", "a..b", "https://fenton", "*.example.org", "a" * 64))
    assert tls_name_problems(["fenton", "https://fenton"], "tls_aliases") == [
        "tls_aliases: 'https://fenton' is neither a host name nor an IP address; correct it in group_vars/all/tls.yml"
    ]


def test_pem_is_taken_as_it_is():
    assert pem("-----BEGIN X") == "-----BEGIN X"
    assert pem("") == ""


# The program on the host

GROUP = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
WANTED = {"names": ["fenton", "fenton.example.org", "192.0.2.1", "::1"], "group": GROUP, "days": 90}


def look_after(root, wanted=None, days=0, check=False, service="demo"):
    """Run the program's work as if *days* had passed; return what it did."""
    host = program.Host(root, check, datetime.now(UTC) + timedelta(days=days))
    host.look_after(service if wanted else "", wanted)
    return host.did


@pytest.fixture
def root(tmp_path):
    look_after(tmp_path, WANTED)
    return tmp_path


def texts(root):
    return {str(path): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def test_the_first_run_makes_all_and_the_second_changes_nothing(tmp_path):
    assert len(look_after(tmp_path, WANTED)) == 3
    before = texts(tmp_path)
    assert look_after(tmp_path, WANTED) == []
    assert texts(tmp_path) == before


def test_the_key_of_the_authority_is_roots_and_that_of_the_service_its_groups(root):
    assert (root / "authority/ca.key").stat().st_mode & 0o777 == 0o600
    assert (root / "demo/privkey.pem").stat().st_mode & 0o777 == 0o640
    os.chmod(root / "demo/privkey.pem", 0o644)
    assert "rights" in look_after(root, WANTED)[0]
    assert (root / "demo/privkey.pem").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "mode"), [("authority/ca.key", 0o600), ("authority/ca.pem", 0o644), ("demo/fullchain.pem", 0o644), ("wanted/demo.json", 0o644)]
)
def test_a_file_that_others_can_write_is_closed_again(root, name, mode):
    (root / name).chmod(0o666)
    assert look_after(root, WANTED, check=True) == [f"Put the rights of {root / name} right"]
    assert look_after(root, WANTED) == [f"Put the rights of {root / name} right"]
    assert (root / name).stat().st_mode & 0o777 == mode
    assert look_after(root, WANTED) == []


def test_a_look_at_one_service_is_at_that_one_alone_and_a_look_at_the_authority_at_all(root):
    look_after(root, WANTED, service="metrics")
    assert set(program.Host(root, check=True).look_after("demo", WANTED)) == {"demo"}
    everybody = program.Host(root, check=True).look_after("authority", {"names": WANTED["names"]})
    assert set(everybody) == {"demo", "metrics"}
    assert everybody["demo"]["wanted"] == WANTED
    (root / "metrics/fullchain.pem").unlink()
    assert look_after(root, WANTED, check=True) == []
    assert look_after(root, {"names": WANTED["names"]}, check=True, service="authority")


def test_check_only_says(tmp_path):
    assert len(look_after(tmp_path, WANTED, check=True)) == 3
    assert texts(tmp_path) == {}


def test_the_authority_may_sign_for_nothing_else(root):
    authority = x509.load_pem_x509_certificate((root / "authority/ca.pem").read_bytes())
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert {str(name.value) for name in limits.value.permitted_subtrees} == {
        "fenton", "fenton.example.org", "192.0.2.1/32", "::1/128",
    }  # fmt: skip
    host = program.Host(root)
    host.pem = (root / "authority/ca.pem").read_text()
    for stranger in ("bank.example.com", "192.0.2.2"):
        extensions = program.LEAF.format(names=program.alternative(stranger))
        forged = host.sign((root / "demo/privkey.pem").read_text(), "x", extensions, 9, host.pem)
        assert not host.fits_authority(forged)


def test_a_client_that_checks_strictly_accepts_the_chain(root):
    context = ssl.create_default_context(cafile=root / "authority/ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(root / "demo/fullchain.pem", root / "demo/privkey.pem")
    for name in WANTED["names"]:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        near = context.wrap_bio(to_client, to_server, server_hostname=name)
        far = server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(3):
            for side in (near, far):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        assert near.getpeercert()["subjectAltName"]


def test_a_certificate_is_issued_again_when_a_third_of_its_life_is_left(root):
    assert look_after(root, WANTED, days=59) == []
    key = (root / "demo/privkey.pem").read_text()
    assert "third" in look_after(root, WANTED, days=61)[0]
    assert (root / "demo/privkey.pem").read_text() != key


def test_a_renewal_needs_nobody_to_say_what_is_wanted(root):
    assert look_after(root) == []
    assert "third" in look_after(root, days=61)[0]


def test_another_name_within_the_limits_leaves_the_authority_alone(root):
    before = (root / "authority/ca.pem").read_text()
    did = look_after(root, {**WANTED, "names": WANTED["names"][:2]})
    assert [sentence.split(" (")[0] for sentence in did][1:] == ["Issued a certificate for other names"]
    assert (root / "authority/ca.pem").read_text() == before


def test_a_name_outside_the_limits_changes_the_authority_and_says_so(root):
    key = (root / "authority/ca.key").read_text()
    did = look_after(root, {**WANTED, "names": [*WANTED["names"], "new.example.org"]})
    assert any("did not stand for new.example.org" in sentence and "import the new ca.pem" in sentence for sentence in did)
    assert (root / "authority/ca.key").read_text() == key
    assert look_after(root) == []


def test_a_second_service_leaves_the_first_alone(root):
    before = (root / "demo/fullchain.pem").read_text()
    look_after(root, {**WANTED, "names": [*WANTED["names"], "metrics"]}, service="metrics")
    assert (root / "demo/fullchain.pem").read_text() == before
    assert look_after(root) == []


@pytest.mark.parametrize("name", ["demo/privkey.pem", "demo/fullchain.pem", "authority/ca.pem", "authority/ca.key"])
@pytest.mark.parametrize("damage", ["gone", "empty", "other"])
def test_what_a_killed_run_or_a_hand_left_is_healed(root, name, damage):
    if damage == "gone":
        (root / name).unlink()
    elif damage == "empty":
        (root / name).write_text("")
    else:
        (root / name).write_text(private(OTHER) if "key" in name else issue(OTHER))
    assert look_after(root, WANTED)
    assert look_after(root, WANTED) == []


def test_a_given_certificate_is_installed_and_later_replaced(root):
    given = {**WANTED, "given": {"certificate": issue(KEY), "key": private(KEY)}}
    assert any("given" in sentence for sentence in look_after(root, given))
    assert (root / "demo/fullchain.pem").read_text() == issue_text(given)
    assert look_after(root, given) == []
    assert look_after(root) == []
    assert private(KEY) not in (root / "wanted/demo.json").read_text()
    assert look_after(root, WANTED)
    assert look_after(root, WANTED) == []


def issue_text(wanted):
    return wanted["given"]["certificate"]


def test_an_unknown_group_is_said_in_a_sentence(root, tmp_path):
    wanted = json.dumps({**WANTED, "group": "nobody-has-this"})
    done = subprocess.run(
        ["python3", PROGRAM, "--root", tmp_path / "new", "demo"], input=wanted, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "The group nobody-has-this, which is to read the key of demo, does not exist.\n"


def test_the_key_of_an_account_without_root_is_its_own_alone(tmp_path):
    """Where all accounts of a cluster are in one group, that group must not read it."""
    look_after(tmp_path, {**WANTED, "group": ""})
    assert (tmp_path / "demo/privkey.pem").stat().st_mode & 0o777 == 0o600
    assert look_after(tmp_path, {**WANTED, "group": ""}) == []
