"""What is decided about notebook servers before and while they are set up, and the real templates."""

import ssl
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from jupyter import jupyter_connections, jupyter_differing, jupyter_metrics_problems, jupyter_problems, jupyter_proxy_problems

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/jupyter"


def user(name="ada", port=8888, **more):
    return {"name": name, "port": port, **more}


def test_right_users_raise_no_problem():
    assert jupyter_problems([]) == []
    assert jupyter_problems([user(), user("tom-2", 65535), user("_x", 1024, password="twelve chars")]) == []


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        ([user("root")], "root must not run notebooks"),
        ([user("Ada")], "'Ada' is no user name that Linux accepts"),
        ([user("a b")], "'a b' is no user name"),
        ([user("1a")], "'1a' is no user name"),
        ([user("a" * 33)], "is no user name"),
        ([user("ada\n")], "is no user name"),
        ([user(), user()], "ada is there twice"),
        ([user(), user("tom")], "port 8888 is used by both ada and tom"),
        ([user(port=1023)], "port 1023 of ada is not between 1024 and 65535"),
        ([user(port=65536)], "port 65536 of ada"),
        ([user(password="")], "the password of ada has fewer than 12 characters"),
        ([user(password="eleven char")], "the password of ada has fewer than 12 characters"),
        ([user(password="twelve chars ")], "begins or ends with a space"),
    ],
)
def test_a_wrong_user_gets_a_sentence_with_the_line_to_change(users, sentence):
    problems = jupyter_problems(users)
    assert sentence in problems[0]
    assert "group_vars/workbenches/jupyter.yml" in problems[0]
    for entry in users:
        assert not entry.get("password") or entry["password"] not in problems[0]


def test_connections():
    users = [user(), user("tom", 8889, password="twelve chars")]
    assert jupyter_connections(users, "fenton.example.org") == {
        "ada": {"url": "https://fenton.example.org:8888/lab", "port": 8888, "password_file": "jupyter-password-ada"},
        "tom": {"url": "https://fenton.example.org:8889/lab", "port": 8889, "password_file": ""},
    }
    assert jupyter_connections([user()], "2001:db8::1")["ada"]["url"] == "https://[2001:db8::1]:8888/lab"


def differing(files, private=("ada.py",), states=("ada active enabled",)):
    return jupyter_differing({"ada": "new"}, files, private, states)


def test_a_server_that_runs_with_the_wanted_configuration_is_left_alone():
    assert differing({"ada": "new", "ada runs with": "new"}) == {"write": [], "attend": [], "running": []}


@pytest.mark.parametrize(
    ("files", "private", "states", "expected"),
    [
        ({}, (), ("ada inactive",), {"write": ["ada"], "attend": ["ada"], "running": []}),
        ({"ada": "old", "ada runs with": "old"}, ("ada.py",), ("ada active enabled",),
         {"write": ["ada"], "attend": ["ada"], "running": ["ada"]}),
        # The run was killed between writing and restarting.
        ({"ada": "new", "ada runs with": "old"}, ("ada.py",), ("ada active enabled",),
         {"write": [], "attend": ["ada"], "running": ["ada"]}),
        ({"ada": "new", "ada runs with": "new"}, ("ada.py",), ("ada failed enabled",), {"write": [], "attend": ["ada"], "running": []}),
        ({"ada": "new", "ada runs with": "new"}, (), ("ada active enabled",), {"write": ["ada"], "attend": [], "running": []}),
    ],
    ids=["first run", "changed", "killed run", "dead", "readable by others"],
)  # fmt: skip
def test_what_differs_is_attended_to(files, private, states, expected):
    assert differing(files, private, states) == expected


def test_a_server_that_is_right_but_not_enabled_is_not_restarted_with_loss():
    found = differing({"ada": "new", "ada runs with": "new"}, states=("ada active disabled",))
    assert found["attend"] == ["ada"]
    assert found["running"] == [], "a running server with the right configuration keeps its kernels"


def render(name, **more):
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    private = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    variables = {**defaults, "__jupyter_configs": private["__jupyter_configs"], "__jupyter_tls": private["__jupyter_tls"]}
    variables |= {"ansible_managed": "Ansible managed", "__jupyter_stamp": "0" * 64, **more}
    text, loader = (ROLE / "templates" / name).read_text(), DataLoader()
    loader.set_basedir(str(ROLE / "templates"))  # what it includes
    return Templar(loader, variables=variables).template(trust_as_template(text))


class Config(dict):
    """Stands for traitlets' configuration: any section, any setting."""

    def __getattr__(self, name):
        return self.setdefault(name, types.SimpleNamespace(tornado_settings={}))


def load(monkeypatch, tmp_path, **more):
    """Run a rendered server.py with a stand-in for the library; return what it set."""

    class Specs:
        def __init__(self):
            self.kernel_dirs = [f"{sys.prefix}/share/jupyter/kernels", "/usr/local/share/jupyter/kernels"]

        def find_kernel_specs(self):
            return {"tensorflow": "x", "science": "y"}

    module = types.ModuleType("jupyter_client.kernelspec")
    module.KernelSpecManager = Specs
    monkeypatch.setitem(sys.modules, "jupyter_client", types.ModuleType("jupyter_client"))
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", module)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config()
    text = render("server.py.j2", **{"user": user(), "hash": "argon2:$argon2id$x", **more})
    exec(compile(text, "server.py", "exec"), {"get_config": lambda: config})
    return config


def test_the_configuration_says_what_was_decided(monkeypatch, tmp_path):
    config = load(monkeypatch, tmp_path)
    assert config.ServerApp.port == 8888
    assert config.ServerApp.root_dir == str(tmp_path)
    assert config.PasswordIdentityProvider.hashed_password == "argon2:$argon2id$x"
    assert config.IdentityProvider.token == ""
    assert not hasattr(config.MappingKernelManager, "cull_idle_timeout")
    assert config.MultiKernelManager.default_kernel_name == "science"
    assert config.ServerApp.kernel_spec_manager_class().kernel_dirs == ["/usr/local/share/jupyter/kernels"]


def test_metrics_are_offered_once_on_loopback_and_only_where_asked_for(monkeypatch, tmp_path, capsys):
    asked = []
    module = types.ModuleType("prometheus_client")
    module.start_http_server = lambda port, addr: asked.append((port, addr))
    monkeypatch.setitem(sys.modules, "prometheus_client", module)
    load(monkeypatch, tmp_path)
    assert asked == []
    for _ in range(2):
        load(monkeypatch, tmp_path, jupyter_metrics_offset=10000)
    assert asked == [(18888, "127.0.0.1")]

    # A port that somebody else has costs the metrics, and not the notebooks.
    def taken(port, addr):
        raise OSError("Address already in use")

    del module.of_this_server
    module.start_http_server = taken
    assert load(monkeypatch, tmp_path, jupyter_metrics_offset=10000).ServerApp.port == 8888
    assert "No metrics on port 18888: Address already in use" in capsys.readouterr().err


def test_ports_for_metrics_must_be_free():
    assert jupyter_metrics_problems([user(), user("tom", 8889)], 0) == []
    assert jupyter_metrics_problems([user(), user("tom", 8889)], 10000) == []
    assert "make 65536" in jupyter_metrics_problems([user(port=55536)], 10000)[0]
    assert "make 8889, the port of tom" in jupyter_metrics_problems([user(), user("tom", 8889)], 1)[0]


def test_culling_and_the_root_directory_follow_their_variables(monkeypatch, tmp_path):
    config = load(monkeypatch, tmp_path, jupyter_cull_idle_minutes=1, jupyter_root_dir="~/work")
    assert config.MappingKernelManager.cull_idle_timeout == 60
    assert config.MappingKernelManager.cull_interval == 30
    assert config.ServerApp.root_dir == str(tmp_path / "work")
    assert (tmp_path / "work").is_dir()


def proxy(**more):
    return {"name": "board", "title": 'The "board"', "command": ["/usr/bin/board", "{unix_socket}"], **more}


def test_programs_behind_the_login_listen_where_they_are_told(monkeypatch, tmp_path):
    assert not hasattr(load(monkeypatch, tmp_path).ServerProxy, "servers")
    servers = load(
        monkeypatch, tmp_path, jupyter_proxies=[proxy(icon="/a.svg"), proxy(name="page", command=["/usr/bin/page", "--port={port}"])]
    ).ServerProxy.servers
    assert servers["board"]["command"] == ["/usr/bin/board", "{unix_socket}"]
    assert servers["board"]["launcher_entry"] == {"title": 'The "board"', "icon_path": "/a.svg"}
    assert (servers["board"]["unix_socket"], servers["page"]["unix_socket"]) == (True, False)


@pytest.mark.parametrize(
    ("proxies", "sentence"),
    [
        ([proxy(name="Board")], "'Board' cannot stand in an address"),
        ([proxy(name="lab")], "'lab' cannot stand in an address beside Jupyter's own"),
        ([proxy(), proxy()], "board is there twice"),
        ([proxy(command=[])], "the command of board must begin with the path of a program"),
        ([proxy(command=["board", "{port}"])], "the command of board must begin with the path of a program"),
        ([proxy(command=["/usr/bin/board"])], "the command of board does not say where to listen; add {unix_socket} to it"),
    ],
)
def test_a_program_that_nobody_could_reach_gets_a_sentence(proxies, sentence):
    assert jupyter_proxy_problems([proxy()]) == []
    problems = jupyter_proxy_problems(proxies)
    assert sentence in problems[0]
    assert all("group_vars/workbenches/jupyter.yml" in problem for problem in problems)


def test_the_ciphers_are_known_to_openssl(monkeypatch, tmp_path):
    options = load(monkeypatch, tmp_path).ServerApp.ssl_options
    context = ssl.SSLContext(options["ssl_version"])
    context.set_ciphers(options["ciphers"])
    assert all("CBC" not in cipher["name"] for cipher in context.get_ciphers())


def test_the_unit_implies_neither_no_new_privileges_nor_a_mount_namespace():
    """sudo, fusermount and nvidia-modprobe must go on working; these directives would end that (measured, one at a time)."""
    unit = render("jupyter@.service.j2")
    directives = {line.partition("=")[0] for line in unit.splitlines() if "=" in line and not line.startswith("#")}
    assert not [name for name in directives if name.startswith(("Protect", "Private", "Restrict", "SystemCall", "LockP", "MemoryDeny"))]
    assert "NoNewPrivileges" not in directives
    assert "OOMPolicy=continue" in unit.splitlines()


def test_the_lock_names_every_package_with_its_hashes_and_no_index():
    text = (ROLE / "files/locks/jupyter.txt").read_text()
    for name in (ROLE / "files/locks/jupyter.in").read_text().split():
        assert f"\n{name}==" in f"\n{text}"
    assert "--index" not in text
    assert "://" not in text
    packages = [line for line in text.splitlines() if not line.startswith(" ")]
    assert all("==" in line and line.endswith("\\") for line in packages)


@pytest.mark.parametrize("old", [True, False])
def test_the_probe_tells_an_old_tls_from_a_new_one(tmp_path, old):
    """The promise "nothing older than TLS 1.2" must be able to break."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *words], check=True, capture_output=True)
    server = (
        "import ssl, socket, sys; c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.set_ciphers('ALL:@SECLEVEL=0');"
        f"c.load_cert_chain({str(certificate)!r}, {str(key)!r});"
        f"c.minimum_version = ssl.TLSVersion.{'TLSv1' if old else 'TLSv1_2'};"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    try: c.wrap_socket(s.accept()[0], server_side=True).close()\n"
        "    except OSError: pass"
    )
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", server], stdout=subprocess.PIPE, text=True) as running:
        port = running.stdout.readline().strip()
        done = subprocess.run(
            [sys.executable, ROLE / "files/probe.py", "localhost", certificate, port], capture_output=True, text=True, check=True
        )
        running.kill()
    found = yaml.safe_load(done.stdout)[port]
    assert found["old_tls"] is old
    assert found["http"] is False


def test_who_is_removed_loses_the_server_and_moves_nobody_elses_port():
    given = yaml.safe_load((ROOT / "group_vars/workbenches/jupyter.yml").read_text(encoding="utf-8"))

    def wired(name, people):
        return Templar(loader=DataLoader(), variables={"base_administrators": people}).template(trust_as_template(given[name]))

    people = [{"name": name} for name in ("ada", "tom", "eve")]
    assert wired("jupyter_users", people) == [user("ada", 8888), user("tom", 8889), user("eve", 8890)]
    assert wired("jupyter_removed", people) == []
    people[1]["state"] = "absent"
    assert wired("jupyter_users", people) == [user("ada", 8888), user("eve", 8890)]
    assert wired("jupyter_removed", people) == ["tom"]
