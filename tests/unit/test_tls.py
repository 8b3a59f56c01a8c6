"""The certificates: what is refused beforehand, and what the program on the host decides."""

import json
import os
import random
import re
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from conftest import load
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tls import is_name, pem, tls_acme_problems, tls_ending, tls_name_problems, tls_problems

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


def look_after(root, wanted=None, days=0, check=False, service="demo", ahead=0):
    """Run the program's work as if *days* had passed; return what it did."""
    host = program.Host(root, check, datetime.now(UTC) + timedelta(days=days), ahead)
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


@pytest.mark.attempt(
    "Certificates",
    "who has taken the authority's key signs for another site",
    "no client accepts it: the authority names what it stands for",
)
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
        (root / "demo/fullchain.pem").write_text(forged)
        assert program.holder(root / "demo/fullchain.pem", root / "demo/privkey.pem")
        assert not program.shown(root / "demo", host.pem)


def test_a_handshake_shows_what_openssl_says(root):
    authority, chain = ((root / name).read_text() for name in ("authority/ca.pem", "demo/fullchain.pem"))
    shown = program.shown(root / "demo", authority)
    assert shown == {name: value for name, value in program.certificate(chain).items() if name in shown}
    assert set(shown) == {"start", "end", "names", "sha256"}
    assert not program.shown(root / "demo", "")
    assert not program.shown(root / "demo", issue(OTHER))
    assert not program.shown(root / "nobody", authority)
    (root / "demo/privkey.pem").write_text(private(KEY))
    assert not program.shown(root / "demo", authority)


@pytest.mark.parametrize("damage", [private(KEY, b"secret"), "-----BEGIN PRIVATE KEY-----\nnonsense\n"])
def test_a_key_that_nobody_can_use_is_made_anew_and_nothing_is_asked(root, damage):
    (root / "demo/privkey.pem").write_text(damage)
    # With a terminal, where a password could be asked for.
    command = f"{sys.executable} {PROGRAM} --root {root} --check"
    done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, timeout=20)
    assert b"did not fit its key" in done.stdout and b"pass phrase" not in done.stdout
    assert look_after(root, WANTED) == ["Issued a certificate because the old one did not fit its key (demo)"]
    assert look_after(root, WANTED) == []


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


@pytest.mark.attempt("Certificates", "{name} is damaged: {damage}", "it is issued again, and nothing is left to do")
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


# Over the years. The timer starts the program twice a day, an hour later at times, with what its unit says.
SERVICE = (ROOT / "roles/tls/templates/fenton-certificate.service.j2").read_text()
AHEAD = int(re.search(r"--ahead (\d+)", SERVICE)[1])


def left(root, now):
    """Return the days left, at *now*, of what the service shows."""
    served = x509.load_pem_x509_certificates((root / "demo/fullchain.pem").read_bytes())[0]
    return (served.not_valid_after_utc - now) / timedelta(days=1)


@pytest.mark.attempt(
    "Certificates",
    "400 days pass; certificates live 90, and nobody does anything",
    "each day 30 days and more are left, and seven are issued",
)
def test_no_certificate_comes_near_its_end_in_400_days(tmp_path):
    look_after(tmp_path, WANTED)
    start, hours, shown, fewest = datetime.now(UTC), random.Random(90), set(), 90.0
    for day in range(400):
        now = start + timedelta(days=day, hours=hours.random())
        # What is shown until the program comes by: it is looked at before, when it is oldest.
        fewest = min(fewest, left(tmp_path, now))
        program.Host(tmp_path, now=now, ahead=AHEAD).look_after()
        shown.add((tmp_path / "demo/fullchain.pem").read_text())
    assert fewest >= 30
    assert len(shown) == 7


@pytest.mark.parametrize(("life", "least"), [(1, 0.4), (7, 2), (397, 132)])
def test_any_life_is_renewed_before_a_third_is_left(tmp_path, life, least):
    look_after(tmp_path, {**WANTED, "days": life})
    start, fewest = datetime.now(UTC), float(life)
    for half in range(1, 2 * min(3 * life, 410), max(1, life // 10)):
        # From one run to the next: half a day, and an hour if the first came early and the next comes late.
        program.Host(tmp_path, now=start + timedelta(hours=12 * half), ahead=AHEAD).look_after()
        fewest = min(fewest, left(tmp_path, start + timedelta(hours=12 * half + 13)))
    assert fewest >= least


def good(place, authority, leaf, when):
    """Ask openssl whether a client that has *authority* alone takes *leaf* at *when*; both are PEM."""
    (place / "ca").write_text(authority)
    (place / "leaf").write_text(leaf)
    words = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", "fenton.example.org", "-attime", str(int(when.timestamp()))]
    nothing_else = ["-no-CApath", "-no-CAstore", "-CAfile", place / "ca"]
    return subprocess.run(["openssl", "verify", *words, *nothing_else, place / "leaf"], capture_output=True).returncode == 0


@pytest.mark.attempt(
    "Certificates",
    "the authority itself nears its end, ten years on, and the host has another name by then",
    "it is renewed with years to spare; who has only the old ca.pem, or only the new one, trusts old and new certificates",
)
def test_the_authority_rolls_over_and_nobody_sees_a_warning(root, tmp_path, monkeypatch):
    def authority():
        return (root / "authority/ca.pem").read_text()

    def leaf():
        return (root / "demo/fullchain.pem").read_text()

    look_after(root, {**WANTED, "days": 397})
    (root / "demo/fullchain.pem").unlink()
    look_after(root)
    start, first, did = datetime.now(UTC), authority(), []
    day, renewed = 0, 0
    monkeypatch.setattr(program.socket, "gethostname", lambda: "renamed")
    while day < 3660:
        now, before = start + timedelta(days=day), (authority(), leaf())
        host = program.Host(root, now=now, ahead=AHEAD)
        host.look_after()
        did += [sentence for sentence in host.did if "authority" in sentence]
        # Until the old one ends, all four pairs are good at any time.
        clients = {first, authority()} if day < 3650 else {authority()}
        for client in clients | {before[0]}:
            for shown in {before[1], leaf()}:
                assert good(tmp_path, client, shown, now), (day, did)
        renewed = renewed or (day if authority() != first else 0)
        # Nothing happens but near a third of a life; those days are walked through.
        day += 1 if 2400 <= day < 2440 else 120
    assert 2420 < renewed < 2440
    end = (start + timedelta(days=3650)).date()
    assert did == [f"Issued the authority's certificate anew in good time; import the new ca.pem until {end}, when the old one ends"]
    assert not good(tmp_path, first, leaf(), start + timedelta(days=3651))


def test_an_authority_whose_key_is_lost_is_another_one(root, tmp_path):
    old = (root / "authority/ca.pem").read_text()
    (root / "authority/ca.key").unlink()
    look_after(root)
    assert not good(tmp_path, old, (root / "demo/fullchain.pem").read_text(), datetime.now(UTC))


@pytest.mark.parametrize(("since", "restarted"), [(-60, True), (60, False), (None, False)])
def test_what_runs_since_before_its_certificate_starts_again_and_only_when_nobody_else_does_it(root, monkeypatch, since, restarted):
    asked = []

    def systemctl(*words):
        asked.append(words)
        when = datetime.fromtimestamp((root / "demo/fullchain.pem").stat().st_mtime + (since or 0), UTC)
        return f"{when:%a %Y-%m-%d %H:%M:%S.%f} UTC" if words[0] == "show" and since else ""

    monkeypatch.setattr(program, "systemctl", systemctl)
    look_after(root, {**WANTED, "units": ["door.service"]})
    assert asked == []
    did = look_after(root)
    assert (("try-reload-or-restart", "door.service") in asked) == restarted
    assert did == (["Restarted door.service, which had the old certificate"] if restarted else [])


def test_what_is_left_is_told_and_what_is_little_is_a_sentence(root):
    host = program.Host(root, True, datetime.now(UTC) + timedelta(days=9, minutes=1))
    said = host.look_after()
    assert (said["demo"]["days"], said["demo"]["life"]) == (80, 90)

    def ends(days, life, **wanted):
        return tls_ending({"demo": {"days": days, "life": life, "wanted": wanted}}, 21)

    assert ends(22, 90) == ends(22, 90, given=True) == ends(8, 30) == []
    assert ends(20, 90)[0].startswith("the certificate of demo ends in 20 days: it was not renewed")
    # What lives shortly is renewed late.
    assert ends(7, 30)
    assert ends(20, 30, given=True)[0].startswith("the certificate of demo ends in 20 days: put a newer one into tls_certificate")
    assert ends(-1, 397)[0].startswith("the certificate of demo has ended: ")


# From an ACME server, by lego
PUBLIC = {"names": ["fenton", "192.0.2.1"], "group": GROUP, "days": 90, "acme": True}
SETTINGS = {
    "server": "https://acme.example.org/dir", "email": "a@example.org", "names": ["fenton.example.org"], "dns": "rfc2136",
    "environment": {"RFC2136_TSIG_SECRET": "quite secret"}, "resolvers": [], "ca": "",
}  # fmt: skip


@pytest.fixture
def lego(tmp_path, monkeypatch):
    """Return what lego was asked for; it issues unless ``lego.broken`` is set."""
    asked = []

    def issued(folder, settings):
        asked.append(settings)
        if broken:
            raise program.Trouble(f"{settings['server']} issued no certificate: no route to host")
        (folder / "certificates").mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        stem = settings["names"][0].replace("*", "_")
        (folder / f"certificates/{stem}.crt").write_text(issue(key, settings["names"], datetime.now(UTC)))
        (folder / f"certificates/{stem}.key").write_text(private(key))

    broken = []
    monkeypatch.setattr(program, "lego", issued)
    settle(tmp_path, SETTINGS)
    yield asked, broken


def settle(root, settings):
    (root / "acme").mkdir(exist_ok=True)
    (root / "acme/settings.json").write_text(json.dumps(settings))


def test_all_services_have_the_certificate_of_the_acme_server_and_it_is_got_once(tmp_path, lego):
    look_after(tmp_path, PUBLIC)
    look_after(tmp_path, PUBLIC, service="dashboard")
    assert len(lego[0]) == 1
    assert (tmp_path / "demo/fullchain.pem").read_text() == (tmp_path / "dashboard/fullchain.pem").read_text()
    assert (tmp_path / "demo/privkey.pem").stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "authority").exists()
    assert look_after(tmp_path, PUBLIC) == look_after(tmp_path) == look_after(tmp_path, check=True) == []


@pytest.mark.parametrize("damage", [private(OTHER), private(KEY, b"secret"), "nonsense"])
def test_what_the_acme_server_issued_for_another_key_is_got_again(tmp_path, lego, damage):
    look_after(tmp_path, PUBLIC)
    (key,) = (tmp_path / "acme/certificates").glob("*.key")
    key.write_text(damage)
    assert "did not fit its key" in look_after(tmp_path, PUBLIC)[0]
    assert len(lego[0]) == 2
    assert look_after(tmp_path, PUBLIC) == []


def test_a_service_that_machines_use_keeps_the_hosts_own_authority(tmp_path, lego):
    look_after(tmp_path, PUBLIC)
    look_after(tmp_path, WANTED, service="exporters")
    assert (tmp_path / "authority/ca.pem").exists()
    assert (tmp_path / "demo/fullchain.pem").read_text() != (tmp_path / "exporters/fullchain.pem").read_text()
    assert look_after(tmp_path) == []


@pytest.mark.parametrize(
    "settings", [{**SETTINGS, "server": "https://other.example.org/dir"}, {**SETTINGS, "names": ["*.example.org"]}], ids=["server", "names"]
)
def test_another_server_and_other_names_are_another_certificate(tmp_path, lego, settings):
    look_after(tmp_path, PUBLIC)
    before = (tmp_path / "demo/fullchain.pem").read_text()
    settle(tmp_path, settings)
    assert len(look_after(tmp_path, PUBLIC)) == 2
    assert (tmp_path / "demo/fullchain.pem").read_text() != before
    assert look_after(tmp_path, PUBLIC) == []


@pytest.mark.attempt(
    "Certificates",
    "the ACME server does not answer when a certificate is due",
    "the old one stays, a playbook says so and goes on, the host's unit fails and tries again; past its end the playbook stops",
)
def test_a_server_that_does_not_answer_stops_the_timers_run_and_a_playbook_only_when_there_is_no_time(tmp_path, lego):
    lego[1].append(True)
    with pytest.raises(program.Trouble, match="no route to host"):
        look_after(tmp_path, PUBLIC)
    lego[1].clear()
    look_after(tmp_path, PUBLIC)
    before = (tmp_path / "demo/fullchain.pem").read_text()
    lego[1].append(True)
    with pytest.raises(program.Trouble, match="no route to host"):
        look_after(tmp_path, days=61)
    did = look_after(tmp_path, PUBLIC, days=61)
    assert len(did) == 1
    assert "The old certificate stays until" in did[0]
    assert (tmp_path / "demo/fullchain.pem").read_text() == before
    with pytest.raises(program.Trouble, match="no route to host"):
        look_after(tmp_path, PUBLIC, days=91)
    lego[1].clear()
    assert "third" in look_after(tmp_path, days=61)[0]


def test_a_server_that_does_not_answer_is_asked_once_and_keeps_no_other_certificate_old(tmp_path, lego):
    for service in ("a", "c"):
        look_after(tmp_path, PUBLIC, service=service)
    look_after(tmp_path, WANTED, service="b")
    before = (tmp_path / "b/fullchain.pem").read_text()
    lego[0].clear()
    lego[1].append(True)
    with pytest.raises(program.Trouble, match="^https://acme.example.org/dir issued no certificate: no route to host$"):
        look_after(tmp_path, days=61)
    assert len(lego[0]) == 1
    assert (tmp_path / "b/fullchain.pem").read_text() != before


@pytest.mark.attempt(
    "Certificates",
    "an ACME server never answered, and its settings are taken out again",
    "the next run gives out the host's own certificates",
)
def test_who_gives_up_on_an_acme_server_that_never_answered_gets_the_hosts_own_authority(tmp_path, lego):
    lego[1].append(True)
    with pytest.raises(program.Trouble):
        look_after(tmp_path, PUBLIC)
    assert any("no route to host" in sentence for sentence in look_after(tmp_path, {"names": ["fenton"]}, service="authority"))
    look_after(tmp_path, WANTED)
    assert not (tmp_path / "acme").exists()
    assert look_after(tmp_path, WANTED) == look_after(tmp_path) == []


def test_what_was_for_the_acme_server_goes_when_nobody_needs_it(tmp_path, lego):
    look_after(tmp_path, PUBLIC)
    assert any("Forgot" in sentence for sentence in look_after(tmp_path, WANTED))
    assert not (tmp_path / "acme").exists()
    assert look_after(tmp_path, WANTED) == []


def test_secrets_are_no_words_of_the_command(tmp_path, monkeypatch):
    said = '#!/bin/sh\ncd "${0%/*}"; echo "$*" >words; echo "$RFC2136_TSIG_SECRET" >secret; echo "no such zone" >&2; exit 1\n'
    (tmp_path / "lego").write_text(said)
    (tmp_path / "lego").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(program.Trouble, match="^https://acme.example.org/dir issued no certificate: no such zone$"):
        program.lego(tmp_path, SETTINGS)
    assert (tmp_path / "secret").read_text() == "quite secret\n"
    assert "quite secret" not in (tmp_path / "words").read_text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"names": ["192.0.2.1"]}, "tls_acme_names: '192.0.2.1' is no name"),
        ({"names": ["fenton"]}, "tls_acme_names: 'fenton' is no name"),
        ({"email": ""}, "tls_acme_email: is empty"),
        ({"dns": ""}, "tls_acme_dns: is empty"),
        ({"server": "http://acme"}, "tls_acme_server: 'http://acme' does not begin with https://"),
    ],
)
def test_what_no_acme_server_can_issue_is_a_sentence(change, sentence):
    problems = tls_acme_problems({**SETTINGS, **change}, [])
    assert len(problems) == 1
    assert problems[0].startswith(sentence)
    assert "group_vars/all/tls.yml" in problems[0]


def test_a_service_under_a_name_that_is_not_asked_for_is_a_sentence():
    assert tls_acme_problems(SETTINGS, ["Fenton.example.org"]) == []
    assert tls_acme_problems({**SETTINGS, "names": ["*.example.org"]}, ["fenton.example.org"]) == []
    assert tls_acme_problems(SETTINGS, ["10.0.0.2"])[0].startswith("tls_acme_names: 10.0.0.2, by which people open a service, is not among")
