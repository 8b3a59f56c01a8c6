"""What the host's own authority promises, seen from the host and from outside."""

import json
import re
import socket
import ssl
import time

import pytest
from conftest import SCENARIO, eventually
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


def told(done):
    """Return what a run printed, with the line breaks of its layout taken out."""
    return " ".join(done.stdout.split())


@pytest.mark.attempt(
    "Certificates", "a given certificate has ten days left, and nobody looks", "`make doctor` fails with the days and the line to change"
)
@pytest.mark.once
@only_here
def test_a_given_certificate_that_ends_soon_breaks_a_promise(server):
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 10"
    make += " -addext subjectAltName=DNS:demo.example.org"
    made = server.docker("sh", "-c", f"{make} -keyout /dev/stdout -out /dev/stdout 2>/dev/null").stdout
    key, certificate = (re.search(f"-----BEGIN {kind}.*?-----END {kind}-----\n", made, re.S)[0] for kind in ("PRIVATE KEY", "CERTIFICATE"))
    given = ("-e", json.dumps({"tls_certificate": certificate, "tls_key": key}))
    try:
        assert server.playbook(*given).returncode == 0
        done = server.playbook("--tags", "verify", *given)
        assert done.returncode != 0
        assert "the certificate of demo ends in 9 days: put a newer one into tls_certificate" in told(done)
        assert server.playbook("--tags", "verify", *given, "-e", "tls_few_days=5").returncode == 0
    finally:
        assert server.playbook().returncode == 0


@pytest.mark.attempt(
    "Certificates", "the timer that renews is stopped, or its last run has failed", "`make doctor` fails; the next run starts it again"
)
@pytest.mark.once
@only_here
def test_a_host_that_does_not_renew_breaks_a_promise(server):
    wish = "/etc/fenton/tls/wanted/demo.json"
    server.docker("sh", "-c", f"systemctl stop fenton-certificate.timer; mv {wish} /root; echo x >{wish}")
    assert server.docker("systemctl", "start", "fenton-certificate.service").returncode != 0
    server.docker("mv", "/root/demo.json", wish)
    done = server.playbook("--tags", "verify")
    assert done.returncode != 0
    assert "renews its certificates by itself" in told(done)
    assert server.playbook().returncode == 0
    assert server.docker("systemctl", "is-active", "fenton-certificate.timer").stdout == "active\n"
    assert server.docker("systemctl", "start", "fenton-certificate.service").returncode == 0
    assert server.playbook("--tags", "verify").returncode == 0


# A name server that takes updates with a secret, and an ACME server that asks it. Its certificates live two days, so that the
# host's own unit, which looks two days ahead, renews at each run.
PRIVATE = """
set -e
export DEBIAN_FRONTEND=noninteractive
systemctl mask named.service 2>/dev/null
apt-get update -qq
apt-get install -y -qq --no-install-recommends pebble bind9 bind9-utils >/dev/null
mkdir -p /var/lib/acme/zones && cd /var/lib/acme
tsig-keygen -a hmac-sha256 fenton >tsig
cat >named.conf <<'END'
include "/var/lib/acme/tsig";
options {
  directory "/var/lib/acme/zones"; listen-on { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no;
  pid-file none; session-keyfile none;
};
controls { };
zone "example.org" { type primary; file "zone"; update-policy { grant fenton subdomain example.org TXT; }; };
END
printf '$TTL 1\n@ SOA ns root 1 60 60 3600 1\n@ NS ns\nns A 127.0.0.1\n' >zones/zone
grep -q ns.example.org /etc/hosts || echo 127.0.0.1 ns.example.org >>/etc/hosts
chown -R bind zones && chgrp bind tsig && chmod 640 tsig
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out ca.pem -subj /CN=acme \
  -addext subjectAltName=DNS:localhost 2>/dev/null
cat >pebble.json <<'END'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": "ca.pem", "privateKey": "key",
 "httpPort": 5002, "tlsPort": 5001, "certificateValidityPeriod": 172800}}
END
systemd-run --quiet --unit=acme-names named -f -u bind -c /var/lib/acme/named.conf
"""
START = "systemd-run --quiet --unit=acme-server --working-directory=/var/lib/acme -E PEBBLE_VA_NOSLEEP=1 "
START += "pebble -config pebble.json -dnsserver 127.0.0.1:53"
NEW = "openssl x509 -noout -serial -in /etc/fenton/tls/demo/fullchain.pem"
CHAIN = """
import ssl, urllib.request
context = ssl.create_default_context(cafile="/var/lib/acme/ca.pem")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
print(opener.open("https://localhost:15000/roots/0").read().decode())
"""


@pytest.mark.attempt(
    "Certificates",
    "a private ACME server issues by DNS-01, later it is gone when the certificate is due, then it is there again",
    "the services get its certificate, the host renews it; meanwhile the old one stays, and `make doctor` fails with the reason",
)
@pytest.mark.long
@pytest.mark.once
@only_here
def test_an_acme_server_issues_and_the_host_renews(server):
    done = server.docker("sh", "-c", PRIVATE, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    secret = re.search('secret "(.*)"', server.docker("cat", "/var/lib/acme/tsig").stdout)[1]
    environment = {
        "RFC2136_NAMESERVER": "127.0.0.1:53", "RFC2136_TSIG_KEY": "fenton", "RFC2136_TSIG_ALGORITHM": "hmac-sha256.",
        "RFC2136_TSIG_SECRET": secret, "RFC2136_POLLING_INTERVAL": "1", "RFC2136_SEQUENCE_INTERVAL": "1",
        "RFC2136_PROPAGATION_TIMEOUT": "20",
    }  # fmt: skip
    settings = {
        "tls_acme_names": ["demo.example.org", "*.demo.example.org"], "tls_acme_email": "ada@example.org", "tls_acme_dns": "rfc2136",
        "tls_acme_environment": environment, "tls_acme_server": "https://localhost:14000/dir", "tls_acme_resolvers": ["127.0.0.1:53"],
        "tls_acme_ca": server.docker("cat", "/var/lib/acme/ca.pem").stdout,
    }  # fmt: skip
    words = ("-e", json.dumps(settings))
    try:
        # The first run finds nobody, and says so; the next one, and the host itself, go on from there.
        done = server.playbook(*words)
        assert done.returncode != 0
        assert "https://localhost:14000/dir issued no certificate" in told(done)
        server.docker("sh", "-c", START)
        assert eventually(lambda: server.docker("python3", "-c", CHAIN).stdout)
        done = server.playbook(*words, "-vv", "--diff")
        assert done.returncode == 0, done.stdout
        # -e itself stands in the command line that the test gave, not in what is printed.
        assert secret not in done.stdout
        done = server.playbook(*words)
        assert "changed=0" in done.stdout, done.stdout
        assert (
            server.docker("stat", "-c", "%a %U", "/etc/fenton/tls/acme", "/etc/fenton/tls/acme/settings.json").stdout
            == "700 root\n600 root\n"
        )
        trusted = "cd /etc/fenton/tls/demo; cat >/tmp/root.pem; "
        trusted += "openssl verify -CAfile /tmp/root.pem -untrusted fullchain.pem -verify_hostname x.demo.example.org fullchain.pem"
        root = server.docker("python3", "-c", CHAIN).stdout
        assert server.docker("sh", "-c", trusted.replace("cat >", f"echo '{root}' >")).stdout == "fullchain.pem: OK\n"
        first = server.docker("sh", "-c", NEW).stdout
        done = server.docker("systemctl", "start", "fenton-certificate.service")
        assert done.returncode == 0, server.docker("journalctl", "-u", "fenton-certificate", "--no-pager", "-n", "20").stdout
        second = server.docker("sh", "-c", NEW).stdout
        assert second != first
        assert server.playbook("--tags", "verify", *words).returncode == 0
        server.docker("systemctl", "stop", "acme-server")
        assert server.docker("systemctl", "start", "fenton-certificate.service").returncode != 0
        assert server.docker("sh", "-c", NEW).stdout == second
        done = server.playbook("--tags", "verify", *words)
        assert done.returncode != 0
        assert "renews its certificates by itself" in told(done)
        assert secret not in server.docker("journalctl", "--no-pager").stdout
    finally:
        done = server.playbook()
        assert done.returncode == 0, done.stdout
        assert server.docker("sh", "-c", "ls -d /etc/fenton/tls/acme").returncode != 0
        assert "changed=0" in server.playbook().stdout
        server.docker(
            "sh", "-c", "systemctl stop acme-server acme-names; apt-get purge -y -qq pebble bind9 >/dev/null; rm -rf /var/lib/acme"
        )
    # What the timer found wrong is past.
    assert server.docker("systemctl", "start", "fenton-certificate.service").returncode == 0
