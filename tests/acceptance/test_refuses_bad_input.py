"""Bad input stops the run with a sentence that names variable, value and cure, and the server stays as it was."""

import datetime
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, WORK, run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

refuses = pytest.mark.attempt("Bad input", "{name}", "refused before the first change; variable, value and cure are named")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJajWIzSx4/auS+UI1VGZF5Oc7YAbxCaV7k4+pZ1yDrS ada"
ADA = {"name": "ada", "keys": [KEY]}
DYNAMIC = {"name": "home.example.org", "provider": "dyndns2", "server": "dyn.example.org", "username": "ada", "password": "secret"}
TELEGRAM = {"token": "123456789:AAtoken-of-bad-input_0123456789abcdef", "chat": 1}
ISTAT = {"istat_enabled": True, "istat_checksum": "0" * 64, "istat_sources": ["192.0.2.0/24"]}
LAB = {"name": "lab", "user": "tom", "transport": "ssh", "controller": "fenton", "engines": {"fenton": 1}}
INSTALLER = "/srv/fixtures/Miniforge3-26.7.2-0-Linux-x86_64.sh"


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


# What is tried: the values of one host, and words of the sentence that must come of it: variable, value, cure.
CASES = {
    # base
    "no administrator": ({"base_administrators": []}, "base_administrators: no administrator who is present has a key", "add one"),
    "one name where a list of people belongs": ({"base_administrators": "ada"}, "base_administrators: 'ada' is not a list", "write"),
    "an administrator without a name": ({"base_administrators": [{"keys": [KEY]}]}, "base_administrators[0]: it has no name", "add name:"),
    "an administrator without a key": (
        {"base_administrators": [{"name": "ada", "keys": []}]}, "base_administrators", "add one with name and"),
    "a misspelt key of an administrator": (
        {"base_administrators": [{"name": "ada", "key": [KEY]}]}, "base_administrators[0]: there is no key 'key'", "did you mean keys?"),
    "a state that is none": (
        {"base_administrators": [{**ADA, "state": "abscent"}]}, "base_administrators[0].state: 'abscent'", "did you mean absent?"),
    "a malformed public key": (
        {"base_administrators": [{"name": "ada", "keys": ["ssh-ed25519 AAAAnonsense"]}]},
        "base_administrators: key 1 of ada is not a public ssh key", "paste the whole line of the .pub file"),
    "a private key in the place of the public one": (
        {"base_administrators": [{"name": "ada", "keys": [KEY, "-----BEGIN OPENSSH PRIVATE KEY-----"]}]},
        "base_administrators: key 2 of ada is not a public ssh key", "paste the whole line of the .pub file"),
    "one administrator twice": ({"base_administrators": [ADA, ADA]}, "base_administrators: ada stands there more than once", "keep one"),
    "a user name that Linux refuses": (
        {"base_administrators": [{**ADA, "name": "Ada Lovelace"}]},
        'base_administrators: "Ada Lovelace" is a name that Linux refuses', "take small letters"),
    "a host name with an underscore": ({"base_hostname": "my_server"}, 'base_hostname: "my_server" is not a host name', "change it"),
    "a domain with two dots": ({"base_domain": "example..org"}, 'base_domain: "example..org" is not a domain', "change it"),
    "a time zone that does not exist": (
        {"base_timezone": "Europe/Atlantis"}, 'base_timezone: there is no time zone "Europe/Atlantis"', "write"),
    "a variable without a value": ({"base_timezone": None}, "base_timezone: it has no value (null)", "take the line out"),
    "a locale that is none": ({"base_locale": "german"}, 'base_locale: "german" is not a locale', "change it"),
    "a proxy that is no address": ({"base_apt_proxy": "cache.lan:3142"}, 'base_apt_proxy: "cache.lan:3142"', "change it"),
    "a size with a blank": ({"base_journal_max": "1 GB"}, 'base_journal_max: "1 GB" is not a size', "change it"),
    "a port of ssh that is none": ({"base_ssh_ports": [22, 0]}, "base_ssh_ports: 0 is not a port", "change it"),
    "a word for yes or no that is neither": ({"base_firewall": "maybe"}, "base_firewall: 'maybe' is not true or false", "write"),
    "a dictionary where a list belongs": (
        {"base_packages_extra": {"emacs": True}}, "base_packages_extra: {'emacs': True} is not a list", "write"),
    "a package whose name cannot be one": (
        {"base_packages_extra": ["Emacs 30"]}, 'base_packages_extra: "Emacs 30" is no name', "change it"),
    # ssh
    "an ssh port out of range": ({"ssh_port": 70000}, "ssh_port: 70000 is not a port (1 to 65535)", "correct it"),
    "an ssh port that is half a number": ({"ssh_port": 22.5}, "ssh_port: 22.5 is not a whole number", "write"),
    "ssh for nobody who administers": (
        {"ssh_allow_users": ["ada"]}, "ssh_allow_users: ada leaves out every administrator", "add one of tom"),
    "a name with a blank in it": (
        {"ssh_allow_users": ["tom", "ada lovelace"]}, 'ssh_allow_users, ssh_allow_groups: "ada lovelace"', "write names"),
    "a network that is none": ({"ssh_sources": ["192.0.2.0/33"]}, "ssh_sources: 192.0.2.0/33 is no address or network", "write one like"),
    "a network without brackets": ({"ssh_sources": "192.0.2.0/24"}, "ssh_sources: '192.0.2.0/24' is not a list", "write"),
    "no without quotes, which YAML takes for false": (
        {"ssh_permit_root_login": False}, "ssh_permit_root_login: False", 'did you mean "no"?'),
    # session
    "a session for root": ({"session_users": ["root"]}, 'session_users: "root" cannot be an account of a person', "change it"),
    "a window with a blank in its name": (
        {"session_windows": [{"name": "my log", "command": "top"}]},
        'session_windows: "my log" cannot be the name', "give each window a name"),
    "a window without a command": ({"session_windows": [{"name": "log"}]}, "session_windows[0]: it has no command", "add command:"),
    "two windows of one name": (
        {"session_windows": [{"name": "log", "command": "top"}] * 2},
        'session_windows: "log" stands there twice', "give each window a name"),
    # ddns
    "a dynamic name that is none": (
        {"ddns_records": [{**DYNAMIC, "name": "home"}]}, "ddns_records: 'home' is not a full DNS name", "write one"),
    "a dynamic name whose password would travel in the clear": (
        {"ddns_records": [{**DYNAMIC, "server": "http://dyn.example.org"}]},
        "ddns_records: 'http://dyn.example.org' would get the password of home.example.org in the clear", "write the name of a server"),
    "a dynamic name without a password": (
        {"ddns_records": [{**DYNAMIC, "password": ""}]}, "ddns_records: home.example.org has no password", "group_vars/all/vault.yml"),
    "an unknown provider": (
        {"ddns_records": [{**DYNAMIC, "provider": "dyndns3"}]}, "ddns_records[0].provider: 'dyndns3' is none of", "did you mean dyndns2?"),
    "a family of addresses that does not exist": (
        {"ddns_records": [{**DYNAMIC, "families": ["ipv5"]}]}, "ddns_records[0].families[0]: 'ipv5' is none of", "did you mean ipv"),
    "a period that providers punish": ({"ddns_period": 5}, "ddns_period: 5 is not between 30 and 86400 seconds", "correct it"),
    # notify
    "a malformed token": ({"notify_telegram": {"token": "123:short", "chat": 1}}, "notify_telegram: the token is not", "copy it anew"),
    "a chat that is no integer": (
        {"notify_telegram": {**TELEGRAM, "chat": "@ada"}}, "notify_telegram: the chat '@ada'", "write its number"),
    "a key that a bot does not have": (
        {"notify_telegram": {**TELEGRAM, "chat_id": 1}}, "notify_telegram: there is no key 'chat_id'", "did you mean chat?"),
    "a scheme that apprise does not know": ({"notify_urls": ["ntfyy://topic"]}, "notify_urls: apprise knows no ntfyy://", "choose one"),
    "a sender that Linux refuses": (
        {"notify_telegram": TELEGRAM, "notify_users": ["Ada Lovelace"]},
        'notify_users: "Ada Lovelace" cannot be an account of a person', "change it"),
    # istat
    "a server for the app that all the world could reach": (
        {**ISTAT, "istat_sources": []}, "istat_sources: it is empty, which would open port 5109 to all the world", "write the addresses"),
    "a source without a sum": ({**ISTAT, "istat_checksum": ""}, "istat_checksum: nobody publishes the sha256", "| sha256sum` and add"),
    "a port that ssh has": ({**ISTAT, "istat_port": 22}, "istat_port: port 22 of", "is taken by sshd; choose another"),
    "a passcode that everybody knows": ({**ISTAT, "istat_passcode": "12345"}, "istat_passcode: it must have 5 to 64", "change it"),
    # tls
    "a life that browsers refuse": ({"tls_days": 1000}, "tls_days: 1000 is not between 1 and 825", "correct it"),
    "an alias that is no name": ({"tls_aliases": ["my host"]}, "tls_aliases: 'my host' is neither a host name nor", "correct it"),
    "a certificate without its key": ({"tls_certificate": "/etc/hostname"}, "tls_key: is not set, but tls_certificate is", "correct it"),
    "a certificate that is not there": (
        {"tls_certificate": "/none/cert.pem", "tls_key": "/none/key.pem"}, "tls_certificate: /none/cert.pem cannot be read", "correct it"),
    "a certificate that does not fit its key": (
        {"tls_certificate": certificate(30)[0], "tls_key": certificate(30)[1]}, "tls_key: the given text is not the key of", "correct it"),
    "an expired certificate": (
        dict(zip(("tls_certificate", "tls_key"), certificate(-1), strict=True)),
        "tls_certificate: the given text expired on", "correct it"),
    # anaconda
    "an unknown distribution": (
        {"anaconda_distribution": "anaconda4"}, "anaconda_distribution: 'anaconda4' is none of miniforge, ", "did you mean anaconda?"),
    "terms that were not accepted": (
        {"anaconda_distribution": "anaconda"}, "anaconda_accept_terms: anaconda comes", "anaconda_accept_terms: true"),
    "a wrong sha256": ({"anaconda_checksum": "0" * 64}, "anaconda_checksum: the installer from", "wanted is 0000", "give the right pair"),
    "a truncated download": (
        {"anaconda_url": "file:///root/half.sh"}, "the installer from file:///root/half.sh has sha256", "give the right pair"),
    "a download that is not there": (
        {"anaconda_url": "file:///root/none.sh"},
        "anaconda_url: the installer cannot be had from file:///root/none.sh", "mend the line or"),
    "a prefix that is the system's": ({"anaconda_prefix": "/usr"}, 'anaconda_prefix: "/usr" cannot hold', "write a directory of its own"),
    "3.10 without quotes, which YAML takes for 3.1": ({"anaconda_python": 3.1}, 'anaconda_python: "3.1" is no version', "keep the quotes"),
    "a Python that is none": (
        {"anaconda_environments": [{"name": "mine", "python": "three"}]},
        'anaconda_environments: "three", the python of mine, is no version', "correct it"),
    "two environments of one name": (
        {"anaconda_environments": [{"name": "mine"}, {"name": "mine"}]}, "anaconda_environments: mine is there twice", "rename one"),
    "a lock file that is not there": (
        {"anaconda_environments": [{"name": "mine", "pip_lock": "/none/lock.txt"}]},
        "anaconda_environments: there is no file /none/lock.txt", "correct pip_lock"),
    # tensorflow
    "a framework without a build for this Python": (
        {"tensorflow_environments": [{"name": "tf"}], "tensorflow_python": "3.14"},
        "tensorflow_environments: environment tf: TensorFlow has no build for Python 3.14, only for 3.11, ", "set tensorflow_python"),
    "an unknown framework": (
        {"tensorflow_environments": [{"name": "tf", "framework": "theano"}]},
        "tensorflow_environments[0].framework: 'theano' is none of tensorflow, pytorch, jax", "write one"),
    "a framework without such a build": (
        {"tensorflow_environments": [{"name": "torch", "framework": "pytorch", "variant": "cuda-pascal"}]},
        "tensorflow_environments: environment torch: PyTorch has no build cuda-pascal, only cuda, cpu", "change `variant`"),
    "an environment in the place of JupyterLab's": (
        {"tensorflow_environments": [{"name": "jupyter"}]},
        "tensorflow_environments: jupyter is an environment of another role", "choose another name"),
    # A container has a disk of 64 MB there.
    "a disk too small for a framework": (
        {"tensorflow_environments": [{"name": "tf"}], "tensorflow_prefix": "/dev/shm/envs"},
        "tensorflow_environments: tf needs 2.3 GB on the disk of the environments, 0.1 GB are free", "take an entry out"),
    # jupyter
    "a notebook port out of range": (
        {"jupyter_users": [{"name": "ada", "port": 99999}]}, "jupyter_users[0].port: 99999 is not a port (1 to 65535)", "correct it"),
    "a word where a number belongs": (
        {"jupyter_users": [{"name": "ada", "port": "soon"}]}, "jupyter_users[0].port: 'soon' is not a whole number", "write one"),
    "a notebook without a port": ({"jupyter_users": [{"name": "ada"}]}, "jupyter_users[0]: it has no port", "add port:"),
    "two notebooks on one port": (
        {"jupyter_users": [{"name": "ada", "port": 8888}, {"name": "tom", "port": 8888}]},
        "jupyter_users: port 8888 is used by both ada and tom", "give one of them another port"),
    "a notebook for root": ({"jupyter_users": [{"name": "root", "port": 8888}]}, "jupyter_users: root must not run notebooks", "name an"),
    "a notebook for a name that Linux refuses": ({"jupyter_users": [{"name": "0:0", "port": 8888}]}, "jupyter_users: '0:0'", "correct it"),
    "a short password": (
        {"jupyter_users": [{"name": "ada", "port": 8888, "password": "short"}]}, "jupyter_users: the password of ada has fewer", "choose"),
    "a missing vault value": (
        {"jupyter_users": [{"name": "ada", "port": 8888, "password": "{{ vault_jupyter_password_ada }}"}]},
        "jupyter_users: needs vault_jupyter_password_ada, which is not defined", "add it to group_vars/all/vault.yml"),
    "a source of notebooks that is no network": (
        {"jupyter_sources": ["192.168.1"]}, 'jupyter_sources: "192.168.1" is no address', "correct it"),
    "a name of notebooks that no certificate can have": (
        {"jupyter_hostname": "my host"}, "jupyter_hostname: 'my host' is neither a host name nor an IP address", "correct it"),
    "a Python that JupyterLab does not run with": (
        {"jupyter_python": "2.7"}, 'jupyter_python: "2.7" is no version of Python', "correct it"),
    "a list of packages that is not there": (
        {"jupyter_lock": "/none/jupyter.txt"}, "jupyter_lock: there is no file /none/jupyter.txt", "correct"),
    "metrics on ports that do not exist": (
        {"jupyter_metrics_offset": 60000}, "68888 is not a port", "from jupyter_users, jupyter_metrics_offset"),
    "a page in the place of Jupyter's own": (
        {"jupyter_proxies": [{"name": "lab", "title": "Lab", "command": ["/bin/true", "{port}"]}]},
        "jupyter_proxies: 'lab' cannot stand in an address beside Jupyter's own", "change it"),
    # exporters
    "a watcher that is no address": (
        {"exporters_sources": ["watcher!"]}, "exporters_sources: 'watcher!' is neither an address", "correct it"),
    "a door on the port of an exporter": (
        {"exporters_sources": ["192.0.2.1"], "exporters_port": 9100},
        "exporters_port: 9100 is the port of the exporter node", "choose another"),
    "a page that is not asked over http": (
        {"exporters_probes": [{"name": "page", "url": "ftp://a"}]}, "exporters_probes: 'ftp://a' of page is no address", "correct it"),
    # monitoring
    "a time that is none": (
        {"monitoring_retention_time": "30 days"},
        "monitoring_retention_time: '30 days' is not a time of 2h or more, written like 30d", "correct"),
    "a size that is none": ({"monitoring_retention_size": "5G"}, "monitoring_retention_size: '5G' is not a size", "written like 5GB"),
    "more than the disk": ({"monitoring_retention_size": "500TB"}, "monitoring_retention_size: 500TB is more than the disk", "correct it"),
    "a chat for alerts that is no integer": (
        {"monitoring_telegram": {**TELEGRAM, "chat": "@ada"}}, "monitoring_telegram: the chat '@ada' is not an", "write its number"),
    "a mail without a mail server": (
        {"monitoring_email": {"to": ["ada@example.org"], "from": "fenton@example.org"}},
        "monitoring_email: there is no smarthost that takes the mails", "add smarthost: HOST:PORT"),
    "a key that mails do not have": (
        {"monitoring_email": {"recipient": "ada@example.org"}}, "monitoring_email: there is no key 'recipient'", "its keys are to, from"),
    "a server that is watched twice": (
        {"monitoring_targets": [{"host": "forge"}, {"host": "forge"}]}, "monitoring_targets: forge is there twice", "remove one"),
    "rules without a group": (
        {"monitoring_rules": ["molecule/monitoring/converge.yml"]},
        "monitoring_rules: molecule/monitoring/converge.yml is no rule file of Prometheus", "correct it"),
    # Prometheus is not installed there: promtool is fetched to be asked, and goes again.
    "rules that promtool refuses": (
        {"monitoring_rules": ["molecule/monitoring/files/refused_rules.yml"]},
        "monitoring_rules: promtool refuses molecule/monitoring/files/refused_rules.yml: 4:32", "correct that file"),
    # dashboard
    "a page on Prometheus' port": ({"dashboard_port": 9090}, "dashboard_port: port 9090 is that of Prometheus", "choose another"),
    "a login that is none": (
        {"dashboard_users": [{"name": "ada!"}]}, "dashboard_users: 'ada!' cannot be a name to log in with", "correct it"),
    "a network that is a word": ({"dashboard_sources": ["home"]}, 'dashboard_sources: "home" is no address or network', "correct it"),
    # lmod
    "a module that would climb up": (
        {"lmod_enabled": True, "lmod_default": "../x"}, 'lmod_default: "../x" cannot be the name', "write one"),
    "a tree that is not absolute": (
        {"lmod_enabled": True, "lmod_trees": ["modules"]}, 'lmod_trees: "modules" is not an absolute', "change it"),
    # ipyparallel
    "engines on a host that is not there": (
        {"ipyparallel_clusters": [{**LAB, "engines": {"nowhere": 4}}]},
        "ipyparallel_clusters: lab: engines: the inventory has no host nowhere", "write one of"),
    "ports that are none": (
        {"ipyparallel_clusters": [{**LAB, "ports": "1-5"}]}, "ipyparallel_clusters: lab: ports: 1-5 is no range FIRST-LAST", "correct it"),
    "a way to start engines that is none": (
        {"ipyparallel_clusters": [{**LAB, "transport": "mpi"}]}, "ipyparallel_clusters[0].transport: 'mpi' is none of ssh, slurm", "write"),
    "a misspelt limit of jobs": (
        {"ipyparallel_jobs": {"wall_time": "01:00:00"}}, "ipyparallel_jobs: there is no key 'wall_time'", "did you mean walltime?"),
    # names and templates
    "a typo in a variable": ({"jupyter_prot": 8888}, "jupyter_prot: role jupyter has no such variable", "did you mean port in the entries"),
    "a typo in a role's name": ({"jupiter_users": []}, "jupiter_users: no role has such a variable", "did you mean jupyter_users?"),
    "a variable that nobody knows": ({"base_colour": "red"}, "base_colour: role base has no such variable", "roles/base/README.md"),
    "a name that is not defined": ({"base_hostname": "{{ my_name }}"}, "base_hostname: needs my_name, which is not defined", "add it"),
    "a template that is cut off": (
        {"base_domain": "{{ my_name"}, "base_domain: its value cannot be worked out: Syntax error", "correct it"),
}  # fmt: skip

# What a login and Ansible's own look leave behind, and what the running system writes by itself.
NOISE = " -o ".join(f"-path {path}" for path in ("/srv", "/tmp", "/var/tmp", "/var/log", "/var/lib/systemd", "/var/lib/private"))
STATE = f"""
find / -xdev \\( {NOISE} \\) -prune -o \\( -type d -printf '%p %m\\n' -o -printf '%p %s %m %C@\\n' \\) | sort
find /etc -type f -exec sha256sum {{}} + | sort
dpkg-query -W
systemctl list-unit-files --no-legend
systemctl list-units --type service,timer,socket --state active --plain --no-legend | awk '$1 !~ /^user|^session/ {{ print $1 }}'
cat /etc/passwd /etc/shadow /etc/group
ss -Hltun | awk '{{ print $1, $5 }}'
"""


def state(server):
    """Return what a run could have changed, as a set of lines: files with their change times and sums, packages, units, accounts, ports."""
    seen = server.docker("sh", "-ec", STATE)
    assert seen.returncode == 0, seen.stderr
    return set(seen.stdout.splitlines())


def site(inventory, *words, report=""):
    """Run the whole site with another inventory."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "FENTON_REPORT": str(report)}
    return run("ansible-playbook", "-i", inventory, *words, ROOT / "site.yml", cwd=ROOT, env=environment, timeout=600)


def groups(**hosts):
    """Return an inventory with hosts in these groups."""
    children = {name: {"hosts": dict.fromkeys(names)} for name, names in hosts.items()}
    empty = {name: {} for name in re.findall(r"^  hosts: (\w+)$", (ROOT / "site.yml").read_text(), re.M) if name not in children}
    workbenches = {"children": {"workbenches": {"children": {"gpu_servers": children.pop("gpu_servers", {})}}, "hpc": {}}}
    return {"all": {"children": {**empty, **children, "servers": workbenches, "workbenches": {}}}}


@pytest.fixture(scope="module", autouse=True)
def half_an_installer(server):
    """Put a truncated installer on the server before anything is compared."""
    server.docker("sh", "-c", f"head -c 3000 {INSTALLER} >/root/half.sh")
    # The hosts of a hundred inventories knock at one door, with a name that is not there yet.
    server.docker("sh", "-c", "! sshd -T | grep -q persourcepenalties || echo PerSourcePenalties no >/etc/ssh/sshd_config.d/00-tests.conf")
    server.docker("systemctl", "restart", "ssh")
    # The first login makes what logins make.
    server.playbook("-e", json.dumps({"base_administrators": []}))


@pytest.fixture(scope="module")
def refusals(server, tmp_path_factory):
    """Return by case what a run says, for a hundred hosts that are all the same server; who was changed; what differs there then."""
    place = tmp_path_factory.mktemp("inventory")
    (place / "host_vars").mkdir()
    # What the scenario's inventory says with words that are relative to it.
    tom = {"name": "tom", "keys": [(WORK / "id_ed25519.pub").read_text().strip()]}
    usual = {**server.variables, "base_administrators": [tom], "artifacts_dir": str(place), "exporters_sources": []}
    hosts = {f"case-{number}": name for number, name in enumerate(CASES)}
    watchers = [host for host, name in hosts.items() if any(key.startswith(("monitoring_", "dashboard_")) for key in CASES[name][0])]
    (place / "hosts.yml").write_text(yaml.safe_dump(groups(gpu_servers=hosts, monitoring=watchers)))
    for host, name in hosts.items():
        # A cluster is of hosts that are there.
        values = json.loads(json.dumps({**usual, **CASES[name][0]}).replace('"fenton"', f'"{host}"'))
        (place / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(values))
    # One server has one place for downloads, so those come one after the other.
    fetchers = [host for host, name in hosts.items() if {"anaconda_url", "anaconda_checksum"} & set(CASES[name][0])]
    said, changed = {name: [] for name in CASES}, set()
    before = state(server)
    for forks, limit in ((4, f"all,!{',!'.join(fetchers)}"), (1, ",".join(fetchers))):
        done = site(place / "hosts.yml", "--forks", str(forks), "--limit", limit, report=place / "report.json")
        for failure in json.loads((place / "report.json").read_text())["failures"]:
            said[hosts[failure["host"]]] += [line.removeprefix("- ") for line in failure["msg"].splitlines()]
        changed |= {hosts[host] for host, count in re.findall(r"^(case-\d+) .* changed=(\d+)", done.stdout, re.M) if count != "0"}
    after = state(server)
    return said, changed, sorted(before ^ after)


@pytest.fixture
def refused(server):
    """Return a function that runs the site with *values* and returns its output, after seeing that nothing changed."""

    def ask(values, *words):
        before = state(server)
        done = server.playbook("-e", json.dumps(values), *words)
        assert done.returncode != 0, done.stdout[-3000:]
        assert "changed=0" in done.stdout, done.stdout[-3000:]
        assert sorted(state(server) ^ before) == []
        return " ".join(done.stdout.split())

    return ask


def places(variable):
    """Return the files of the repository's own group_vars that set a variable for such a host, or show how."""
    files = [file for name in ("all", "workbenches", "monitoring") for file in (ROOT / "group_vars" / name).glob("*.yml")]
    return [str(file.relative_to(ROOT)) for file in files if re.search(rf"^(#\s*)?{variable}:", file.read_text(), re.M)]


@refuses
@pytest.mark.parametrize("name", CASES)
def test_refuses(refusals, name):
    said, changed, _ = refusals
    _, *words = CASES[name]
    fitting = [sentence for sentence in said[name] if all(word in sentence for word in words)]
    assert len(fitting) == 1, said[name]
    assert name not in changed
    # The cure names a file, and where the repository sets the variable it is that one, for it would outrank any other.
    files = re.findall(r"(?:group_vars|host_vars|roles|molecule)/[\w./-]+\.(?:yml|md)|session\.yml|lmod\.yml|pip_lock", fitting[0])
    assert files, fitting[0]
    variable = re.match(r"\w+", words[0])[0]
    right = places(variable)
    assert (
        not right
        or any("host_vars/" in file or file in right or file.endswith("vault.yml") for file in files)
        or any(Path(each).name in files for each in right)
    ), (fitting[0], right)


def test_all_of_that_changed_nothing(refusals):
    assert refusals[2] == []


HOST = {"ansible_host": "127.0.0.1", "ansible_port": 1}
GOOD = groups(gpu_servers=["fenton"])
# Files of an inventory, and what is said.
FILES = {
    "variables that are not YAML": (
        {"hosts.yml": yaml.safe_dump(GOOD), "group_vars/all/base.yml": "base_administrators:\n  - name: ada\n   keys: []\n"},
        "group_vars/all/base.yml line 3 is not YAML", "correct it there or in the line above"),
    "a tab": (
        {"hosts.yml": yaml.safe_dump(GOOD), "host_vars/fenton.yml": "jupyter_users:\n\t- name: ada\n"},
        "host_vars/fenton.yml line 2 is not YAML", "correct it there or in the line above"),
    "a variable that stands twice": (
        {"hosts.yml": yaml.safe_dump(GOOD), "group_vars/all.yml": "ssh_port: 22\nssh_sources: []\nssh_port: 2222\n"},
        "group_vars/all.yml line 3 is not YAML (ssh_port is there already)", "correct it there"),
    "a list where variables belong": (
        {"hosts.yml": yaml.safe_dump(GOOD), "group_vars/all/ssh.yml": "- ssh_port: 22\n"},
        "group_vars/all/ssh.yml line 1 is a list and not variables", "write `name: value` lines"),
    "an inventory without hosts": (
        {"hosts.yml": yaml.safe_dump(groups())}, "hosts.yml has no host", "write the name and ansible_host of one under gpu_servers"),
    "a misspelt group": (
        {"hosts.yml": yaml.safe_dump({"all": {"children": {"gpu_server": {"hosts": {"fenton": HOST}}, "servers": {}}}})},
        "fenton: it is in the group gpu_server, and no play is for that", "did you mean gpu_servers?"),
    "a host in no group": (
        {"hosts.yml": yaml.safe_dump({"all": {"hosts": {"fenton": HOST}}})},
        "fenton: it is in no group, and so no play is for it", "put it under one of servers, "),
    "a host that the inventory does not have": (
        {"hosts.yml": yaml.safe_dump(GOOD)}, "Could not match supplied host pattern, ignoring: fenten"),
}  # fmt: skip


@refuses
@pytest.mark.parametrize("name", FILES)
def test_refuses_files(tmp_path, name):
    texts, *words = FILES[name]
    for file, text in texts.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    done = site(tmp_path / "hosts.yml", "-l", "fenten" if "host that" in name else "all")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, said[-2000:]
    assert [word for word in words if word not in said] == [], said[-2000:]
    assert "changed=1" not in said


@refuses
@pytest.mark.parametrize("name", ["a release that is not supported"])
def test_refuses_an_unsupported_release(server, refused, name):
    release = server.docker("cat", "/etc/os-release").stdout
    version = server.docker("cat", "/etc/debian_version").stdout
    try:
        server.docker("sh", "-c", "sed -i 's/1[23]/11/g' /etc/os-release /etc/debian_version")
        assert "which is not supported" in refused({})
    finally:
        server.docker("sh", "-c", f"cat >/etc/os-release <<'EOF'\n{release}EOF\ncat >/etc/debian_version <<'EOF'\n{version}EOF")


@refuses
@pytest.mark.parametrize("name", ["a password beside a wrong value: it is not shown, -vvv or not"])
def test_a_given_password_is_not_shown_when_it_is_refused(refused, name):
    said = refused({"jupyter_users": [{"name": "ada", "port": "soon", "password": "correct horse"}]}, "-vvv")
    assert "jupyter_users[0].port: 'soon'" in said
    assert "correct horse" not in said
