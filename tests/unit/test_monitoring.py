"""What is said about the settings before anything is done, the configurations, and what carries the alerts."""

import datetime
import json
import re
import smtplib
import threading
import urllib.error
import urllib.request
from pathlib import Path

import monitoring
import pytest
import yaml
from conftest import load

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/monitoring"
RULES = sorted((ROLE / "files/rules").glob("*.yml"))


alerts = load(ROLE / "files/fenton-alerts")
bot = load(ROOT / "molecule/notify/bot.py")

DOOR = {"address": "10.0.0.2:9999", "server_name": "forge", "ca": "-----BEGIN CERTIFICATE-----\nx\n", "token": "t" * 32}
NODE = {"node": {"address": "127.0.0.1:9100", "path": "/metrics"}}
FENTON = {"host": "fenton", "modules": {**NODE, "blackbox": {"address": "127.0.0.1:9115", "path": "/probe"}},
          "probes": {"jupyter_ada": "https://127.0.0.1:8888/api"}, "door": None}  # fmt: skip
FORGE = {"host": "forge", "modules": {**FENTON["modules"], "jupyter_ada": {"address": "127.0.0.1:19001", "path": "/metrics"}},
         "probes": {"page": "http://127.0.0.1/"}, "door": DOOR}  # fmt: skip
MAIL = {
    "to": ["ada@example.org"],
    "from": "fenton@example.org",
    "smarthost": "mail.example.org:587",
    "username": "ada",
    "password": "geheim",
}
RIGHT = {
    "targets": [FENTON, FORGE, {"host": "new"}], "interval": "15s", "retention_time": "30d", "retention_size": "5GB",
    "rules": {"own.yml": "groups: [{name: own, rules: [{record: a, expr: 1}, {alert: B, expr: a > 0, for: 1h30m, labels: {x: y}}]}]"},
    "email": MAIL, "webhooks": [{"url": "https://example.org/a"}, {"url": "https://example.org/b", "watchdog": True}],
}  # fmt: skip


def problems(**more):
    return monitoring.monitoring_problems({**RIGHT, **more})


def test_what_is_right_raises_no_problem():
    assert problems() == []
    assert problems(targets=[], rules={}, email={}, webhooks=[]) == []
    assert problems(retention_time="1y2w", interval="1m30s", email={**MAIL, "username": None, "password": None}) == []


def forge(**more):
    return {"targets": [{**FORGE, **more}]}


def rules(text):
    return {"rules": {"own.yml": text}}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"interval": "15"}, "monitoring_interval: '15' is not between 1s and 2m, written like 15s"),
        ({"interval": "5m"}, "is not between 1s and 2m"),
        ({"interval": "0s"}, "is not between 1s and 2m"),
        ({"retention_time": "30 days"}, "monitoring_retention_time: '30 days' is not a time of 2h or more, written like 30d"),
        ({"retention_time": "1h"}, "is not a time of 2h or more"),
        ({"retention_time": "-3d"}, "is not a time"),
        ({"retention_time": "1d1w"}, "is not a time"),
        ({"retention_size": "5 GB"}, "monitoring_retention_size: '5 GB' is not a size of 256MB or more, written like 5GB"),
        ({"retention_size": "5G"}, "is not a size"),
        ({"retention_size": "1MB"}, "is not a size of 256MB or more"),
        ({"targets": [FORGE, FORGE]}, "monitoring_targets: forge is there twice; remove one"),
        ({"targets": [{"host": "../etc"}]}, "'../etc' cannot be the name of a server"),
        (forge(probes={}, modules={"nodes": NODE["node"]}), "the module 'nodes' of forge is none of node, gpu, blackbox, jupyter_USER"),
        (forge(probes={}, modules={"node": {"address": "9100"}}), "the module node of forge has no address HOST:PORT, or no path"),
        (forge(modules=NODE), "forge has probes, and no module blackbox"),
        (forge(probes={"page": "127.0.0.1"}), "the probe page of forge, '127.0.0.1', does not begin with http:// or https://"),
        (forge(door={**DOOR, "address": "forge"}), "the door of forge has no address HOST:PORT"),
        (forge(door={**DOOR, "ca": ""}), "the door of forge has no certificate of an authority"),
        (forge(door={**DOOR, "token": "short"}), "the door of forge has no token of 16 characters"),
        ({"rules": {"gone.yml": None}}, "monitoring_rules: there is no file gone.yml on the control node"),
        ({"rules": {"a b.yml": "groups: []"}}, "a b.yml is not called NAME.yml"),
        ({"rules": {"a/x.yml": "groups: []", "b/x.yml": "groups: []"}}, "two files are called x.yml"),
        (rules("groups: [\n"), "own.yml is not YAML in line 2"),
        (rules("- alert: X"), "own.yml is no rule file of Prometheus"),
        (rules("groups: [{rules: []}]"), "own.yml has a group without a name"),
        (rules("groups: [{name: a, rules: []}, {name: a, rules: []}]"), "own.yml has two groups 'a'"),
        (rules("groups: [{name: a, rules: [{alert: X}]}]"), "own.yml, group 'a', rule 1 has no expr"),
        (rules("groups: [{name: a, rules: [{alert: X, record: y, expr: 1}]}]"), "rule 1 needs either alert or record"),
        (rules("groups: [{name: a, rules: [{alert: X, expr: 1, fro: 5m}]}]"), "rule 1: fro is not a key of a rule"),
        (rules("groups: [{name: a, rules: [{alert: X, expr: 1, for: five}]}]"), "rule 1: for: five is not a duration such as 5m"),
        ({"email": {**MAIL, "smarthost": ""}}, "monitoring_email: there is no smarthost that takes the mails; add smarthost: HOST:PORT"),
        ({"email": {**MAIL, "smarthost": "mail.example.org"}}, "the smarthost 'mail.example.org' is not HOST:PORT"),
        ({"email": {**MAIL, "to": []}}, "there is no 'to'"),
        ({"email": {**MAIL, "to": ["ada"]}}, "'ada' is not a mail address"),
        ({"email": {**MAIL, "from": "x@y\nBcc: z@y"}}, "is not a mail address"),
        ({"email": {**MAIL, "password": None}}, "username and password belong together"),
        ({"email": {**MAIL, "require_tls": False}}, "require_tls: false would send the password in the clear"),
        ({"webhooks": [{"url": "example.org/secret"}]}, "monitoring_webhooks: entry 1 does not begin with http:// or https://"),
        ({"webhooks": [RIGHT["webhooks"][0]] * 2}, "monitoring_webhooks: entry 2 is there twice"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(given, sentence):
    (said,) = problems(**given)
    assert sentence in said
    assert said.endswith((f" in {monitoring.FILE}.", " correct it.", " give it one.", " rename one.", " add it."))
    assert not re.search("geheim|secret|tttt", said)


def test_what_a_host_shows_is_said():
    seen = {
        "ports": {"lines": ["port 9090 is used by cockpit.socket"]}, "room": {"stdout": str(2**30)},
        "rules": {"rc": 0, "lines": ['own.yml: 3:5: group "a", rule 1: could not parse expression']},
    }  # fmt: skip
    ports, size, promtool = monitoring.host_problems(seen, "fenton", "5GB")
    assert ports.startswith("role monitoring: port 9090 is used by cockpit.socket on fenton, and Prometheus needs it; ")
    assert size.startswith("monitoring_retention_size: 5GB is more than the disk of fenton has below /var/lib (1.0 GB)")
    assert promtool == 'monitoring_rules: promtool refuses own.yml: 3:5: group "a", rule 1: could not parse expression; correct that file.'
    assert monitoring.host_problems({"rules": {"rc": 77, "lines": []}}, "fenton", "5GB") == []
    (said,) = monitoring.host_problems({"rules": {"rc": 1, "lines": [], "stderr": "x\nno route to host"}}, "fenton", "5GB")
    assert "(no route to host)" in said


def test_targets_are_what_servers_have_handed_out(tmp_path):
    (tmp_path / "forge").mkdir()
    (tmp_path / "forge/exporters.json").write_text(json.dumps(FORGE))
    found = monitoring.watched(["fenton", "forge"], tmp_path)
    assert found == [{"host": "fenton"}, FORGE]
    assert monitoring.reachable(found, "fenton") == [FORGE]
    closed = {**FORGE, "door": None}
    assert monitoring.left_out([FENTON, closed, {"host": "new"}], "fenton") == [
        "forge: not watched, because it lets no other server in; run `ansible-playbook site.yml -l forge,fenton`",
        "new: not watched, because it has no exporters.json below artifacts/ on this control node; "
        "run `ansible-playbook site.yml -l new,fenton`",
    ]


def test_the_own_server_is_asked_on_loopback_and_others_through_their_door():
    config = monitoring.prometheus_config([FENTON, FORGE], "fenton", "5s", ["/r.yml"], "/etc/fenton/prometheus")
    scrapes = {each["job_name"]: each for each in config["scrape_configs"]}
    assert list(scrapes) == [
        "prometheus/fenton", "alertmanager/fenton", "node/fenton", "probe/fenton/jupyter_ada",
        "door/forge", "node/forge", "jupyter/forge/jupyter_ada", "probe/forge/page",
    ]  # fmt: skip
    assert config["global"]["scrape_timeout"] == "5s"
    assert scrapes["node/fenton"]["static_configs"] == [
        {"targets": ["127.0.0.1:9100"], "labels": {"job": "node", "host": "fenton", "instance": "fenton"}}
    ]
    assert "authorization" not in scrapes["node/fenton"]
    own = scrapes["probe/fenton/jupyter_ada"]
    assert (own["metrics_path"], own["params"]) == ("/probe", {"target": ["https://127.0.0.1:8888/api"]})
    assert own["static_configs"][0]["labels"] == {"job": "probe", "host": "fenton", "instance": "fenton", "name": "jupyter_ada"}
    for name in ("door/forge", "node/forge", "jupyter/forge/jupyter_ada", "probe/forge/page"):
        assert scrapes[name]["scheme"] == "https"
        assert scrapes[name]["static_configs"][0]["targets"] == ["10.0.0.2:9999"]
        assert scrapes[name]["authorization"] == {"credentials_file": "/etc/fenton/prometheus/doors/forge.token"}
        assert scrapes[name]["tls_config"] == {"ca_file": "/etc/fenton/prometheus/doors/forge.pem", "server_name": "forge"}
    assert scrapes["node/forge"]["params"] == {"module": ["node"]}
    assert scrapes["jupyter/forge/jupyter_ada"]["params"] == {"module": ["jupyter_ada"]}
    assert [each["action"] for each in scrapes["jupyter/forge/jupyter_ada"]["metric_relabel_configs"]] == ["drop"]
    assert scrapes["probe/forge/page"]["params"] == {"module": ["blackbox"], "target": ["http://127.0.0.1/"]}
    assert DOOR["token"] not in json.dumps(config)


def test_each_receiver_has_a_route_of_its_own_and_no_secret_is_among_them():
    config = monitoring.alertmanager_config({"token": "geheim"}, MAIL, RIGHT["webhooks"], 9095)
    watchdog, *others = config["route"]["routes"]
    assert [route["receiver"] for route in watchdog["routes"]] == ["webhook-2"]
    assert [route["receiver"] for route in others] == ["telegram", "email", "webhook-1"]
    assert all(route["continue"] for route in others)
    assert [receiver["name"] for receiver in config["receivers"]] == ["nobody", "telegram", "email", "webhook-1", "webhook-2"]
    assert not re.search("geheim|example", json.dumps(config))
    silent = monitoring.alertmanager_config({}, {}, [], 9095)
    assert [receiver["name"] for receiver in silent["receivers"]] == ["nobody"]


# The rules; whether they fire when they must is for promtool and tests/rules, in the scenario.


def rule(path):
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_alert_has_severity_summary_tests_and_a_line_in_the_readme(path):
    readme = (ROLE / "README.md").read_text()
    tested = (ROOT / "tests/rules" / path.name).read_text()
    assert monitoring.rule_file_problems(path.name, path.read_text()) == []
    for each in rule(path):
        name = each["alert"]
        assert each["labels"]["severity"] in ("critical", "warning", "none")
        assert f"alertname: {name}" in tested, name
        if name != "Watchdog":
            assert f"alertname: {name}, exp_alerts: []" in tested, f"{name}: nothing says when it must be silent"
            assert "{{ $labels.host }}" in each["annotations"]["summary"]
        assert len(each["annotations"]["summary"]) < 220
        assert re.search(rf"^\| `{name}` \| .+ \|$", readme, re.M), name


# What carries the alerts.

NOW = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=datetime.UTC)


def alert(summary="forge does not answer", status="firing", severity="critical", **more):
    return {
        "status": status, "labels": {"alertname": "HostDown", "host": "forge", "severity": severity}, "annotations": {"summary": summary},
        "startsAt": "2026-11-21T11:00:00.123456789Z", "endsAt": "2026-11-21T11:45:00.000Z", **more,
    }  # fmt: skip


def told(*each):
    return {"version": "4", "groupLabels": {"host": "forge"}, "alerts": list(each)}


def test_a_message_says_what_is_worst_first_and_what_is_over():
    subject, text = alerts.compose(told(alert("old", "resolved"), alert("small", severity="warning"), alert("large")), NOW)
    assert subject == "forge: 2 alerts, 1 over"
    assert text.splitlines() == ["🔴 large (for 1 h)", "🟡 small (for 1 h)", "✅ over after 45 min: old"]
    assert alerts.compose(told(alert(status="resolved")), NOW)[0] == "forge: all well again"


def test_an_alert_without_a_summary_says_its_labels():
    _, text = alerts.compose(told(alert(annotations={}, labels={"alertname": "Own", "b": "2", "a": "1"}, startsAt="nonsense")), NOW)
    assert text == "🟡 Own: a=1, b=2"


@pytest.mark.parametrize("character", ["a", "ä", "😀"])
@pytest.mark.parametrize(("number", "length"), [(1, 9000), (3, 3000), (500, 20), (9, 640), (40, 100)])
def test_no_message_is_longer_than_telegram_takes(character, number, length):
    subject, text = alerts.compose(told(*(alert(character * length) for _ in range(number))), NOW)
    message = f"{subject}\n{text}"
    assert len(message.encode("utf-16-le")) // 2 <= 4096
    left = re.search(r"… and (\d+) more$", message)
    assert text.count("🔴") + (int(left[1]) if left else 0) == number
    assert text.count("🔴") >= min(number, 6)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (40, "40 s"), (60, "1 min"), (3599, "59 min"), (11100, "3 h 5 min"), (187200, "2 d 4 h"), (86400, "1 d")],
)
def test_durations_are_read_at_a_glance(seconds, words):
    assert alerts.duration(seconds) == words


def test_times_of_alertmanager_are_read():
    assert alerts.moment("2026-11-21T13:00:00.5+01:00") == NOW
    assert alerts.moment("2026-11-21T12:00:00.123456789Z") == NOW
    assert alerts.moment(None) is None


TOKEN = "123456789:AAtoken-of-the-unit-tests_0123456789abc"


@pytest.fixture
def api(tmp_path, monkeypatch):
    """Return a Bot API on loopback, its directory, and a function that posts to a carrier that uses it."""
    monkeypatch.setattr(alerts, "TIMEOUT", 0.5)
    (tmp_path / "bot.json").write_text(json.dumps({"token": TOKEN, "chat": -5}))
    server = bot.Bot(tmp_path, ("127.0.0.1", 0))
    carrier = alerts.Server(("127.0.0.1", 0), alerts.Post)
    settings = {"telegram": {"token": TOKEN, "chat": -5, "server": f"http://127.0.0.1:{server.server_port}"}}
    carrier.receivers = alerts.receivers(settings)
    for each in (server, carrier):
        threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()

    def post(given, path="telegram"):
        address = f"http://127.0.0.1:{carrier.server_port}/{path}"
        try:
            with urllib.request.urlopen(address, json.dumps(given).encode(), timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    yield tmp_path, post, carrier
    for each in (server, carrier):
        each.shutdown()
        each.server_close()


def arrived(root):
    return [json.loads(line)["text"] for line in (root / "arrived").read_text().splitlines()] if (root / "arrived").exists() else []


def test_what_could_be_markup_arrives_as_it_is(api):
    root, post, _ = api
    nasty = "_*[x](y)<b>&amp;`~#+-=|{}.! <script> 😀"
    assert post(told(alert(nasty, startsAt="")))[0] == 200
    assert arrived(root) == [f"forge: 1 alert\n🔴 {nasty}"]


@pytest.mark.parametrize(
    ("mode", "said"), [("401", "Telegram answers 401 (Unauthorized)"), ("500", "Telegram answers 500"), ("hang", "no answer in 0.5 s")]
)
def test_what_telegram_refuses_is_answered_so_that_alertmanager_tries_again(api, mode, said, capsys):
    root, post, _ = api
    (root / "mode").write_text(mode)
    status, text = post(told(alert()))
    assert status == 503
    assert said in text
    (root / "mode").write_text("ok")
    assert post(told(alert()))[0] == 200
    assert len(arrived(root)) == 1
    assert TOKEN not in capsys.readouterr().out + text


def test_telegram_is_left_alone_for_as_long_as_it_wants(api, capsys):
    root, post, _ = api
    (root / "mode").write_text("429 1")
    assert "retry after 1" in post(told(alert()))[1]
    status, text = post(told(alert()))
    assert (status, text) == (503, "Telegram wants to be left alone for 1 s more")
    alerts.time.sleep(1.1)
    assert post(told(alert()))[0] == 200
    assert "too_early" not in {path.name for path in root.iterdir()}
    assert TOKEN not in capsys.readouterr().out


def test_the_token_is_not_in_what_is_said_when_nobody_answers(api, capsys):
    _, post, carrier = api
    for server in ("http://127.0.0.1:1", "http://no-such-host.invalid", "http://127.0.0.1:99999"):
        carrier.receivers["/telegram"].settings["server"] = server
        status, text = post(told(alert()))
        assert status == 503
        assert text.startswith("Telegram cannot be reached (")
        assert TOKEN not in text + capsys.readouterr().out


def test_what_is_no_call_of_alertmanager_is_refused(api):
    _, post, _ = api
    assert post([], "telegram")[0] == 404
    assert post(told(alert()), "email")[0] == 404


def test_settings_are_checked_without_sending(api, capsys):
    root, _, carrier = api
    settings = {"telegram": carrier.receivers["/telegram"].settings}
    assert alerts.check(settings) == 0
    (root / "mode").write_text("401")
    assert alerts.check(settings) == 1
    assert capsys.readouterr().out == "telegram: Telegram answers 401 (Unauthorized)\n"
    assert arrived(root) == []


def test_a_password_is_never_sent_in_the_clear(monkeypatch):
    class Plain:
        def __init__(self, *_, **__):
            self.said = []

        def starttls(self, **_):
            raise smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server.")

        def login(self, *_):
            raise AssertionError("logged in without TLS")

    monkeypatch.setattr(alerts.smtplib, "SMTP", Plain)
    with pytest.raises(alerts.NotDelivered, match="SMTPNotSupportedError"):
        alerts.Mail({**MAIL, "smarthost": "localhost:25"}).check()
