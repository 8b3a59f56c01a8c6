"""What a watcher gets, what it does not get, and what anybody else gets: nothing."""

import json
import re
import stat
import subprocess
import time

import pytest
from conftest import SCENARIO, eventually

PROM = "/var/lib/prometheus/node-exporter/fenton.prom"
VENV = "/usr/local/lib/fenton/nvitop"
TOKEN = "/etc/fenton/exporters/token"
OURS = [9100, 9115, 9835, 9999, 18888]


@pytest.fixture(autouse=True)
def _scenario():
    """Leave it to the role's own scenario, which has two servers; the promises are asked everywhere."""
    if SCENARIO != "exporters":
        pytest.skip("shown in the scenario exporters")


@pytest.fixture
def fenton(servers):
    return servers["fenton"]


@pytest.fixture
def forge(servers):
    return servers["forge"]


def sh(server, script):
    """Return what a script prints on the server."""
    done = server.docker("sh", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def handout(server):
    return json.loads((server.artifacts / "exporters.json").read_text())


def play(server, tags="exporters", **more):
    """Run the role again, with other settings."""
    return server.playbook("--tags", tags, "-e", json.dumps(more))


@pytest.fixture
def restored(server, forge, fenton):
    """Put both servers back as they were."""
    yield
    for one in (forge, fenton):
        done = one.playbook("--tags", "exporters")
        assert done.returncode == 0, done.stdout


class Watcher:
    """What a Prometheus on one server does with the handout of another one."""

    def __init__(self, place, about):
        self.place, self.door = place, handout(about)["door"]
        place.docker("sh", "-c", "cat >/root/ca.pem <<'END'\n" + self.door["ca"] + "END")

    def ask(self, query, token=None, scheme="https", port=None, path="/proxy", seconds=8):
        """Return status and text; status 0 and curl's sentence where nothing answers."""
        host = self.door["address"].rpartition(":")[0] + f":{port}" if port else self.door["address"]
        secret = self.door["token"] if token is None else token
        header = f"-H 'Authorization: Bearer {secret}'" if secret else ""
        words = f"curl -sS -m {seconds} --cacert /root/ca.pem {header} -w '\\n%{{http_code}}' '{scheme}://{host}{path}{query}'"
        done = self.place.docker("sh", "-c", words)
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text or done.stderr


@pytest.fixture
def watcher(fenton, forge):
    return Watcher(fenton, forge)


def value(text, series):
    """Return the value of a series in Prometheus' text format, a number, or None."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def metrics(server, port=9100):
    return sh(server, f"curl -sS -m 5 127.0.0.1:{port}/metrics")


def test_the_handout_says_where_to_ask_and_only_its_owner_reads_it(fenton, forge):
    own, other = handout(fenton), handout(forge)
    assert own["host"] == "fenton"
    assert own["door"] is None
    assert own["probes"] == {}
    assert own["modules"] == {
        "node": {"address": "127.0.0.1:9100", "path": "/metrics"}, "gpu": {"address": "127.0.0.1:9835", "path": "/metrics"},
    }  # fmt: skip
    assert set(other["modules"]) == {"node", "blackbox", "jupyter_ada"}
    assert other["probes"] == {"jupyter_ada": "https://127.0.0.1:8888/api"}
    assert set(other["door"]) == {"address", "server_name", "ca", "token"}
    assert other["door"]["address"] == f"{forge.address}:9999"
    for server in (fenton, forge):
        assert stat.S_IMODE((server.artifacts / "exporters.json").stat().st_mode) == 0o600


def test_the_door_opens_with_the_secret_over_tls_and_not_without(watcher):
    status, text = watcher.ask("?module=node")
    assert status == 200
    assert value(text, "node_boot_time_seconds") > 1e9
    assert watcher.ask("?module=node", token="")[0] == 401
    assert watcher.ask("?module=node", token="0" * 64)[0] == 401
    assert watcher.ask("", token="", path="/metrics")[0] == 401
    assert watcher.ask("", token="", path="/")[0] == 401
    assert watcher.ask("?module=nothing")[0] == 404
    status, text = watcher.ask("?module=node", scheme="http")
    assert status == 400
    assert "node_" not in text


def test_a_certificate_of_another_authority_is_not_taken_for_the_doors(watcher):
    watcher.place.docker("sh", "-c", "cp /etc/ssl/certs/ISRG_Root_X1.pem /root/ca.pem || : >/root/ca.pem")
    status, text = watcher.ask("?module=node")
    assert status == 0
    assert "certificate" in text or "SSL" in text


def test_a_notebook_is_probed_and_measured_through_the_door(watcher, forge):
    query = "?module=blackbox&target=https://127.0.0.1:8888/api"
    status, text = watcher.ask(query)
    assert status == 200
    assert value(text, "probe_success") == 1
    assert value(text, "probe_ssl_earliest_cert_expiry") > time.time()
    assert value(watcher.ask("?module=jupyter_ada")[1], 'kernel_currently_running_total{type="python3"}') == 2
    sh(forge, "systemctl stop notebook")
    try:
        assert value(watcher.ask(query)[1], "probe_success") == 0
        assert watcher.ask("?module=jupyter_ada")[0] == 502
    finally:
        sh(forge, "systemctl start notebook")
    eventually(lambda: value(watcher.ask(query)[1], "probe_success") == 1)


def test_the_secret_of_the_door_does_not_go_through_it(watcher, forge):
    """Whoever's program listens behind it, such as a notebook's, would have it."""
    sh(forge, ": >/run/notebook")
    assert watcher.ask("?module=jupyter_ada")[0] == 200
    arrived = sh(forge, "cat /run/notebook")
    assert "X-Forwarded-For" in arrived, "nothing was noted, so this proves nothing"
    assert "uthorization" not in arrived
    assert watcher.door["token"] not in arrived


def test_nothing_but_the_door_answers_from_outside_and_that_only_to_the_watcher(watcher, fenton, forge):
    for port in (9100, 9115, 9835, 18888):
        assert watcher.ask("", scheme="http", port=port, path="/metrics", seconds=1)[0] == 0
    open_there = {line.rpartition(":")[2] for line in sh(forge, "ss -Hltn | awk '{ print $4 }' | grep -v '^127'").split()}
    assert open_there == {"22", "9999"}
    open_here = {line.rpartition(":")[2] for line in sh(fenton, "ss -Hltn | awk '{ print $4 }' | grep -v '^127'").split()}
    assert open_here == {"22"}
    # This machine is not the watcher: the firewall lets nothing of it through.
    for server in (fenton, forge):
        ports = " ".join(map(str, OURS))
        ask = f"for port in {ports}; do timeout 1 bash -c '</dev/tcp/{server.address}/'$port && echo $port & done; wait"
        assert subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=False).stdout == ""


def test_the_secret_is_in_no_list_of_processes_no_journal_and_no_file_that_others_read(watcher, forge):
    secret = watcher.door["token"]
    assert sh(forge, f"stat -c '%a %U %G' {TOKEN}") == "640 root prometheus\n"
    assert secret not in sh(
        forge, "ps -eo args; journalctl --no-pager -o cat; cat /etc/fenton/exporters/*.yml; systemctl cat 'prometheus-*'"
    )
    assert forge.docker("runuser", "-u", "nobody", "--", "cat", TOKEN).returncode != 0


def test_a_scrape_has_all_that_alerts_are_made_of_and_is_quick(fenton, forge):
    for server in (fenton, forge):
        text = metrics(server)
        for series in ("node_vmstat_oom_kill", "node_memory_MemAvailable_bytes", "node_timex_sync_status", "fenton_reboot_required"):
            assert value(text, series) is not None, series
        for family in ("node_cpu_seconds_total", "node_filesystem_avail_bytes", "node_disk_io_time_seconds_total", "node_hwmon"):
            # A container's host may have no sensor that tells.
            assert family == "node_hwmon" or re.search(rf"^{family}{{", text, re.M), family
        assert value(text, 'node_systemd_unit_state{name="ssh.service",state="active",type="notify"}') == 1
        assert "apt_upgrades_pending" in text
        assert value(text, "node_textfile_scrape_error") == 0
        times = [float(sh(server, "curl -s -o /dev/null -w '%{time_total}' 127.0.0.1:9100/metrics")) for _ in range(5)]
        assert min(times) < 0.25, times


def test_nothing_has_failed_on_either(fenton, forge):
    for server in (fenton, forge):
        assert sh(server, "systemctl --failed --no-legend --plain") == ""


def test_each_card_has_its_series_under_the_name_of_the_host(fenton):
    text = metrics(fenton, 9835)
    hot = re.findall(r'^gpu_temperature_C{devicename="([^"]*)",hostname="([^"]*)",index="(\d)",uuid="[^"]*"} (\S+)$', text, re.M)
    assert hot == [("NVIDIA Stand-In 24G", "fenton", "0", "71.0"), ("NVIDIA Stand-In 8G", "fenton", "1", "45.0")]
    node = metrics(fenton)
    assert value(node, "fenton_gpus_expected") == 2
    assert value(node, "fenton_gpus_present") == 2
    assert value(node, "fenton_nvidia_driver_mismatch") is None, "there is no module, so there is nothing to compare"


def cards(server, text):
    sh(server, f"cat >/var/lib/nvml/cards <<'END'\n{text}END")


@pytest.fixture
def two_cards(fenton):
    before = sh(fenton, "cat /var/lib/nvml/cards")
    yield
    cards(fenton, before)
    sh(fenton, "systemctl restart fenton-gpu-exporter")


@pytest.mark.once
@pytest.mark.usefixtures("two_cards")
def test_a_card_that_is_lost_has_no_numbers_any_more(fenton):
    cards(fenton, "97 20000 71 310 64\n3 900 45 30 0 lost\n")
    eventually(lambda: re.search(r'^gpu_temperature_C{[^}]*index="1"[^}]*} NaN$', metrics(fenton, 9835), re.M))
    assert re.search(r'^gpu_temperature_C{[^}]*index="0"[^}]*} 71.0$', metrics(fenton, 9835), re.M)


@pytest.mark.once
@pytest.mark.usefixtures("two_cards")
def test_without_a_driver_nothing_crashes_and_it_starts_when_the_driver_comes(fenton):
    before = sh(fenton, "cat /var/lib/nvml/cards")
    cards(fenton, "")
    assert fenton.docker("systemctl", "restart", "fenton-gpu-exporter").returncode in (0, 1)
    shown = "systemctl show -P ActiveState -P Result -P NRestarts fenton-gpu-exporter"
    assert set(sh(fenton, shown).split()) == {"inactive", "exec-condition", "0"}
    time.sleep(2)
    assert sh(fenton, "systemctl --failed --no-legend --plain") == ""
    assert set(sh(fenton, shown).split()) == {"inactive", "exec-condition", "0"}
    done = fenton.playbook()
    assert "changed=0" in done.stdout, done.stdout
    assert fenton.playbook("--tags", "verify").returncode == 0
    cards(fenton, before)
    sh(fenton, "systemctl start fenton-metrics")
    eventually(lambda: "gpu_temperature_C{" in fenton.docker("curl", "-s", "127.0.0.1:9835/metrics").stdout)


@pytest.mark.once
def test_a_reboot_that_is_due_and_an_upgrade_are_told(forge):
    sh(forge, "touch /run/reboot-required; mkdir -p /var/lib/apt/periodic; touch -d @1790000000 /var/lib/apt/periodic/upgrade-stamp")
    try:
        sh(forge, "systemctl start fenton-metrics")
        text = metrics(forge)
        assert value(text, "fenton_reboot_required") == 1
        assert value(text, "fenton_unattended_upgrade_success_timestamp_seconds") == 1790000000
        ends = value(text, 'fenton_certificate_not_after_timestamp_seconds{service="exporters"}')
        assert time.time() + 396 * 86400 < ends < time.time() + 398 * 86400
    finally:
        sh(forge, "rm /run/reboot-required /var/lib/apt/periodic/upgrade-stamp; systemctl start fenton-metrics")
    assert value(metrics(forge), "fenton_reboot_required") == 0


@pytest.mark.once
def test_a_mistake_in_one_part_shows_and_spares_the_others(forge):
    sh(forge, "mkdir /etc/fenton/tls/broken; echo nonsense >/etc/fenton/tls/broken/fullchain.pem")
    before = value(metrics(forge), "fenton_success_timestamp_seconds")
    try:
        assert forge.docker("systemctl", "start", "fenton-metrics").returncode == 1
        text = metrics(forge)
        assert value(text, 'fenton_part_success{part="certificates"}') == 0
        assert value(text, 'fenton_part_success{part="reboot"}') == 1
        assert value(text, "fenton_success_timestamp_seconds") == before
        assert value(text, 'node_systemd_unit_state{name="fenton-metrics.service",state="failed",type="oneshot"}') == 1
        assert "certificates: " in sh(forge, "journalctl -u fenton-metrics -n 20 -o cat --no-pager")
        doctor = forge.playbook("--tags", "verify")
        assert doctor.returncode != 0
        assert "What no exporter tells was written" in doctor.stdout or "Every exporter runs" in doctor.stdout
    finally:
        sh(forge, "rm -r /etc/fenton/tls/broken; systemctl start fenton-metrics")
    assert value(metrics(forge), 'fenton_part_success{part="certificates"}') == 1


@pytest.mark.long
@pytest.mark.once
def test_not_even_while_it_is_installed_does_anything_listen_on_all_addresses(forge):
    """The packages start their services at once; who looks every few milliseconds sees none of them open."""
    packages = "prometheus-node-exporter prometheus-node-exporter-collectors prometheus-blackbox-exporter prometheus-exporter-exporter"
    sh(forge, f"dpkg --purge --force-depends {packages} 2>&1; rm -rf /etc/default/prometheus-*")
    assert sh(forge, "ss -Hltn | awk '{ print $4 }' | grep -E ':(9100|9115|9999)$' || true") == ""
    look = "while [ ! -e /run/enough ]; do ss -Hltn | awk '{ print $4 }'; sleep 0.01; done | sort | uniq -c >/run/listened"
    sh(forge, f'rm -f /run/enough; setsid sh -c "{look.replace("$", chr(92) + "$")}" >/dev/null 2>&1 &')
    done = forge.playbook("--tags", "exporters")
    sh(forge, "touch /run/enough; sleep 0.5")
    assert done.returncode == 0, done.stdout
    heard = {line.split()[1]: int(line.split()[0]) for line in sh(forge, "cat /run/listened").splitlines()}
    assert heard["127.0.0.1:9100"] > 10
    assert {where for where in heard if re.search(r":(9100|9115|9835)$", where)} == {"127.0.0.1:9100", "127.0.0.1:9115"}
    # The door is there from its certificate and secret on, never before: the firewall and the secret are older than it.
    assert forge.playbook("--tags", "verify").returncode == 0


@pytest.mark.attempt(
    "Certificates",
    "the host renews the certificate of a program that reads it only when it starts",
    "that program is started again by the renewal and shows the new one; nothing else is",
)
@pytest.mark.once
def test_the_door_shows_a_certificate_that_the_host_has_renewed(forge, watcher):
    def serial():
        return sh(forge, "openssl s_client -connect 127.0.0.1:9999 </dev/null 2>/dev/null | openssl x509 -noout -serial")

    others = "systemctl show -P MainPID prometheus-node-exporter prometheus-blackbox-exporter"
    before, pids = serial(), sh(forge, others)
    sh(forge, "rm /etc/fenton/tls/exporters/fullchain.pem; systemctl start fenton-certificate.service")
    assert eventually(lambda: watcher.ask("?module=node")[0] == 200)
    assert serial() != before
    assert sh(forge, others) == pids
    # Not again and again.
    pid = sh(forge, "systemctl show -P MainPID prometheus-exporter-exporter")
    sh(forge, "systemctl start fenton-certificate.service")
    assert sh(forge, "systemctl show -P MainPID prometheus-exporter-exporter") == pid


# What does not touch the same thing is spoiled together.
NODE = "/etc/systemd/system/prometheus-node-exporter.service.d/fenton.conf"
HALF = {
    "a run that was killed before the start": [
        "systemctl disable --now prometheus-node-exporter fenton-metrics.timer", "systemctl disable --now prometheus-exporter-exporter",
        f"rm {PROM}",
    ],
    "edited files, a secret that all can read, a certificate that is renewed": [
        f"sed -i s/127.0.0.1:9100/:9100/ {NODE}", "sed -i '/jupyter_ada/,$d' /etc/fenton/exporters/door.yml",
        "echo >/etc/fenton/exporters/blackbox.yml", "echo 'raise SystemExit(1)' >>/usr/local/lib/fenton/metrics",
        f"chmod 644 {TOKEN}", "rm /etc/fenton/tls/exporters/fullchain.pem",
    ],
    "a run that was killed before the restart, a secret, a package and a timer that are gone": [
        f"sleep 1; touch {NODE}", f"echo abc >{TOKEN}", "dpkg --remove --force-depends prometheus-blackbox-exporter",
        "systemctl stop fenton-metrics.timer; rm /etc/systemd/system/fenton-metrics.timer",
    ],
}  # fmt: skip
# What shows whether each thing is right.
RIGHT = f"""
systemctl is-active prometheus-node-exporter prometheus-exporter-exporter prometheus-blackbox-exporter fenton-metrics.timer
systemctl is-enabled prometheus-node-exporter prometheus-exporter-exporter prometheus-blackbox-exporter fenton-metrics.timer
sha256sum {NODE} /etc/fenton/exporters/*.yml /etc/systemd/system/fenton-metrics.timer /usr/local/lib/fenton/metrics
stat -c '%a %U %G' {TOKEN} {PROM}
stat -c %s {TOKEN}
ss -Hltn | awk '{{ print $4 }}' | sort
openssl verify -CAfile /etc/fenton/tls/authority/ca.pem /etc/fenton/tls/exporters/fullchain.pem
"""


@pytest.mark.once
@pytest.mark.parametrize("name", HALF)
def test_the_next_run_finishes_or_repairs(forge, name):
    before = forge.docker("sh", "-c", RIGHT).stdout
    for spoil in HALF[name]:
        sh(forge, spoil)
    done = forge.playbook("--tags", "exporters")
    assert done.returncode == 0, done.stdout
    assert "changed=0" not in done.stdout
    assert forge.docker("sh", "-c", RIGHT).stdout == before
    done = forge.playbook("--tags", "exporters,verify")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout, done.stdout
    # The secret of the door may be another one now; the handout has it.
    assert Watcher(forge, forge).ask("?module=node", seconds=8)[0] == 200


@pytest.mark.long
@pytest.mark.once
def test_a_spoiled_environment_is_made_anew(fenton):
    sh(fenton, f"rm -r {VENV}/lib/python3*/site-packages/nvitop")
    done = fenton.playbook("--tags", "exporters")
    assert done.returncode == 0, done.stdout
    assert "changed=0" not in done.stdout
    eventually(lambda: "gpu_temperature_C{" in fenton.docker("curl", "-s", "127.0.0.1:9835/metrics").stdout)
    assert "changed=0" in fenton.playbook("--tags", "exporters").stdout


@pytest.mark.once
@pytest.mark.usefixtures("restored")
def test_a_watcher_that_is_known_by_a_name_may_ask_from_the_address_that_it_has(fenton, forge, watcher):
    done = play(forge, exporters_sources=["fenton-exporters-fenton"])
    assert done.returncode == 0, done.stdout
    assert watcher.ask("?module=node")[0] == 200
    assert fenton.address in sh(forge, "nft list chain inet fenton ports")
    # The name leads elsewhere from now on.
    sh(forge, "echo '192.0.2.7 fenton-exporters-fenton' >>/etc/hosts")
    try:
        doctor = play(forge, tags="verify", exporters_sources=["fenton-exporters-fenton"])
        assert doctor.returncode != 0
        assert "The firewall lets in those who watch, at the addresses that they have now" in doctor.stdout
    finally:
        sh(forge, "sed '/192.0.2.7/d' /etc/hosts >/root/hosts; cat /root/hosts >/etc/hosts")


WRONG = [
    ({"exporters_sources": ["fenton.invalid"]}, ["exporters_sources: forge finds no address for fenton.invalid"]),
    ({"exporters_sources": ["forge"]}, ["exporters_sources: to forge the name forge is itself"]),
    (
        {
            "exporters_sources": ["127.0.0.1", "10.0.0.0/99"], "exporters_port": 9100,
            "exporters_probes": [{"name": "x", "url": "127.0.0.1:8888"}],
            "exporters_metrics": [{"name": "node", "port": 7}, {"name": "y", "port": 9115}],
        },
        [
            "exporters_sources: 127.0.0.1 is each server itself", "exporters_sources: '10.0.0.0/99' is neither an address",
            "exporters_port: 9100 is the port of the exporter node", "exporters_probes: '127.0.0.1:8888' of x is no address",
            "exporters_metrics: node is there twice, or a name of ours",
            "exporters_metrics: port 9115 of y is that of the exporter blackbox",
        ],
    ),
]  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize(("setting", "sentences"), WRONG, ids=["unknown", "itself", "all others"])
def test_bad_input_is_one_sentence_and_changes_nothing(forge, setting, sentences):
    traces = (
        "find /etc/fenton /etc/systemd/system /usr/local/lib/fenton -newer /run/mark; systemctl show -P ActiveEnterTimestamp 'prometheus-*'"
    )
    sh(forge, "touch /run/mark; sleep 0.05")
    before = sh(forge, traces)
    done = play(forge, **setting)
    assert done.returncode != 0
    said = re.sub(r"\s+", " ", done.stdout.replace("''", "'"))
    for sentence in sentences:
        assert sentence in said, done.stdout[-3000:]
    assert ".yml" in said
    assert sh(forge, traces) == before


@pytest.mark.long
@pytest.mark.once
@pytest.mark.usefixtures("restored")
def test_what_is_no_longer_wanted_goes(fenton, forge):
    done = play(forge, exporters_sources=[], exporters_probes=[], exporters_metrics=[])
    assert done.returncode == 0, done.stdout
    left = (
        f"ls -d {TOKEN} /etc/fenton/exporters/door.yml /etc/fenton/exporters/blackbox.yml /etc/fenton/tls/exporters"
        " /etc/fenton/tls/wanted/exporters.json /etc/fenton/firewall.d/exporters.nft /usr/bin/prometheus-exporter-exporter"
        " /usr/bin/prometheus-blackbox-exporter /etc/systemd/system/prometheus-exporter-exporter.service.d 2>/dev/null;"
        " ss -Hltn | grep -E ':(9999|9115) '; systemctl --failed --no-legend --plain; true"
    )
    assert sh(forge, left) == ""
    assert handout(forge)["door"] is None
    assert value(metrics(forge), "node_boot_time_seconds")
    assert play(forge, tags="verify", exporters_sources=[], exporters_probes=[], exporters_metrics=[]).returncode == 0
    assert "changed=0" in play(forge, exporters_sources=[], exporters_probes=[], exporters_metrics=[]).stdout

    done = play(fenton, exporters_gpus=[])
    assert done.returncode == 0, done.stdout
    left = f"ls -d {VENV} /etc/systemd/system/fenton-gpu* 2>/dev/null; systemctl --failed --no-legend; true"
    assert sh(fenton, left) == ""
    assert value(metrics(fenton), "fenton_gpus_expected") == 0
    assert "changed=0" in play(fenton, exporters_gpus=[]).stdout
