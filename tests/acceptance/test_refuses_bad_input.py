"""Bad input stops the run with a sentence, and the server stays as it was."""

import datetime
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJajWIzSx4/auS+UI1VGZF5Oc7YAbxCaV7k4+pZ1yDrS ada"
ADA = {"name": "ada", "keys": [KEY]}
DYNAMIC = {"name": "home.example.org", "provider": "dyndns2", "server": "dyn.example.org", "username": "ada", "password": "secret"}
TELEGRAM = {"token": "123456789:AAtoken-of-bad-input_0123456789abcdef", "chat": 1}
INSTALLER = "/srv/fixtures/Miniforge3-26.7.2-0-Linux-x86_64.sh"

CASES = {
    "no administrator": ({"base_administrators": []}, "group_vars/all/base.yml"),
    "an administrator without a key": ({"base_administrators": [{"name": "ada", "keys": []}]}, "key"),
    "a malformed public key": (
        {"base_administrators": [{"name": "ada", "keys": ["ssh-ed25519 AAAAnonsense"]}]},
        "key 1 of ada is not a public ssh key",
    ),
    "a user name that Linux refuses": (
        {"base_administrators": [{**ADA, "name": "Ada Lovelace"}]},
        '"Ada Lovelace" is a name that Linux refuses',
    ),
    "a time zone that does not exist": ({"base_timezone": "Europe/Atlantis"}, 'no time zone "Europe/Atlantis"'),
    "an ssh port out of range": ({"ssh_port": 70000}, "ssh_port: 70000"),
    "a notebook port out of range": ({"jupyter_users": [{"name": "ada", "port": 99999}]}, "99999"),
    "two notebooks on one port": (
        {"jupyter_users": [{"name": "ada", "port": 8888}, {"name": "tom", "port": 8888}]},
        "8888",
    ),
    "a notebook for a name that Linux refuses": ({"jupyter_users": [{"name": "0:0", "port": 8888}]}, "0:0"),
    "an unknown distribution": ({"anaconda_distribution": "anaconda4"}, "anaconda_distribution"),
    "terms that were not accepted": ({"anaconda_distribution": "anaconda"}, "anaconda_accept_terms: true"),
    "a wrong sha256": ({"anaconda_checksum": "0" * 64}, "anaconda_checksum"),
    "a truncated download": ({"anaconda_url": "file:///root/half.sh"}, "anaconda_url"),
    "a download that is not there": ({"anaconda_url": "file:///root/none.sh"}, "anaconda_url"),
    "a missing vault value": (
        {"jupyter_users": [{"name": "ada", "port": 8888, "password": "{{ vault_jupyter_password_ada }}"}]},
        "vault_jupyter_password_ada, which is not defined; add it to group_vars/all/vault.yml",
    ),
    "a dynamic name that is none": ({"ddns_records": [{**DYNAMIC, "name": "home"}]}, "'home' is not a full DNS name"),
    "a dynamic name whose password would travel in the clear": (
        {"ddns_records": [{**DYNAMIC, "server": "http://dyn.example.org"}]},
        "in the clear",
    ),
    "a dynamic name without a password": ({"ddns_records": [{**DYNAMIC, "password": ""}]}, "home.example.org has no password"),
    "an unknown provider": ({"ddns_records": [{**DYNAMIC, "provider": "dyndns3"}]}, "dyndns3"),
    "a framework without a build for this Python": (
        {"tensorflow_environments": [{"name": "tf"}], "tensorflow_python": "3.14"},
        "TensorFlow has no build for Python 3.14, only for 3.11, 3.12, 3.13",
    ),
    "an unknown framework": ({"tensorflow_environments": [{"name": "tf", "framework": "theano"}]}, "theano"),
    "a framework without such a build": (
        {"tensorflow_environments": [{"name": "torch", "framework": "pytorch", "variant": "cuda-pascal"}]},
        "PyTorch has no build cuda-pascal, only cuda, cpu",
    ),
    "two environments of one name": ({"tensorflow_environments": [{"name": "tf"}, {"name": "tf"}]}, "tf is there twice"),
    "an environment in the place of JupyterLab's": (
        {"tensorflow_environments": [{"name": "jupyter"}]},
        "jupyter is an environment of another role",
    ),
    # A container has a disk of 64 MB there.
    "a disk too small for a framework": (
        {"tensorflow_environments": [{"name": "tf"}], "tensorflow_prefix": "/dev/shm/envs"},
        "tf needs 2.3 GB on the disk of the environments, 0.1 GB are free",
    ),
    "a page in the place of Jupyter's own": (
        {"jupyter_proxies": [{"name": "lab", "title": "Lab", "command": ["/bin/true", "{port}"]}]},
        "'lab' cannot stand in an address beside Jupyter's own",
    ),
    "a malformed token": ({"notify_telegram": {"token": "123:short", "chat": 1}}, "the token is not what @BotFather gives"),
    "a chat that is no integer": ({"notify_telegram": {**TELEGRAM, "chat": "@ada"}}, "the chat '@ada' is not an integer"),
    "a scheme that apprise does not know": ({"notify_urls": ["ntfyy://topic"]}, "apprise knows no ntfyy://"),
    "a sender that Linux refuses": ({"notify_telegram": TELEGRAM, "notify_users": ["Ada Lovelace"]}, '"Ada Lovelace" cannot be an account'),
    "a server for the app that all the world could reach": (
        {"istat_enabled": True, "istat_checksum": "0" * 64},
        "istat_sources: it is empty, which would open port 5109 to all the world",
    ),
    "a time that is none": ({"monitoring_retention_time": "30 days"}, "'30 days' is not a time of 2h or more, written like 30d"),
    "a size that is none": ({"monitoring_retention_size": "5G"}, "'5G' is not a size of 256MB or more, written like 5GB"),
    "a chat for alerts that is no integer": ({"monitoring_telegram": {**TELEGRAM, "chat": "@ada"}}, "monitoring_telegram: the chat '@ada'"),
    "a mail without a mail server": (
        {"monitoring_email": {"to": ["ada@example.org"], "from": "fenton@example.org"}},
        "monitoring_email: there is no smarthost that takes the mails; add smarthost: HOST:PORT",
    ),
    "a key that mails do not have": ({"monitoring_email": {"recipient": "ada@example.org"}}, "recipient"),
    "a server that is watched twice": ({"monitoring_targets": [{"host": "forge"}, {"host": "forge"}]}, "forge is there twice"),
    "rules without a group": ({"monitoring_rules": ["molecule/monitoring/converge.yml"]}, "is no rule file of Prometheus"),
    # Prometheus is not installed there: promtool is fetched to be asked, and goes again.
    "rules that promtool refuses": (
        {"monitoring_rules": ["molecule/monitoring/files/refused_rules.yml"]},
        "promtool refuses molecule/monitoring/files/refused_rules.yml: ",
    ),
    "a typo in a variable": ({"jupyter_prot": 8888}, "jupyter_prot: role jupyter has no such variable"),
    "a typo in a role's name": ({"jupiter_users": []}, "jupiter_users: no role has such a variable; did you mean jupyter_users?"),
    "a word where a number belongs": ({"jupyter_users": [{"name": "ada", "port": "soon"}]}, "soon"),
}  # fmt: skip

# What a login and Ansible's own look leave behind, and what the running system writes by itself.
NOISE = " -o ".join(f"-path {path}" for path in ("/srv", "/tmp", "/var/tmp", "/var/log", "/var/lib/systemd", "/var/lib/private"))


def state(server):
    """Return what a run could have changed, as a set of lines: files with their change times, packages, accounts, listening ports."""
    files = f"find / -xdev \\( {NOISE} \\) -prune -o \\( -type d -printf '%p %m\\n' -o -printf '%p %s %m %C@\\n' \\) | sort"
    seen = server.docker("sh", "-ec", f"{files}; dpkg-query -W; cat /etc/passwd /etc/shadow; ss -Hltun | awk '{{print $1, $5}}'")
    assert seen.returncode == 0, seen.stderr
    return set(seen.stdout.splitlines())


def certificate(days):
    """Return certificate and key as PEM texts; the certificate ends *days* from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fenton")])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(end - datetime.timedelta(days=60)).not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("fenton")]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


@pytest.fixture(scope="module", autouse=True)
def half_an_installer(server):
    """Put a truncated installer on the server before anything is compared."""
    server.docker("sh", "-c", f"head -c 3000 {INSTALLER} >/root/half.sh")
    # The first login makes what logins make.
    server.playbook("-e", json.dumps({"base_administrators": []}))


@pytest.fixture
def refused(server):
    """Return a function that runs the site with *values* and returns its output, after seeing that nothing changed."""

    def run(values, *words):
        before = state(server)
        done = server.playbook("-e", json.dumps(values), *words)
        assert done.returncode != 0, done.stdout[-3000:]
        assert "changed=0" in done.stdout, done.stdout[-3000:]
        assert sorted(state(server) ^ before) == []
        return " ".join(done.stdout.split())

    return run


@pytest.mark.parametrize("name", CASES)
def test_refuses(refused, name):
    values, sentence = CASES[name]
    assert sentence in refused(values)


def test_refuses_a_certificate_that_does_not_fit_its_key(refused):
    (one, _), (_, other) = certificate(30), certificate(30)
    assert "key" in refused({"tls_certificate": one, "tls_key": other})


def test_refuses_an_expired_certificate(refused):
    expired, key = certificate(-1)
    assert "expired" in refused({"tls_certificate": expired, "tls_key": key})


def test_refuses_an_unsupported_release(server, refused):
    release = server.docker("cat", "/etc/os-release").stdout
    version = server.docker("cat", "/etc/debian_version").stdout
    try:
        server.docker("sh", "-c", "sed -i 's/1[23]/11/g' /etc/os-release /etc/debian_version")
        assert "which is not supported" in refused({})
    finally:
        server.docker("sh", "-c", f"cat >/etc/os-release <<'EOF'\n{release}EOF\ncat >/etc/debian_version <<'EOF'\n{version}EOF")


def test_a_given_password_is_not_shown_when_it_is_refused(refused):
    said = refused({"jupyter_users": [{"name": "ada", "port": "soon", "password": "correct horse"}]}, "-vvv")
    assert "correct horse" not in said
