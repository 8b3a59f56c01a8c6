"""What is decided about the page of the servers, and the real templates and files of the role."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from dashboard import dashboard_connection, dashboard_for_grafana, dashboard_logins, dashboard_problems
from passlib.hash import sha512_crypt

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/dashboard"
QUERIES = json.loads((ROLE / "files/page/queries.json").read_text())


def problems(users=(), port=9443, prometheus="127.0.0.1:9090"):
    return dashboard_problems(list(users), port, prometheus)


def test_right_settings_raise_no_problem():
    assert problems() == []
    assert problems([{"name": "ada"}, {"name": "t.o-m_2@home", "password": "twelve chars"}], 443, "[::1]:9091") == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"users": [{"name": "a:b"}]}, "'a:b' cannot be a name"),
        ({"users": [{"name": ""}]}, "'' cannot be a name"),
        ({"users": [{"name": "Ada Lovelace"}]}, "'Ada Lovelace' cannot be a name"),
        ({"users": [{"name": "ada\n"}]}, "cannot be a name"),
        ({"users": [{"name": "-a"}]}, "cannot be a name"),
        ({"users": [{"name": "ada"}, {"name": "ada"}]}, "ada is there twice"),
        ({"users": [{"name": "ada", "password": "eleven char"}]}, "fewer than 12 characters"),
        ({"users": [{"name": "ada", "password": ""}]}, "fewer than 12 characters"),
        ({"users": [{"name": "ada", "password": "twelve chars "}]}, "begins or ends with a blank"),
        ({"users": [{"name": "ada", "password": "twelve\nchars"}]}, "two lines"),
        ({"port": 0}, "dashboard_port: 0 is not between 1 and 65535"),
        ({"port": 65536}, "dashboard_port: 65536"),
        ({"port": 9090}, "port 9090 is that of Prometheus"),
        ({"prometheus": "localhost"}, "'localhost' is no address with a port"),
        ({"prometheus": "http://localhost:9090"}, "is no address with a port"),
        ({"prometheus": "localhost:99999"}, "is no address with a port"),
    ],
)
def test_a_wrong_setting_gets_a_sentence_with_the_line_to_change(settings, sentence):
    found = problems(**settings)
    assert len(found) == 1
    assert sentence in found[0]
    assert "group_vars/monitoring/dashboard.yml" in found[0]
    for user in settings.get("users", []):
        assert not user.get("password") or user["password"] not in found[0]


def test_what_people_are_given():
    users = [{"name": "ada"}, {"name": "tom", "password": "twelve chars"}]
    assert dashboard_connection(users, "fenton.example.org", 9443) == {
        "url": "https://fenton.example.org:9443/",
        "users": {"ada": "dashboard-password-ada", "tom": ""},
    }
    assert dashboard_connection(users, "2001:db8::1", 443)["url"] == "https://[2001:db8::1]/"
    assert dashboard_connection([], "x", 1) == {}


def test_a_hash_that_fits_stays_and_any_other_is_made_anew():
    users = [{"name": "ada"}, {"name": "tom"}]
    first = dashboard_logins({"ada": "one password", "tom": "two password"}, users)
    assert [line.split(":")[0] for line in first.splitlines()] == ["ada", "tom"]
    for line, password in zip(first.splitlines(), ("one password", "two password"), strict=True):
        assert line.split(":")[1].startswith("$6$")
        assert sha512_crypt.verify(password, line.split(":")[1])
    assert dashboard_logins({"ada": "one password", "tom": "two password"}, users, first + "eve:x\n") == first
    second = dashboard_logins({"ada": "one password", "tom": "new password"}, users, first)
    assert second.splitlines()[0] == first.splitlines()[0]
    assert second.splitlines()[1] != first.splitlines()[1]
    assert dashboard_logins({"ada": "one password"}, users[:1], "ada:{PLAIN}one password\n").startswith("ada:$6$")


def test_grafana_draws_what_the_page_draws():
    board = dashboard_for_grafana(QUERIES)
    assert json.loads(json.dumps(board)) == board
    assert [panel["title"] for panel in board["panels"]] == [graph["title"] for graph in QUERIES["graphs"]]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})
    for panel in board["panels"]:
        for target in panel["targets"]:
            assert 'host="$host"' in target["expr"]
            assert "$window" not in target["expr"]
            assert "$host" in target["expr"]
    assert board["templating"]["list"][0]["name"] == "host"


def test_every_query_says_whose_numbers_it_takes():
    for name, expr in QUERIES["now"].items():
        assert name == "up" or re.search(r'job="(node|gpu)"', expr), name
        assert re.search(r"by \(host", expr), name
    for graph in QUERIES["graphs"]:
        assert all("host=$host" in line["expr"] for line in graph["lines"]), graph["title"]


class Outside(HTMLParser):
    """Collect what a content policy without exceptions would refuse."""

    def __init__(self):
        super().__init__()
        self.refused, self.ids = [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        self.refused += [name for name in given if name == "style" or name.startswith("on")]
        self.refused += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []
        self.refused += [given[name] for name in ("src", "href") if "//" in given.get(name, "")]


def test_the_page_keeps_to_its_own_policy_and_asks_nobody_else():
    page = Outside()
    page.feed((ROLE / "files/page/index.html").read_text())
    assert page.refused == []
    script = (ROLE / "files/page/page.js").read_text()
    assert {address for address in re.findall(r"https?://[\w.]+", script)} == {"http://www.w3.org"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|setAttribute\(\"style", script)
    # What the script looks for is there.
    assert set(re.findall(r"\$\(\"#(\w+)", script)) <= page.ids


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_the_script_can_be_read():
    assert subprocess.run(["node", "--check", ROLE / "files/page/page.js"]).returncode == 0


def render(name, **more):
    """Return a template as the role writes it."""
    loader = DataLoader()
    known = {
        name: value
        for part in ("defaults", "vars")
        for name, value in loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True).items()
    }
    known |= {"role_path": str(ROLE), "inventory_hostname": "fenton", "ansible_host": "192.0.2.1", "ansible_managed": "Managed", **more}
    return Templar(loader=loader, variables=known).template(trust_as_template((ROLE / "templates" / name).read_text()))


@pytest.mark.parametrize("grafana", [False, True])
def test_nothing_in_nginx_is_without_login(grafana):
    text = render("nginx.conf.j2", dashboard_users=[{"name": "ada"}], dashboard_grafana=grafana)
    server = text[text.index("  server {\n    listen") :]
    assert server.index('auth_basic "Servers";') < server.index("location")
    assert "auth_basic off" not in text
    assert "satisfy" not in text
    # These two would answer before the password is asked for.
    assert re.findall(r"^\s+(?:return|rewrite) .*", text, re.M) == ["      return 444;"]
    for prefix in re.findall(r"location (/\w+)/ \{", text):
        assert f"location = {prefix} {{" in text
    # Headers of a location would take the place of all others.
    assert not re.search(r"location [^}]*add_header", text)
    assert ("unsafe-eval" in text) == grafana
    # What is passed on does not learn the password.
    for block in re.findall(r"location [^{]+\{[^}]*proxy_set_header[^}]*", text):
        assert 'Authorization ""' in block


def test_a_low_port_gets_the_one_right_it_needs():
    assert "CapabilityBoundingSet=\n" in render("fenton-dashboard.service.j2", dashboard_port=9443)
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in render("fenton-dashboard.service.j2", dashboard_port=443)


def test_the_lock_is_of_glances_with_web_and_cards():
    lock = (ROLE / "files/locks/glances.txt").read_text()
    for name in ("glances", "fastapi", "uvicorn", "nvidia-ml-py", "psutil"):
        assert re.search(rf"^{name}==\S+ .*\\\n    --hash=sha256:", lock, re.M), name
    assert "mcp" not in re.findall(r"^([\w-]+)==", lock, re.M)
