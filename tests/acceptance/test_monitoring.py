"""One server watches another: what it sees, whom it tells, what happens while nobody can be told, and where the secrets are not.

Alerts wait for minutes before they fire. Here nobody wants to: the fixture ``hasty`` edits the copies of rules and routes on the server,
by hand as it were, and the next run of the role puts them right again.
"""

import json
import re
import time

import pytest
from conftest import ROOT, eventually, in_turn, run

PLACE = "/var/lib/bot"
ETC = "/etc/fenton/prometheus"
SECRETS = ("123456789:AAtoken-of-scenario-monitoring_0123456789", "password-of-the-mail", "secret-of-the-hook")
SMALL = "/srv/a_b*[x](y)<&>~`#+-=|{}.!"
REFUSED = "molecule/monitoring/files/refused_rules.yml"
ALL_WELL = "forge: all well again"


@pytest.fixture(autouse=True)
def _receivers(server):
    """Skip where nobody is to be told, as in the scenario of the whole site."""
    if not server.variables.get("monitoring_email"):
        pytest.skip("shown in the scenario monitoring")


@pytest.fixture
def forge(servers):
    return servers["forge"]


def ask(server, path, **query):
    """Return an answer of Prometheus on the server, as its API gives it."""
    words = [word for name, value in query.items() for word in ("--data-urlencode", f"{name}={value}")]
    done = server.docker("curl", "-sSG", *words, f"http://127.0.0.1:9090/api/v1/{path}")
    return json.loads(done.stdout)["data"]


def value(server, query):
    """Return the values of a query."""
    return [float(each["value"][1]) for each in ask(server, "query", query=query)["result"]]


def lines(server, name):
    return [json.loads(line) for line in server.docker("sh", "-c", f"cat {PLACE}/{name} 2>/dev/null").stdout.splitlines()]


def texts(server):
    """Return what has arrived about forge."""
    return [each["text"] for each in lines(server, "arrived") if each["text"].startswith("forge: ")]


def told(server, before, words, seconds=30):
    """Return the first message after so many that has these words in it."""
    return eventually(lambda: next((text for text in texts(server)[before:] if words in text), None), seconds)


def mode(server, how):
    server.docker("sh", "-c", f"echo {how} >{PLACE}/mode")


def play(server, *words, tags="monitoring", **values):
    """Run the role, or with ``tags="verify"`` its promises, with other values and return the finished run."""
    return server.playbook("--tags", tags, "-e", json.dumps(values), *words)


def said(done):
    return " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def hasty(servers):
    """Have alerts fire, and be told, after a second."""
    server = servers["fenton"]
    # Before the fixture that skips: what is for more tests is made first.
    if not server.variables.get("monitoring_email"):
        pytest.skip("shown in the scenario monitoring")
    script = rf"""
        # Nothing sets a container's clock, and a minute says nothing of a day.
        sed -Ei '/alert: (ClockOff|NotificationsFailing|DiskFilling)/,/for:/! s/( for): .*/\1: 1s/' {ETC}/rules/fenton-*.yml
        sed -Ei 's/(group_wait): 15s/\1: 1s/; s/(group_interval): 2m/\1: 2s/' {ETC}/alertmanager.yml
        systemctl reload prometheus prometheus-alertmanager"""
    assert server.docker("sh", "-ec", script).returncode == 0
    # After a reload Prometheus finds Alertmanager within five seconds; what fires earlier is told a minute later.
    time.sleep(6)
    yield
    done = play(server)
    assert done.returncode == 0, done.stdout
    assert "for: 2m" in server.docker("cat", f"{ETC}/rules/fenton-hosts.yml").stdout


def test_series_of_another_server_come_through_its_door(server, forge):
    """Over TLS, with what opens it."""

    def seen():
        """Return its targets by job; after a start Prometheus takes some seconds to have them."""
        targets = ask(server, "targets", state="active")["activeTargets"]
        found = {each["labels"]["job"]: each for each in targets if each["labels"]["host"] == "forge"}
        return found if found and all(each["health"] == "up" for each in found.values()) else None

    found = eventually(seen)
    assert set(found) == {"door", "node", "probe"}
    assert all(each["scrapeUrl"].startswith("https://") for each in found.values())
    assert eventually(lambda: value(server, 'node_uname_info{host="forge", nodename="forge"}'))
    door = found["node"]["scrapeUrl"]
    shut = server.docker("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", door)
    assert shut.stdout in ("401", "403"), shut
    # Its own authority is what counts, none of the world's.
    assert server.docker("curl", "-s", "--cacert", "/etc/ssl/certs/ca-certificates.crt", door).returncode == 60
    key = f'--cacert {ETC}/doors/forge.pem -H "Authorization: Bearer $(cat {ETC}/doors/forge.token)"'
    opened = server.docker("sh", "-c", f"curl -sS {key} '{door}' | grep -c ^node_")
    assert int(opened.stdout) > 100, opened


def test_the_own_server_is_watched_too_and_nothing_is_amiss(server):
    eventually(lambda: value(server, 'min(up{host="fenton"})') == [1.0])
    jobs = {each["metric"]["job"] for each in ask(server, "query", query='up{host="fenton"}')["result"]}
    assert {"alertmanager", "node", "prometheus"} <= jobs
    assert value(server, 'count(node_cpu_seconds_total{host="fenton"})')[0] > 4


@pytest.mark.long
@pytest.mark.once
def test_the_watchdog_calls_where_it_shall_and_nowhere_else(server):
    eventually(lambda: [each for each in lines(server, "hooked") if each["path"].startswith("/watchdog")], 90)
    for each in lines(server, "hooked"):
        names = {alert["labels"]["alertname"] for alert in each["body"]["alerts"]}
        assert (names == {"Watchdog"}) == each["path"].startswith("/watchdog"), each
    assert "Watchdog" not in " ".join(texts(server)) and "Rules are evaluated" not in " ".join(texts(server))


@pytest.mark.once
def test_load_is_seen(server, forge):
    """Of processes that are nice, which nobody else here is."""
    query = 'sum(rate(node_cpu_seconds_total{host="forge", mode="nice"}[10s]))'
    before = sum(value(server, query))
    forge.docker("sh", "-c", "for n in 1 2; do timeout 25 nice -n 19 sh -c 'while :; do :; done' & done", timeout=5)
    eventually(lambda: sum(value(server, query)) > before + 0.4, 25)


@pytest.mark.once
def test_an_alert_outlives_all_that_the_provider_can_do(server, forge, hasty):
    """A full disk; the provider is sick, does not know the token, is busy, hangs, and then takes it: once, as it is."""
    process = server.docker("systemctl", "show", "-P", "MainPID", "prometheus-alertmanager").stdout
    before, refused = len(texts(server)), len(lines(server, "refused"))
    mode(server, "500")
    fill = f"mkdir -p '{SMALL}' && mount -t tmpfs -o size=4m small '{SMALL}' && head -c 4000000 /dev/zero >'{SMALL}/data'"
    assert forge.docker("sh", "-c", fill).returncode == 0

    def refusals():
        return [each.get("status") for each in lines(server, "refused")[refused:]]

    eventually(lambda: 500 in refusals(), 40)
    right = server.docker("cat", f"{PLACE}/bot.json").stdout
    server.docker("sh", "-c", f"sed -i s/AAtoken/BBtoken/ {PLACE}/bot.json; echo ok >{PLACE}/mode")
    eventually(lambda: 401 in refusals(), 40)
    server.docker("sh", "-c", f"cat >{PLACE}/bot.json <<'E'\n{right}\nE\necho 429 3 >{PLACE}/mode")
    eventually(lambda: 429 in refusals(), 40)
    mode(server, "hang")
    eventually(lambda: "no answer in 10 s" in server.docker("journalctl", "-u", "fenton-alerts", "--no-pager").stdout, 40)
    assert len(texts(server)) == before
    mode(server, "ok")
    text = told(server, before, SMALL, 40)
    assert re.search(r"^🔴 forge: " + re.escape(SMALL) + r" has only \d\.\d % left; make room there$", text, re.M), text
    assert not server.docker("sh", "-c", f"cat {PLACE}/too_early").stdout, "it was asked before the time it had named"
    assert server.docker("systemctl", "show", "-P", "MainPID", "prometheus-alertmanager").stdout == process
    # The other ways were held up by none of this.
    mail = next(each for each in lines(server, "mails") if SMALL in each["text"])
    assert (mail["sender"], mail["to"]) == ("fenton@example.org", ["ada@example.org", "tom@example.org"])
    assert mail["subject"].startswith("forge: ")
    hooked = next(each for each in lines(server, "hooked") if SMALL in json.dumps(each, ensure_ascii=False))
    assert hooked["path"] == "/alerts"
    arrived = next(each["at"] for each in lines(server, "arrived") if SMALL in each["text"])
    assert max(mail["at"], hooked["at"]) < arrived - 10

    forge.docker("umount", SMALL)
    text = told(server, before, "✅ over")
    assert re.search(r"✅ over after \d+ (s|min): forge: " + re.escape(SMALL) + " has only ", text), text
    time.sleep(3)
    fires = [each for each in texts(server)[before:] if "🔴 forge: " + SMALL in each]
    assert len(fires) == 1, fires


@pytest.mark.once
def test_a_notebook_that_is_killed_is_told_and_so_is_its_return(server, forge, hasty):
    before, words = len(texts(server)), "forge: the notebook server jupyter_ada does not answer"
    forge.docker("systemctl", "kill", "--signal=KILL", "notebook")
    told(server, before, f"🔴 {words}")
    forge.docker("systemctl", "start", "notebook")
    eventually(lambda: any(re.search(rf"✅ over after \d+ s: {words}", text) for text in texts(server)[before:]))
    eventually(lambda: texts(server)[-1].startswith(ALL_WELL))


@pytest.mark.once
def test_an_exporter_that_is_stopped_is_told_from_a_host_that_is_down(server, forge, hasty):
    before = len(texts(server))
    forge.docker("systemctl", "stop", "prometheus-node-exporter")
    try:
        told(server, before, "🟡 forge: nothing is known of it by node, its exporter does not answer")
    finally:
        forge.docker("systemctl", "start", "prometheus-node-exporter")
    eventually(lambda: texts(server)[-1].startswith(ALL_WELL), 30)
    assert "see whether it is on" not in " ".join(texts(server)[before:])


@pytest.mark.once
def test_a_host_that_is_down_says_only_that(server, forge, hasty):
    before = len(texts(server))
    run("docker", "pause", forge.container)
    try:
        told(server, before, "🔴 forge does not answer; see whether it is on and has a network")
        amtool = ("amtool", "--alertmanager.url=http://127.0.0.1:9093", "alert")
        assert server.docker(*amtool, "add", "OwnAlert", "host=forge", "severity=warning").returncode == 0
        held = eventually(lambda: server.docker(*amtool, "query", "--inhibited", "OwnAlert", "-o", "json").stdout)
        assert json.loads(held)[0]["status"]["state"] == "suppressed", held
        time.sleep(4)
        assert "OwnAlert" not in " ".join(texts(server)[before:])
        assert "nothing is known" not in " ".join(texts(server)[before:])
    finally:
        run("docker", "unpause", forge.container)
    # What it held back is told now, as it is still true.
    told(server, before, "OwnAlert")
    eventually(lambda: any(re.search("✅ over after [^:]*: forge does not answer", text) for text in texts(server)[before:]), 30)


@pytest.mark.once
def test_rules_fire_when_they_must_and_do_not_when_they_must_not(server):
    """By promtool of this distribution."""
    pack = f"tar c -C {ROOT} roles/monitoring/files/rules tests/rules"
    packed = run("sh", "-c", f"{pack} | docker exec -i {server.container} tar x -C /root")
    assert packed.returncode == 0, packed.stderr
    done = server.docker("sh", "-c", "cd /root/tests/rules && promtool test rules *.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(list((ROOT / "tests/rules").glob("*.yml")))


def test_secrets_are_where_nobody_looks(server):
    shown = server.docker(
        "sh", "-c",
        "journalctl --no-pager -o export; systemctl status --no-pager -l prometheus prometheus-alertmanager fenton-alerts; ps axeww;"
        " curl -sS http://127.0.0.1:9090/api/v1/status/config http://127.0.0.1:9093/api/v2/status http://127.0.0.1:9093/metrics;"
        " runuser -u nobody -- grep -rahs . /etc /run /tmp /var/log /usr/local; runuser -u nobody -- grep -rahsI . /var/lib/prometheus;"
        " for unit in prometheus prometheus-alertmanager fenton-alerts; do pid=$(systemctl show -P MainPID $unit);"
        " cat /proc/$pid/environ /proc/$pid/cmdline; done",
        errors="replace",
    ).stdout  # fmt: skip
    assert "fenton-alerts" in shown and "scrape_configs" in shown
    door = server.docker("cat", f"{ETC}/doors/forge.token").stdout.strip()
    for secret in (*SECRETS, door):
        assert secret not in shown
    modes = server.docker("stat", "-c", "%a %U %G", "/etc/fenton/alerts.json", f"{ETC}/doors/forge.token").stdout
    assert modes == "640 root prometheus\n" * 2


@pytest.mark.once
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"monitoring_rules": [REFUSED]}, f"promtool refuses {REFUSED}: "),
        ({"monitoring_retention_size": "900TB"}, "monitoring_retention_size: 900TB is more than the disk of fenton has"),
        ({"monitoring_email": {"to": ["a@b"], "from": "a@b", "smarthost": "localhost:25", "passwort": "x"}}, "passwort"),
    ],
    ids=["a rule file", "a size", "a key"],
)
def test_what_is_wrong_changes_nothing(server, values, sentence):
    before = server.docker("sh", "-c", f"find {ETC} /etc/fenton/alerts.json -printf '%p %C@\\n'").stdout
    done = play(server, **values)
    assert done.returncode != 0
    assert sentence in said(done), done.stdout
    assert "changed=0" in done.stdout
    assert server.docker("sh", "-c", f"find {ETC} /etc/fenton/alerts.json -printf '%p %C@\\n'").stdout == before


@pytest.mark.once
def test_a_port_that_is_taken_is_told_by_its_name(server):
    server.docker("sh", "-c", "systemctl stop prometheus; systemd-run --unit=cockpit python3 -m http.server -b 127.0.0.1 9090")
    try:
        eventually(lambda: server.docker("ss", "-Hltn", "sport = :9090").stdout)
        done = play(server)
        assert done.returncode != 0
        assert "port 9090 is used by python3 on fenton, and Prometheus needs it" in said(done)
        assert "changed=0" in done.stdout
    finally:
        server.docker("sh", "-c", "systemctl stop cockpit; systemctl start prometheus")


HALF = {
    "services that were stopped, and do not start at boot": "systemctl disable --now prometheus prometheus-alertmanager fenton-alerts",
    "settings of the distribution": (
        "rm -r /etc/systemd/system/prometheus{,-alertmanager}.service.d; systemctl daemon-reload; systemctl restart prometheus"
    ),
    "edited files that are not loaded yet": f"sed -i s/15s/16s/ {ETC}/alertmanager.yml; echo '# x' >>{ETC}/rules/fenton-gpus.yml",
    "a secret that all can read, and stray files": f"chmod 644 /etc/fenton/alerts.json; touch {ETC}/rules/x.yml {ETC}/doors/gone.token",
    "programs that are gone": "dpkg --remove --force-depends prometheus-alertmanager; rm /usr/local/lib/fenton/fenton-alerts",
}


@pytest.mark.once
@pytest.mark.parametrize("edits", in_turn(HALF))
def test_the_next_run_finishes_or_repairs(server, edits):
    for how, _ in edits.values():
        assert server.docker("bash", "-c", how).returncode == 0
    done = play(server)
    assert done.returncode == 0, done.stdout
    assert "changed=0" not in done.stdout


@pytest.mark.once
def test_nothing_is_left_to_do_after_that(server):
    assert "changed=0" in play(server).stdout


@pytest.mark.long
@pytest.mark.once
def test_what_is_switched_off_goes(server):
    off = {"monitoring_telegram": {}, "monitoring_email": {}, "monitoring_webhooks": [], "monitoring_rules": [], "monitoring_targets": []}
    done = play(server, **off)
    assert done.returncode == 0, done.stdout
    left = f"ls -d /etc/fenton/alerts.json /usr/local/lib/fenton/fenton-alerts {ETC}/rules/own* {ETC}/doors/*; ss -Hltn 'sport = :9095'"
    assert server.docker("sh", "-c", left).stdout == ""
    assert server.docker("systemctl", "is-active", "fenton-alerts").stdout == "inactive\n"
    assert play(server, tags="verify", **off).returncode == 0
    assert "changed=0" in play(server, **off).stdout
    assert server.playbook("--tags", "monitoring").returncode == 0
