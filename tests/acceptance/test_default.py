"""What is true of the whole site: whatever somebody changes by hand is found and put right, and a run with nothing to do does little."""

import base64
import collections
import importlib.util
import json
import os
import re
import secrets
import urllib.parse
from pathlib import Path

import pytest
from conftest import LONG, run
from leaks import handed_out, keys, leaks, watched

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks/run.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

# The authority's certificate and the pair of a service are issued again, not put back: what counts is that they are good.
ISSUED = "/etc/fenton/tls/"
GOOD = """
/usr/local/sbin/fenton-certificate --check | grep -o '"changed": [a-z]*'
stat -c '%n %a %U %G' /etc/fenton/tls/*/*
openssl verify -CAfile /etc/fenton/tls/authority/ca.pem /etc/fenton/tls/*/fullchain.pem
"""
SITE_PACKAGES = "/opt/conda/envs/{}/lib/python3*/site-packages/{}"
VERSION = "/opt/conda/envs/{0}/bin/python -c 'import {1}; print({1}.__version__)'"
SHORT_KEY = "cd /etc/ssh && rm ssh_host_rsa_key* && ssh-keygen -q -t rsa -b 2048 -N '' -f ssh_host_rsa_key"
# Role, what is spoiled, how, and what shows whether it is right.
OTHERS = [
    ("base", "a package", "dpkg --remove --force-depends jq", "dpkg-query -W -f '${Status}' jq"),
    ("base", "a group of the administrator's", "gpasswd -d tom adm", "id -nG tom"),
    ("base", "one more key", "echo 'ssh-ed25519 AAAA x' >>~tom/.ssh/authorized_keys", "cat ~tom/.ssh/authorized_keys"),
    ("base", "keys that all can read", "chmod 644 ~tom/.ssh/authorized_keys", "stat -c '%a %U' ~tom/.ssh/authorized_keys"),
    ("base", "the administrator's shell", "usermod -s /usr/sbin/nologin tom", "getent passwd tom"),
    ("base", "the time zone", "ln -sf /usr/share/zoneinfo/Asia/Tokyo /etc/localtime", "readlink -f /etc/localtime"),
    ("base", "the language", "sed -i /LANG=/d /etc/default/locale", "cat /etc/default/locale"),
    ("base", "the clock's service", "systemctl disable systemd-timesyncd", "systemctl is-enabled systemd-timesyncd"),
    ("base", "what keeps memory free", "systemctl disable --now earlyoom", "systemctl is-enabled earlyoom && systemctl is-active earlyoom"),
    ("base", "the firewall's service", "systemctl disable fenton-firewall", "systemctl is-enabled fenton-firewall"),
    ("base", "the firewall", "nft delete table inet fenton", "nft list chain inet fenton input"),
    ("ssh", "a short host key", SHORT_KEY, "ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub | cut -d' ' -f1"),
    ("session", "lingering", "loginctl disable-linger tom", "ls /var/lib/systemd/linger"),
    (
        *("session", "a window", "runuser -u tom -- tmux kill-window -t =main:notebook"),
        "runuser -u tom -- tmux list-windows -t =main -F '#{window_name}'",
    ),
    (
        *("anaconda", "a module of an environment", f"rm {SITE_PACKAGES.format('science', 'numpy/__init__.py')}"),
        VERSION.format("science", "numpy"),
    ),
    ("anaconda", "uv", "rm /usr/local/lib/fenton/uv/bin/uv", "/usr/local/lib/fenton/uv/bin/uv --version"),
    (
        *("jupyter", "a module of JupyterLab", f"rm {SITE_PACKAGES.format('jupyter', 'jupyterlab/__init__.py')}"),
        VERSION.format("jupyter", "jupyterlab"),
    ),
    ("jupyter", "a server that was stopped", "systemctl stop jupyter@tom", "systemctl is-active jupyter@tom"),
    (
        "exporters",
        "an exporter that was stopped",
        "systemctl stop prometheus-node-exporter",
        "systemctl is-active prometheus-node-exporter",
    ),
    (
        "exporters",
        "a timer that does not start at boot",
        "systemctl disable fenton-metrics.timer",
        "systemctl is-enabled fenton-metrics.timer",
    ),
    (
        "exporters",
        "a package of the exporters",
        "dpkg --remove prometheus-node-exporter-collectors",
        "systemctl is-enabled prometheus-node-exporter-apt.timer",
    ),
    (
        "tls",
        "a timer that does not start at boot",
        "systemctl disable fenton-certificate.timer",
        "systemctl is-enabled fenton-certificate.timer",
    ),
    ("tls", "a timer that was stopped", "systemctl stop fenton-certificate.timer", "systemctl is-active fenton-certificate.timer"),
    ("jupyter", "a server that does not start at boot", "systemctl disable jupyter@tom", "systemctl is-enabled jupyter@tom"),
]


def edits():
    """Return ways to spoil each thing: who may write the files of each role, what they hold, and OTHERS."""
    found = []
    for role, paths in bench.FILES.items():
        issued = [path for path in paths if path.startswith(ISSUED)]
        plain = [path for path in paths if path not in issued]
        # In two halves, so that none is repaired for its neighbour's sake alone.
        for which, half in (("odd", plain[::2]), ("even", plain[1::2])):
            # sudo ignores a rule that all can write; then nobody could repair anything without root's own key.
            spoil = "; ".join(f"chmod {444 if 'sudoers' in path else 666} {path}" for path in half)
            files = " ".join(half)
            found += [(role, f"modes of its files, {which} ones", spoil, f"stat -c '%a %U %G' {files}; sha256sum {files}")] if half else []
        found += [(role, f"modes of {path}", f"chmod 666 {path}", GOOD) for path in issued]
        # Every second one is gone, the others hold something else.
        spoil = [f"rm {path}" if number % 2 else f"echo '# edited' >>{path}" for number, path in enumerate(plain)]
        files = " ".join(plain)
        found.append((role, "text of its files", "; ".join(spoil), f"stat -c '%n %a %U %G' {files}; sha256sum {files}"))
        # A new authority would be one more ca.pem to import, so its key is left alone.
        spoil = [f"sed -i 2d {path}" for path in issued if not path.endswith("ca.key")]
        found += [(role, "text of its certificates", "; ".join(spoil), GOOD)] if spoil else []
    return found + OTHERS


def works_through(role):
    """Return the roles that do a part of the work of *role*, or begin theirs in its midst, by their entry points."""
    text = "\n".join(file.read_text() for file in (ROOT / "roles" / role / "tasks").glob("*.yml"))
    found = set(re.findall(r"include_role:\s*\{?\s*name: (\w+)", text))
    for entry in re.findall(r'include_role:\s*name: "\{\{ role \}\}"\s*tasks_from: (\w+)', text):
        found |= {path.parts[-3] for path in (ROOT / "roles").glob(f"*/tasks/{entry}.yml")}
    return found


def together(edits, most=1):
    """Return *edits* in rounds, each of which one run puts right.

    No two edits of a round are of two roles of which one works through the other, nor more than *most* of one role, and of its files
    only modes or only texts: with one, none is repaired for its neighbour's sake alone.
    """
    links = {role: works_through(role) for role, *_ in edits}
    count = collections.Counter(role for role, *_ in edits)
    left, rounds = sorted(edits, key=lambda edit: -count[edit[0]]), []
    while left:
        one = []
        for edit in left:
            role = edit[0]
            mine = [what.split()[0] for other, what, *_ in one if other == role]
            if any(role in links[other] or other in links[role] for other, *_ in one if other != role):
                continue
            if len(mine) < most and {"text": "modes", "modes": "text"}.get(edit[1].split()[0]) not in mine:
                one.append(edit)
        left = [edit for edit in left if edit not in one]
        rounds.append(one)
    return rounds


PLANT = "cat >/etc/planted; chmod 644 /etc/planted; cp /etc/planted /var/log/planted; logger </etc/planted"
long = pytest.mark.skipif(os.environ.get("OS", "debian13") != "debian13", reason="seen on debian13")


@(pytest.mark.once if os.environ.get("OS") == "debian12" else lambda test: test)
def test_a_run_that_changes_nothing_keeps_to_its_budget(server, tmp_path):
    done = server.playbook(env={"FENTON_REPORT": str(tmp_path / "report.json")})
    assert "changed=0" in done.stdout, done.stdout[-4000:]
    found = bench.counts(json.loads((tmp_path / "report.json").read_text()))
    assert bench.over(found, json.loads(bench.BUDGET.read_text())) == []


ROUNDS = together(edits(), 1 if LONG else 5)


@pytest.mark.attempt(
    "Old runs",
    "everything that a role keeps is edited, deleted, stopped or given another mode by hand, each role in turn",
    "the next run puts it right",
)
@pytest.mark.once
@long
@pytest.mark.parametrize("edits", ROUNDS, ids=["; ".join(f"{role}: {what}" for role, what, *_ in one) for one in ROUNDS])
def test_what_is_changed_by_hand_is_put_right_by_the_next_run(server, edits):
    server.mends_all(",".join(role for role, *_ in edits), {f"{role}: {what}": (how, look) for role, what, how, look in edits})


def secret():
    """Return what nobody else has, with characters that are written otherwise in addresses, in shells and in JSON."""
    return f'a+b/{secrets.token_urlsafe(15)} &é="c'


@pytest.mark.once
@long
@pytest.mark.attempt("Secrets", "each of them is put where it must not be", "the scan that the next rows rely on finds it")
def test_the_scan_finds_what_is_planted(server, tmp_path):
    mine = secret()
    basic = base64.b64encode(f"tom:{mine}".encode()).decode()
    with watched(server, tmp_path) as seen:
        server.docker("sh", "-c", f"exec sleep 1 {basic}")
    planted = run("docker", "exec", "-i", server.container, "sh", "-c", PLANT, input=basic)
    assert planted.returncode == 0, planted.stderr
    note = server.artifacts / "planted"
    note.touch(0o644)
    mine_here = ROOT / f"planted-{tmp_path.name}.yml"
    mine_here.write_text(urllib.parse.quote(mine, safe=""))
    left = Path.home() / ".ansible" / f"planted-{tmp_path.name}"
    left.write_text(mine)
    try:
        found = leaks(server, [mine], f"password={json.dumps(mine)}", seen)
    finally:
        note.unlink()
        mine_here.unlink()
        left.unlink()
        server.docker("rm", "/etc/planted", "/var/log/planted")
    assert set(found) == {"output", "command lines", "journal", "logs", "readable by all", "modes", "git", "left on the control node"}
    assert "/etc/planted" in found["readable by all"]
    assert mine not in json.dumps(found)


@pytest.mark.long
@pytest.mark.once
@long
@pytest.mark.attempt(
    "Secrets",
    "the whole site with -vvvv and --diff, with new passwords, tokens and keys, given and generated",
    "none in output, command lines, journal, logs, files that others may read, git, or left on the control node; artifacts are 0600",
)
def test_no_secret_is_seen(server, tmp_path):
    token = f"123456789:AA{secrets.token_hex(16)}x"
    given = {name: secret() for name in ("jupyter", "dashboard", "mail")} | {"ddns": secrets.token_urlsafe(18), "token": token}
    values = {
        "jupyter_users": [{"name": "tom", "port": 8888, "password": given["jupyter"]}],
        "dashboard_users": [{"name": "tom", "password": given["dashboard"]}],
        "notify_telegram": {"token": token, "chat": 1, "server": "https://127.0.0.1:1"},
        "monitoring_email": {
            **{"to": ["tom@example.org"], "from": "fenton@example.org", "smarthost": "127.0.0.1:25"},
            **{"username": "tom", "password": given["mail"]},
        },
        "ddns_records": [
            {"name": "home.example.org", "provider": "dyndns2", "server": "localhost:1", "username": "tom", "password": given["ddns"]}
        ],
        # A name more would ask for new certificates.
        "tls_aliases": [],
        "ssh_hostname": server.address,
        # Somebody who watches: the door with its token.
        "exporters_sources": ["192.0.2.1"],
    }
    (tmp_path / "values.json").write_text(json.dumps(values))
    before = handed_out(server) + keys(server)
    server.docker("rm", "/etc/fenton/tls/jupyter/privkey.pem")
    with watched(server, tmp_path) as seen:
        first = server.playbook("-vvvv", "--diff", "-e", f"@{tmp_path}/values.json")
        there = handed_out(server) + keys(server)
        # And back: passwords are generated again.
        second = server.playbook("-vvvv", "--diff")
    for done in (first, second):
        assert done.returncode == 0, re.findall(r"^fatal: .*?^\n", done.stdout, re.M | re.S)[:2]
        assert "changed=0" not in done.stdout
    all_of_them = {*given.values(), *before, *there, *handed_out(server), *keys(server)}
    assert len(all_of_them) > 12
    assert leaks(server, all_of_them, "\n".join(done.stdout + done.stderr for done in (first, second)), seen) == {}
    assert run("git", "check-ignore", "-q", "artifacts/fenton/connection.json", cwd=ROOT).returncode == 0


@pytest.mark.once
@long
def test_nothing_is_left_to_do_after_that(server):
    done = server.playbook()
    assert "changed=0" in done.stdout, done.stdout[-4000:]
