"""What is said about dynamic names before anything is done, the real configurations, and that one setting is enough."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ddns import confuse_string, ddns_clients, ddns_problems

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/ddns"
PROVIDERS = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__ddns_providers"]
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
SERVICES = DEFAULTS["ddns_check_services"]


def record(**more):
    """Return an entry that is right; a value of None takes the key out."""
    right = {"name": "home.example.org", "provider": "dyndns2", "server": "dyn.example.org", "username": "ada", "password": "secret"}
    return {key: value for key, value in {**right, **more}.items() if value is not None}


def of(provider, **more):
    """Return an entry for another provider, without a server."""
    return record(**{"provider": provider, "server": None, **more})


RIGHT = [
    record(),
    record(name="Home.Example.org", server="dyn.example.org:8443", families=["ipv4", "ipv6"], password="quotes ' \" and \\ ä # ${HOME}"),
    of("cloudflare", username=None, zone="example.org"),
    of("desec", username=None, families=["ipv6"]),
    of("desec"),
    of("duckdns", username=None, name="home.duckdns.org", password="a7c4d0ad-114e-40ef-ba1d-d217904a50f2"),
    of("dynu", families=["ipv4", "ipv6"]),
    of("noip"),
    of("ovh", username="example.org-home"),
]


def problems(*records, services=SERVICES, period=300):
    return ddns_problems(list(records), PROVIDERS, services, period)


@pytest.mark.parametrize("entry", RIGHT, ids=lambda entry: entry["provider"])
def test_right_entries_raise_no_problem(entry):
    assert problems(entry) == []
    assert problems() == []


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (record(name="home"), "'home' is not a full DNS name; write one like home.example.org"),
        (record(name="https://home.example.org"), "is not a full DNS name"),
        (record(name="*.example.org"), "is not a full DNS name"),
        (record(name="192.0.2.1 "), "is not a full DNS name"),
        (record(name="home.example.org\n"), "is not a full DNS name"),
        (record(password=None), "home.example.org has no password"),
        (record(password=""), "home.example.org has no password"),
        (record(password="two\nlines"), "the password of home.example.org has a line break"),
        (record(password="tab\there"), "the password of home.example.org has a line break, a control character"),
        (record(password="x" * 256), "more than 255 bytes"),
        (record(server=None), "home.example.org needs a server for the provider dyndns2"),
        (record(username=None), "home.example.org needs a username for the provider dyndns2"),
        (record(server="http://dyn.example.org"), "'http://dyn.example.org' would get the password of home.example.org in the clear"),
        (record(server="https://dyn.example.org"), "'https://dyn.example.org', is not HOST or HOST:PORT"),
        (record(server="dyn.example.org/update"), "is not HOST or HOST:PORT"),
        (record(username='ada"; id; "'), "has characters other than letters"),
        (record(username="a$(id)"), "has characters other than letters"),
        (record(username="a`id`"), "has characters other than letters"),
        (record(username="ada:x"), "has characters other than letters"),
        (record(username="ada\n"), "has characters other than letters"),
        (record(families=["ipv4", "ipv4"]), "has the same family twice"),
        (of("cloudflare", username=None), "home.example.org needs a zone for the provider cloudflare"),
        (of("cloudflare", zone="example.org"), "home.example.org has a username, which the provider cloudflare does not use"),
        (of("cloudflare", username=None, zone="example.net"), "home.example.org does not end in its zone example.net"),
        (of("cloudflare", username=None, zone="ample.org"), "home.example.org does not end in its zone ample.org"),
        (of("noip", server="dyn.example.org"), "home.example.org has a server, which the provider noip does not use"),
        (of("noip", families=["ipv6"]), "noip is known to take ipv4 only; take ipv6 out of the families of home.example.org"),
        (of("duckdns", username=None), "home.example.org is not a name of duckdns, which all are NAME.duckdns.org"),
        (of("duckdns", username=None, name="a.duckdns.org", password="a&b=c"), "is not a token of duckdns"),
    ],
)
def test_a_wrong_entry_gets_one_sentence_with_the_line_to_change(entry, sentence):
    said = problems(entry)
    assert len(said) == 1, said
    assert said[0].startswith("ddns_records: ")
    assert sentence in said[0]
    assert "group_vars/all/ddns.yml" in said[0]
    if entry.get("password"):
        assert entry["password"] not in said[0]


def test_what_concerns_all_entries():
    assert "HOME" not in problems(record(), record(name="HOME.example.org"))[0]
    (said,) = problems(record(), record(name="HOME.example.org"))
    assert said == "ddns_records: home.example.org is there twice; remove one entry in group_vars/all/ddns.yml."
    (said,) = problems(record(), services={"ipv4": "http://check.example.org"})
    assert said.startswith("ddns_check_services: 'http://check.example.org' cannot be trusted with the ipv4 address")
    assert problems(services={}) == []
    assert "ipv6" in problems(record(families=["ipv6"]), services={"ipv4": SERVICES["ipv4"]})[0]
    for period in (29, 86401):
        assert problems(period=period)[0].startswith(f"ddns_period: {period} is not between")


def test_the_guard_refuses_in_a_play(tmp_path):
    play = [
        {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": {"name": "ddns", "tasks_from": "guard"}}]}
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(ROOT / "roles")}
    for entry, status in ((record(), 0), (record(name="home", password="a-secret-of-mine"), 2)):
        words = [
            "ansible-playbook",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-vvv",
            tmp_path / "play.yml",
            "-e",
            json.dumps({"ddns_records": [entry]}),
        ]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == status, done.stdout
        assert ("is not a full DNS name" in done.stdout) == bool(status)
        assert "a-secret-of-mine" not in done.stdout + done.stderr


def test_there_is_a_client_for_each_name_and_family():
    clients = ddns_clients([RIGHT[1], RIGHT[5]], PROVIDERS)
    assert [client["id"] for client in clients] == ["home.example.org-ipv4", "home.example.org-ipv6", "home.duckdns.org-ipv4"]
    assert clients[0]["server"] == "dyn.example.org:8443"
    assert clients[2]["path"] == "/update?domains=home&token=%p&ip=%i"
    assert ddns_clients([], PROVIDERS) == []


def test_the_spec_and_the_data_name_the_same_providers():
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert options["ddns_records"]["options"]["provider"]["choices"] == sorted(PROVIDERS)
    for known in PROVIDERS.values():
        assert set(known.get("plugin") or known["paths"]) <= {"ipv4", "ipv6"}
        # What inadyn has room for.
        assert all(len(path) < 200 for path in known.get("paths", {}).values())


def render(client):
    variables = {**DEFAULTS, "client": client, "ansible_managed": "Ansible managed", "__ddns_address": "/x/ddns-address"}
    text = (ROLE / "templates/inadyn.conf.j2").read_text()
    environment = Templar(DataLoader(), variables=variables)
    return environment.template(trust_as_template(text))


def test_a_string_keeps_what_it_holds():
    assert confuse_string("plain") == "'plain'"
    assert confuse_string("it's \\ ${HOME}") == "'it\\'s \\\\ ${HOME}'"


@pytest.mark.parametrize("entry", RIGHT, ids=lambda entry: entry["provider"])
def test_the_configuration_of_each_provider(entry):
    for client in ddns_clients([entry], PROVIDERS):
        text = render(client)
        assert f"  hostname = '{entry['name'].lower()}'\n" in text
        assert f"  password = {confuse_string(entry['password'])}\n" in text
        assert f"checkip-command = '/x/ddns-address {client['family']}'" in text
        # Neither TLS nor the look at certificates is switched off.
        assert "ssl" not in text
        if entry["provider"] == "cloudflare":
            assert "provider default@cloudflare.com {" in text
            assert "username = 'example.org'" in text
        else:
            assert f"ddns-server = '{client['server']}'" in text
            assert "%i" in client["path"]


def test_one_setting_is_enough(tmp_path):
    """The wiring of the repository's own group_vars, for a workbench of the repository's own inventory."""
    wanted = {"tls": "{{ tls_aliases }}", "ssh": "{{ ssh_hostname }}", "jupyter": "{{ jupyter_hostname }}"}
    records = [record(name="fenton.example.org"), record(name="second.example.org")]
    for given, expected in (
        ([], {"tls": [], "ssh": "192.0.2.1", "jupyter": "192.0.2.1"}),
        (records, {"tls": ["fenton.example.org", "second.example.org"], "ssh": "fenton.example.org", "jupyter": "fenton.example.org"}),
    ):
        file = tmp_path / "out.json"
        done = subprocess.run(
            ["ansible", "fenton", "-i", "inventory/hosts.yml", "--playbook-dir", ".", "-c", "local", "-m", "ansible.builtin.copy",
             "-e", json.dumps({"ddns_records": given, "ansible_host": "192.0.2.1", "wanted": wanted}),
             "-e", "ansible_python_interpreter=python3", "-a", f"dest={file} mode=0600 content={{{{ wanted | to_json }}}}"],
            capture_output=True, text=True, cwd=ROOT, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(file.read_text()) == expected


def test_the_name_is_handed_out(tmp_path):
    """The real task of role ssh, and its default where the inventory says nothing."""
    known = {
        "__ssh_seen": {"files": {"host_key": "ssh-ed25519 AAAA root"}},
        "__ssh_able": ["ada"],
        "__ssh_names": [],
        "__ssh_client_port": 22,
    }
    task = {"ansible.builtin.include_role": {"name": "ssh", "tasks_from": "hand_out"}}
    play = [{"hosts": "fenton", "gather_facts": False, "tasks": [{**task, "vars": known}]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    for given, host in (({"ssh_hostname": "home.example.org"}, "home.example.org"), ({}, "fenton")):
        words = ["ansible-playbook", "-i", "fenton,", "-c", "local", tmp_path / "play.yml"]
        done = subprocess.run(
            [*words, "-e", json.dumps({**given, "artifacts_dir": str(tmp_path)})],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        assert json.loads((tmp_path / "fenton/connection.json").read_text())["host"] == host
