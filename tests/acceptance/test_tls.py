"""What the host's own authority promises, seen from the host and from outside."""

import json
import socket
import ssl
import time

import pytest
from conftest import SCENARIO
from cryptography import x509

only_here = pytest.mark.skipif(SCENARIO != "tls", reason="one scenario is enough for this")


@pytest.fixture(scope="module")
def authority(server):
    return x509.load_pem_x509_certificate((server.artifacts / "ca.pem").read_bytes())


def names_of(subtrees):
    return {str(name.value) for name in subtrees}


def test_the_authority_that_was_handed_out_is_the_hosts(server):
    assert server.docker("cat", "/etc/fenton/tls/authority/ca.pem").stdout == (server.artifacts / "ca.pem").read_text()
    assert (server.artifacts / "ca.pem").stat().st_mode & 0o777 == 0o600


def test_it_may_sign_for_this_host_only(server, authority):
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    permitted = names_of(limits.value.permitted_subtrees)
    assert {server.name, "localhost", f"{server.address}/32", "127.0.0.1/32", "::1/128"} <= permitted
    assert not {name for name in permitted if name.endswith("/0")}


def test_its_key_never_left_the_host(server):
    assert server.docker("stat", "-c", "%a %U %G", "/etc/fenton/tls/authority/ca.key").stdout == "600 root root\n"
    key = server.docker("cat", "/etc/fenton/tls/authority/ca.key").stdout
    for file in server.artifacts.iterdir():
        assert key.splitlines()[1] not in file.read_text()
    assert server.docker("runuser", "-u", "daemon", "--", "cat", "/etc/fenton/tls/authority/ca.key").returncode != 0


@only_here
def test_the_group_reads_the_key_and_others_do_not(server):
    key = "/etc/fenton/tls/demo/privkey.pem"
    assert server.docker("runuser", "-u", "daemon", "--", "cat", key).returncode == 0
    assert server.docker("runuser", "-u", "nobody", "--", "cat", key).returncode != 0


@only_here
def test_a_client_elsewhere_accepts_the_certificate_under_every_name(server):
    script = (
        "import socket, ssl; c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER);"
        "c.load_cert_chain('/etc/fenton/tls/demo/fullchain.pem', '/etc/fenton/tls/demo/privkey.pem');"
        "s = socket.create_server(('', 4433));\n"
        "while True:\n"
        "    try: c.wrap_socket(s.accept()[0], server_side=True).close()\n"
        "    except OSError: pass"
    )
    server.docker("systemd-run", "--unit=tls-demo", "python3", "-c", script)
    try:
        server.docker("sh", "-c", "for i in $(seq 50); do ss -Hltn 'sport = :4433' | grep -q . && break; sleep 0.1; done")
        for name in (server.address, server.name, "localhost", "127.0.0.1", "::1", "demo.example.org"):
            assert "demo.example.org" in str(handshake(server, name))
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, "other.example.org")
    finally:
        server.docker("systemctl", "stop", "tls-demo")


def handshake(server, name):
    """Connect to the demo server as if it were called *name*; return the certificate it showed."""
    context = ssl.create_default_context(cafile=server.artifacts / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_connection((server.address, 4433), 10) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        return tls.getpeercert()["subjectAltName"]


@pytest.mark.once
@only_here
def test_a_name_outside_the_limits_changes_the_authority_and_is_said(server):
    before = (server.artifacts / "ca.pem").read_text()
    # A new one each time: an authority that once stood for a name goes on doing so.
    new = f"new-{time.time_ns()}.example.org"
    done = server.playbook("-e", json.dumps({"demo_names": ["demo.example.org", new]}))
    assert done.returncode == 0, done.stdout
    assert f"did not stand for {new}" in " ".join(done.stdout.split())
    assert (server.artifacts / "ca.pem").read_text() != before
    assert new in names_of(
        x509.load_pem_x509_certificate((server.artifacts / "ca.pem").read_bytes())
        .extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    )  # fmt: skip
    assert server.playbook().returncode == 0


@pytest.mark.once
@only_here
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"tls_aliases": ["https://fenton"]}, "tls_aliases: 'https://fenton' is neither a host name nor an IP address"),
        ({"tls_days": 900}, "tls_days: 900 is not between 1 and 825"),
        ({"tls_certificate": "/nowhere.pem", "tls_key": "/nowhere.key"}, "tls_certificate: /nowhere.pem cannot be read"),
        ({"tls_certificate": "/nowhere.pem"}, "tls_key: is not set, but tls_certificate is"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(server, variables, sentence):
    done = server.playbook("-e", json.dumps(variables))
    assert done.returncode != 0
    assert sentence in " ".join(done.stdout.split())
    assert "changed=0" in done.stdout
