"""The page that shows how the servers are: from outside, over TLS, with a browser the size of a desk and of a phone."""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import sys
import time

import pytest
import requests
from browser import browser, find, missing, steady, wait
from conftest import ROOT, SCENARIO, eventually, run
from selenium.common.exceptions import TimeoutException

sys.path.insert(0, str(ROOT / "plugins/filter"))

from dashboard import dashboard_for_grafana  # noqa: E402

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
DESK = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
CALM = "0 97 61 74 212\n1 0 1 38 9\n"
UNITS = ("fenton-live.service", "fenton-glances.service")
only_here = pytest.mark.skipif(SCENARIO != "dashboard", reason="shown in the scenario dashboard")


@pytest.fixture(scope="module")
def page(server):
    """Return what the run handed out, and what comes of it."""
    return Page(server)


class Page:
    """The page as somebody reaches it who has the artifacts."""

    def __init__(self, server):
        self.server = server
        given = server.connection["dashboard"]
        self.url = given["url"]
        self.name, file = next((name, file) for name, file in given["users"].items() if file)
        self.password = (server.artifacts / file).read_text().removesuffix("\n")
        self.authority = str(server.artifacts / server.connection["ca"])
        self.port = int(re.search(r":(\d+)/$", self.url)[1])

    def session(self, user=None, password=None):
        """Return a browser's memory: it trusts one authority and keeps cookies."""
        one = requests.Session()
        one.trust_env = False
        one.verify = self.authority
        one.auth = (user, password) if user else None
        return one

    def get(self, path, session=None, **options):
        """Ask for a path as *session*, or as a stranger without a password; no redirection is followed."""
        return (session or self.session()).get(self.url + path, timeout=40, allow_redirects=False, **options)

    @contextlib.contextmanager
    def driver(self, home, size=DESK, path=""):
        """Open the page in a browser that has logged in."""
        strangers(self)
        with browser(home, self.authority) as driver:
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            # As a person who types it once; the browser remembers it for what follows.
            driver.get(self.url.replace("//", f"//{self.name}:{self.password}@", 1) + "nothing")
            driver.get(self.url + path)
            driver.get_log("browser")  # the 404 of "nothing"
            yield driver


@pytest.fixture
def known(page):
    return page.session(page.name, page.password)


@pytest.fixture(autouse=True)
def _patience(page):
    """Strangers may ask ten times at once; wait, after a reboot and between tests, until they may again."""
    eventually(lambda: answers(page) in (200, 429), 60)
    yield


def answers(page):
    with contextlib.suppress(requests.ConnectionError):
        return page.get("", page.session(page.name, page.password)).status_code


@pytest.fixture
def calm(server):
    """Leave everything as the scenario has it."""
    yield
    cards(server, CALM)
    server.docker("systemctl", "start", "prometheus", "prometheus-node-exporter", "cards")


def cards(server, text):
    server.docker("sh", "-c", f"printf '{text}' >/var/lib/cards")


def strangers(page):
    """Wait until a stranger from here has all ten requests again."""
    page.server.docker("systemctl", "restart", "fenton-dashboard")


def said(done):
    return " ".join(done.stdout.split())


@steady
def verdict(driver):
    return find(driver, "#verdict").text


@steady
def tile(driver):
    return find(driver, ".tile").text


@steady
def state(driver):
    return find(driver, ".tile").get_attribute("class").split()[1]


@steady
def process(driver, name):
    return next(row.text for row in driver.find_elements("css selector", "#processes tbody tr") if name in row.text)


@steady
def numbers(driver):
    return {row.text.split("\n")[0]: row.text.split("\n")[-1] for row in driver.find_elements("css selector", "#now .meter")}


def complaints(driver):
    """Return what the browser's console shows of errors and of refused contents."""
    said = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    # The network of the machine that the browser runs on has another member: somebody has booted a server beside this one.
    return [entry for entry in said if "ERR_NETWORK_CHANGED" not in entry["message"]]


@pytest.mark.attempt(
    "Intrusion", "the page about the servers without its password, or in a frame of another site", "refused, and nothing is told"
)
def test_nothing_is_shown_without_the_password(page, known):
    strangers(page)
    for path in ("", "page.js", "queries.json", "api/query?query=up", "live", "live/api/4/status", "grafana", "nothing"):
        answer = page.get(path)
        assert answer.status_code == 401, path
        assert "fenton" not in answer.text, path
    strangers(page)
    for user, password in ((page.name, "wrong"), (page.name, ""), ("nobody", page.password)):
        assert page.get("", page.session(user, password)).status_code == 401
    answer = page.get("", known)
    assert answer.status_code == 200
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "nginx/" not in answer.headers["server"]
    assert {"Secure", "HttpOnly", "SameSite=Strict"} <= set(answer.headers["set-cookie"].split("; "))


@pytest.mark.attempt(
    "Intrusion", "guessing the password of the page about the servers", "ten guesses, then ten a minute; who is in is not held up"
)
def test_strangers_may_guess_ten_times_and_who_is_in_is_not_held_up(page, known):
    strangers(page)
    assert page.get("", known).status_code == 200
    statuses = [page.get("", page.session(page.name, f"guess {number}")).status_code for number in range(14)]
    assert statuses[:9] == [401] * 9
    assert statuses[-1] == 429
    # The right password does not help the next one, the cookie does; and without the password the cookie is worth nothing.
    assert page.get("", page.session(page.name, page.password)).status_code == 429
    assert [page.get("site.json", known).status_code for _ in range(30)] == [200] * 30
    known.auth = None
    assert page.get("", known).status_code == 401
    strangers(page)


def test_only_tls_is_spoken_and_the_certificate_is_right(page):
    with pytest.raises(requests.ConnectionError):
        requests.get(page.url.replace("https", "http"), timeout=20)
    context = ssl.create_default_context(cafile=page.authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in (page.server.address, page.server.name):
        with (
            socket.create_connection((page.server.address, page.port), 10) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            assert tls.version() == "TLSv1.3"


@pytest.mark.attempt(
    "Intrusion", "the page about the servers under a foreign name, or by a path that looks like another site", "leads nowhere else"
)
def test_no_foreign_name_comes_back_and_nothing_leads_elsewhere(page, known):
    assert page.get("", known).status_code == 200
    for path in (
        "",
        "live",
        "grafana",
        "nothing",
        "/evil.example.org",
        "/evil.example.org/..",
        "/evil.example.org/%2e%2e",
        "live//evil.example.org/..",
    ):
        answer = page.get(path, known, headers={"Host": "evil.example.org"})
        assert "evil.example.org" not in answer.text + str(answer.headers), path
        answer = page.get(path, known)
        assert not re.match(r"(https?:)?//", answer.headers.get("location", "")), path


@pytest.mark.attempt("Intrusion", "changing something through the page about the servers", "refused: it only shows")
def test_only_what_looks_gets_through(page, known):
    page.get("", known)
    for path in ("api/query?query=up", "live/api/4/events/clear/all", "live/api/4/processes/extended/1", ""):
        for method in ("POST", "PUT", "DELETE"):
            assert known.request(method, page.url + path, timeout=20).status_code in (403, 405), (method, path)
    for path in ("api/v1/query?query=up", "api/admin/tsdb/snapshot", "api/targets", "live/../api/v1/status/config", "users", "../users"):
        assert page.get(path, known).status_code in (400, 404), path


def test_nobody_listens_but_on_the_one_port(page):
    listening = page.server.docker("ss", "-Hltn").stdout.split("\n")
    everywhere = {line.split()[3].rpartition(":")[2] for line in listening if line and not re.match(r"127\.|\[::1\]", line.split()[3])}
    assert str(page.port) in everywhere
    assert "80" not in everywhere
    assert not everywhere & {"61208", "9090", "3000"}


@only_here
@pytest.mark.once
def test_what_is_asked_is_understood(page, server):
    """Every query of the page and of Grafana's dashboard, by the real Prometheus."""
    queries = json.loads((ROOT / "roles/dashboard/files/page/queries.json").read_text())
    asked = [*queries["now"].values(), *(line["expr"] for graph in queries["graphs"] for line in graph["lines"])]
    asked += [target["expr"] for panel in dashboard_for_grafana(queries)["panels"] for target in panel["targets"]]
    asked = [
        expr.replace('"$host"', '"fenton"').replace("$host", '"fenton"').replace("$__rate_interval", "1m").replace("$window", "1m")
        for expr in asked
    ]
    script = (
        "import json, sys, urllib.parse, urllib.request\n"
        "for expr in json.load(sys.stdin):\n"
        "    data = urllib.parse.urlencode({'query': expr}).encode()\n"
        "    print(len(json.load(urllib.request.urlopen('http://127.0.0.1:9090/api/v1/query', data))['data']['result']))\n"
    )
    done = run("docker", "exec", "-i", server.container, "python3", "-c", script, input=json.dumps(asked))
    counts = [int(line) for line in done.stdout.split()]
    assert len(counts) == len(asked), done.stderr
    # Nothing is misspelt: each finds something, where the machine has such a thing.
    empty = [expr for expr, count in zip(asked, counts, strict=True) if not count and "Swap" not in expr and "node_disk" not in expr]
    assert not empty


@only_here
def test_a_person_sees_at_once_that_it_is_well_and_the_numbers_move(page, server, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    load = "cp /bin/sh /tmp/burner; exec timeout 40 /tmp/burner -c 'while :; do :; done'"
    with page.driver(tmp_path) as driver:
        wait(driver, lambda d: verdict(d) == "fenton is well")
        assert state(driver) == "well"
        wait(driver, lambda d: "Live, every 2 seconds" in find(d, "#source").text)
        wait(driver, lambda d: d.find_elements("css selector", "#graphs canvas"))
        titles = [each.text for each in driver.find_elements("css selector", "figcaption b")]
        assert {"CPU", "Memory", "GPU", "GPU memory", "GPU temperature", "Disks", "Network"} <= set(titles)
        assert "The history begins" in find(driver, "#history").text
        assert "GPU 0, 74 °C\n97 %" in tile(driver)
        assert numbers(driver)["GPU 0"] == "97 %"
        first = numbers(driver)
        wait(driver, lambda d: numbers(d) != first, 15)
        # What computes is seen.
        server.docker("sh", "-c", f"({load}) >/dev/null 2>&1 &")
        assert int(wait(driver, lambda d: process(d, "burner"), 20).split(" %")[0]) > 20
        wait(driver, lambda d: int(re.search(r"CPU\n(\d+) %", tile(d))[1]) > 40, 30)
        server.docker("sh", "-c", "pkill -x burner")
        for label in ("7 days", "30 days", "1 day", "1 hour"):
            next(button for button in driver.find_elements("css selector", "#ranges button") if button.text == label).click()
            wait(driver, lambda d, label=label: find(d, "#ranges [aria-pressed=true]").text == label)
        assert complaints(driver) == []


@only_here
@pytest.mark.once
def test_what_is_not_known_is_never_well(page, server, calm, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    with page.driver(tmp_path) as driver:
        wait(driver, lambda d: verdict(d) == "fenton is well")
        server.docker("systemctl", "stop", "cards")
        wait(driver, lambda d: verdict(d) == "No data: fenton", 30)
        assert "no data from gpu" in tile(driver)
        server.docker("systemctl", "start", "cards")
        wait(driver, lambda d: verdict(d) == "fenton is well", 30)
        server.docker("systemctl", "stop", "prometheus-node-exporter")
        wait(driver, lambda d: verdict(d) == "No data: fenton", 30)
        assert state(driver) == "unknown"
        assert "CPU" not in tile(driver), "old numbers are not shown"
        server.docker("systemctl", "stop", "prometheus")
        wait(driver, lambda d: verdict(d) == "No data", 30)
        assert "Prometheus does not answer" in tile(driver)
        server.docker("systemctl", "start", "prometheus", "prometheus-node-exporter")
        wait(driver, lambda d: verdict(d) == "fenton is well", 60)


@only_here
@pytest.mark.once
def test_an_alert_changes_word_colour_and_shape(page, server, calm, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    with page.driver(tmp_path, PHONE) as driver:
        wait(driver, lambda d: verdict(d) == "fenton is well")
        seen = {"well": look(driver)}
        cards(server, CALM.replace("74", "88"))
        wait(driver, lambda d: verdict(d) == "Warning: fenton", 30)
        assert "GPU 0 has 88 °C, for" in tile(driver)
        seen["warning"] = look(driver)
        cards(server, CALM.replace("74", "99"))
        wait(driver, lambda d: verdict(d) == "Bad: fenton", 30)
        assert "GPU 0 burns" in tile(driver).split("\n")[2]
        seen["bad"] = look(driver)
        assert driver.title == "bad: fenton"
        cards(server, CALM)
        wait(driver, lambda d: verdict(d) == "fenton is well", 30)
        assert complaints(driver) == []
    for word, (colour, form, text) in seen.items():
        assert (form, text) == (f"#{word}", word)
        assert [other for other in seen.values() if other[0] == colour] == [(colour, form, text)]


@steady
def look(driver):
    """Return colour, shape and word of the tile."""
    mark = find(driver, ".tile .state")
    return mark.value_of_css_property("color"), mark.find_element("css selector", "use").get_attribute("href"), mark.text


@only_here
@pytest.mark.once
def test_it_fits_a_phone(page, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    with page.driver(tmp_path, PHONE) as driver:
        wait(driver, lambda d: verdict(d) == "fenton is well")
        wait(driver, lambda d: d.find_elements("css selector", "#graphs canvas"))
        wait(driver, lambda d: find(d, "#processes"))
        wide = "return [document.documentElement.scrollWidth, innerWidth]"
        scroll, inner = driver.execute_script(wide)
        assert (scroll, inner) == (390, 390)
        # Verdict and numbers are there without scrolling.
        assert driver.execute_script("return document.querySelector('.tile .meters').getBoundingClientRect().bottom") < PHONE["height"]
        small = "return [...document.querySelectorAll('button, footer a')].filter(e => e.offsetHeight < 18).length"
        assert driver.execute_script(small) == 0


@only_here
def test_glances_is_there_while_somebody_looks(page, server, known, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")

    def running():
        return server.docker("systemctl", "is-active", *UNITS).stdout.split()

    override = "/run/systemd/system/fenton-live.service.d"
    short = "grep ^ExecStart= /etc/systemd/system/fenton-live.service | sed 's/=60s/=3s/; s/^/[Service]\\nExecStart=\\n/'"
    server.docker("sh", "-c", f"systemctl stop fenton-live fenton-glances; mkdir -p {override}; {short} >{override}/t.conf")
    server.docker("systemctl", "daemon-reload")
    try:
        assert running() == ["inactive", "inactive"]
        page.get("", known)
        assert page.get("live/api/4/mem", known).json()["total"] > 0
        assert running() == ["active", "active"]
        # Not by other programs of the machine, and as nobody.
        assert server.docker("runuser", "-u", "nobody", "--", "test", "-w", "/run/fenton-live.socket").returncode == 1
        assert server.docker("runuser", "-u", "nobody", "--", "ls", "/run/fenton-glances").returncode != 0
        assert "fenton-glances" in server.docker("ps", "-C", "python", "-o", "user:32=").stdout
        with page.driver(tmp_path, path="live/") as driver:
            wait(driver, lambda d: "prometheus" in find(d, "body").text, 30)
            assert complaints(driver) == []
        eventually(lambda: running() == ["inactive", "inactive"], 30)
        assert server.docker("ls", "/run/fenton-glances").returncode != 0
        assert server.docker("systemctl", "is-failed", *UNITS).stdout.split() == ["inactive", "inactive"]
    finally:
        server.docker("sh", "-c", f"rm -r {override}; systemctl daemon-reload")


@pytest.mark.attempt(
    "Certificates", "the dashboard's certificate is renewed on the host", "the next connection sees it, and nothing was restarted"
)
@only_here
@pytest.mark.once
def test_a_renewed_certificate_is_taken_without_a_restart(page, server):
    def issued():
        context = ssl.create_default_context(cafile=page.authority)
        with socket.create_connection((server.address, page.port), 10) as plain:
            with context.wrap_socket(plain, server_hostname=server.name) as tls:
                return tls.getpeercert()["serialNumber"]

    before, pid = issued(), server.docker("systemctl", "show", "-P", "MainPID", "fenton-dashboard").stdout
    server.docker("sh", "-c", "rm /etc/fenton/tls/dashboard/fullchain.pem; systemctl start fenton-certificate.service")
    assert issued() != before
    assert server.docker("systemctl", "show", "-P", "MainPID", "fenton-dashboard").stdout == pid


STATE = "systemctl is-active {0}; systemctl is-enabled {0}"
SPOILT = {
    "nginx.conf": ("echo '# x' >>/etc/fenton/dashboard/nginx.conf", "sha256sum /etc/fenton/dashboard/nginx.conf"),
    "mode of the logins": ("chmod 644 /etc/fenton/dashboard/users", "stat -c '%a %U %G' /etc/fenton/dashboard/users"),
    "a login more": ("echo 'eve:{PLAIN}x' >>/etc/fenton/dashboard/users", "cat /etc/fenton/dashboard/users"),
    "the cookie": ("sed -i s/default/hostnames/ /etc/fenton/dashboard/known.conf", "cat /etc/fenton/dashboard/known.conf"),
    "the script": ("rm /usr/local/lib/fenton/dashboard/page.js", "sha256sum /usr/local/lib/fenton/dashboard/page.js"),
    "a module of Glances": (
        "rm /usr/local/lib/fenton/glances/lib/python3*/site-packages/glances/main.py",
        "ls /usr/local/lib/fenton/glances/lib/python3*/site-packages/glances/main.py",
    ),
    "the service": ("systemctl disable --now fenton-dashboard", STATE.format("fenton-dashboard")),
    "the socket": ("systemctl disable --now fenton-live.socket", STATE.format("fenton-live.socket")),
    "a unit": ("rm /etc/systemd/system/fenton-glances.service", "stat -c '%a' /etc/systemd/system/fenton-glances.service"),
    "the library": ("dpkg --remove libjs-chart.js", "test -e /usr/share/javascript/chart.js/chart.min.js; echo $?"),
}


@pytest.mark.long
@only_here
@pytest.mark.once
def test_what_is_changed_by_hand_is_put_right(server):
    """All in one run: each has its reason of its own, and the next run says that nothing is left."""
    before = {name: server.docker("bash", "-c", look).stdout for name, (_, look) in SPOILT.items()}
    for how, _ in SPOILT.values():
        assert server.docker("bash", "-c", how).returncode == 0, how
    after = {name: server.docker("bash", "-c", look).stdout for name, (_, look) in SPOILT.items()}
    assert not [name for name in SPOILT if before[name] == after[name]], "an edit that changes nothing proves nothing"
    done = server.playbook("--tags", "dashboard")
    assert done.returncode == 0, done.stdout[-4000:]
    assert {name: server.docker("bash", "-c", look).stdout for name, (_, look) in SPOILT.items()} == before
    assert "changed=0" in server.playbook("--tags", "dashboard").stdout


@only_here
@pytest.mark.once
@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        (
            {
                "dashboard_users": [{"name": "a:b"}, {"name": "ada"}, {"name": "ada", "password": "too short"}],
                "dashboard_prometheus": "http://127.0.0.1",
                "dashboard_sources": ["10.0.0.0/99"],
            },
            [
                "dashboard_users: 'a:b' cannot be a name to log in with",
                "dashboard_users: ada is there twice",
                "dashboard_users: the password of ada has fewer than 12 characters",
                "dashboard_prometheus: 'http://127.0.0.1' is no address with a port",
                'dashboard_sources: "10.0.0.0/99" is no address or network',
            ],
        ),
        ({"dashboard_port": 9100}, ["dashboard_port: port 9100 of fenton is used by prometheus-node; choose another one in"]),
    ],
)
def test_bad_input_is_refused_before_anything_changes(server, values, sentences):
    done = server.playbook("-e", json.dumps(values))
    assert done.returncode != 0
    assert [sentence for sentence in sentences if sentence not in said(done)] == []
    assert "changed=0" in done.stdout
    assert "too short" not in done.stdout


@only_here
@pytest.mark.once
def test_passwords_are_never_printed(page, server):
    before = server.docker("cat", "/etc/fenton/dashboard/users").stdout
    done = server.playbook("--tags", "dashboard", "-vvv", "--diff", "-e", json.dumps({"dashboard_users": [{"name": page.name}]}))
    assert done.returncode == 0, done.stdout[-3000:]
    printed = done.stdout + done.stderr
    for secret in (page.password, "a password of the scenario", "$6$", "PRIVATE KEY"):
        assert secret not in printed
    assert server.docker("cat", "/etc/fenton/dashboard/users").stdout in before, "the hash of who stays is kept"
    assert page.get("", page.session("tom", "a password of the scenario")).status_code == 401
    assert server.playbook("--tags", "dashboard").returncode == 0
    assert page.get("", page.session("tom", "a password of the scenario")).status_code == 200


@only_here
@pytest.mark.long
@pytest.mark.once
def test_switched_off_it_is_gone_and_somebodys_own_nginx_goes_on(page, server):
    """Off, then somebody installs nginx for a site of their own, then on again."""
    off = ("--tags", "dashboard", "-e", json.dumps({"dashboard_users": []}))
    assert server.playbook(*off).returncode == 0
    left = "ls -d /etc/fenton/dashboard /usr/local/lib/fenton/{dashboard,glances*} /etc/systemd/system/*{dashboard,live,glances,nginx}*"
    assert server.docker("bash", "-c", left).stdout == ""
    assert server.docker("getent", "passwd", "fenton-dashboard", "fenton-glances").stdout == ""
    assert server.docker("test", "-e", "/usr/sbin/nginx").returncode == 1
    assert not [file for file in server.artifacts.iterdir() if file.name.startswith("dashboard-password")]
    assert server.connection["dashboard"] == {}
    assert "changed=0" in server.playbook(*off).stdout
    site = "echo mine >/var/www/html/index.html && sed -i s/80/8080/ /etc/nginx/sites-available/default && systemctl restart nginx"
    server.docker("sh", "-c", f"apt-get install -y -qq --no-install-recommends nginx >/dev/null 2>&1; {site}", timeout=300)
    mine = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8080/\").read().decode())'"
    pid = server.docker("systemctl", "show", "-P", "MainPID", "nginx").stdout
    try:
        assert "mine" in server.docker("sh", "-c", mine).stdout
        done = server.playbook("--tags", "dashboard,verify")
        assert done.returncode == 0, done.stdout[-4000:]
        assert server.docker("systemctl", "show", "-P", "MainPID", "nginx").stdout == pid
        assert "mine" in server.docker("sh", "-c", mine).stdout
        before, page.password = page.password, Page(server).password
        assert page.password != before
        assert page.get("", page.session(page.name, page.password)).status_code == 200
    finally:
        # As the role had left it.
        server.docker("sh", "-c", "systemctl disable --now nginx; systemctl mask nginx")


@only_here
@pytest.mark.long
@pytest.mark.once
def test_grafana_comes_behind_the_same_login_and_goes_again(page, server):
    known = page.session(page.name, page.password)
    page.get("", known)
    values = {"dashboard_grafana": True, "dashboard_grafana_repository": "http://127.0.0.1:8081"}
    done = server.playbook("--tags", "dashboard", "-e", json.dumps(values))
    assert done.returncode != 0
    assert re.search(r"_fingerprint: the key at http://127.0.0.1:8081/gpg.key has the fingerprint [0-9A-F]{40}, not B53AE", said(done))
    assert "changed=0" in done.stdout
    values["dashboard_grafana_repository_fingerprint"] = server.docker("cat", "/var/lib/repository/served/fingerprint").stdout.strip()
    try:
        done = server.playbook("--tags", "dashboard", "-e", json.dumps(values))
        assert done.returncode == 0, done.stdout[-4000:]
        assert page.get("grafana/x").status_code == 401
        assert page.get("grafana/x", known).json() == {"who": page.name, "path": "/grafana/x", "password": None}
        # Who is there is said by nginx, not by who asks.
        assert page.get("grafana/x", known, headers={"X-WEBAUTH-USER": "admin"}).json()["who"] == page.name
        assert server.docker("runuser", "-u", "nobody", "--", "test", "-w", "/run/grafana/fenton.sock").returncode == 1
        assert page.get("site.json", known).json()["grafana"] is True
        # By hand: the settings, and the package.
        server.docker("sh", "-c", "echo >>/etc/grafana/fenton/servers.json; dpkg --remove grafana")
        done = server.playbook("--tags", "dashboard,verify", "-e", json.dumps(values))
        assert done.returncode == 0, done.stdout[-4000:]
        assert page.get("grafana/x", known).status_code == 200
    finally:
        assert server.playbook("--tags", "dashboard").returncode == 0
    assert page.get("grafana/x", known).status_code == 404
    left = "ls -d /etc/apt/*/fenton-grafana* /etc/grafana /var/lib/grafana /usr/share/grafana"
    assert server.docker("sh", "-c", left).stdout == ""
    assert server.docker("pgrep", "-u", "grafana").stdout == ""


@only_here
@pytest.mark.skipif(not os.environ.get("FENTON_SCREENSHOTS"), reason="pictures are made when somebody wants new ones")
def test_pictures(page, tmp_path):
    for size, name in ((DESK, "dashboard.png"), ({**PHONE, "deviceScaleFactor": 1.5}, "dashboard-phone.png")):
        (tmp_path / name).mkdir()
        with page.driver(tmp_path / name, size) as driver:
            wait(driver, lambda d: verdict(d) == "fenton is well")
            with contextlib.suppress(TimeoutException):
                wait(driver, lambda d: d.find_elements("css selector", "#graphs canvas") and find(d, "#processes"), 20)
            time.sleep(1)  # for the eye only: what moves has come to rest
            driver.save_screenshot(str(tmp_path / "new.png"))
        shutil.copy(tmp_path / "new.png", ROOT / "docs" / name)
