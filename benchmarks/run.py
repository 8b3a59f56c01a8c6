"""Time the site, and beside it, in the same minutes and on the same image, what others need for the same.

Each round boots a fresh server, runs the site on it for the first and the second time, each role alone, the doctor and the peers,
then boots another server for the plain shell script: a slow minute of the machine meets all of them. Medians go to
``benchmarks/results/`` with date, machine and system. ``--check`` measures no time at all: it counts what a second run does and
compares that with ``budget.json``.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".work"
RESULTS = ROOT / "benchmarks/results"
BUDGET = ROOT / "benchmarks/budget.json"
PEERS = WORK / "peers"
ENVIRONMENT = {**os.environ, "FENTON_SCENARIO": "bench", "DEMO_PORT": "0", "DEMO_PAGE_PORT": "0", "OS": os.environ.get("OS", "debian13")}
HOST = "fenton"
# Like a user's inventory a file that only has to be read; who asks Docker for the address does so once, when the server boots.
ADDRESSES = WORK / "bench.yml"


def command(*words, **options):
    """Run *words* in the repository; when it fails, show its output and stop."""
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, env={**ENVIRONMENT, **options}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\nbench: {words[0]} failed with exit status {done.returncode}")
    return done.stdout


def fresh(inventory="molecule/demo/inventory.yml"):
    """Boot bare servers in place of the last ones."""
    gone()
    command("ansible-playbook", "-i", inventory, "-i", "molecule/shared/containers", "molecule/shared/create.yml")
    found = json.loads(command("molecule/shared/containers"))
    hosts = found.pop("_meta")["hostvars"]
    ADDRESSES.write_text(json.dumps({**found, "all": {"hosts": hosts}}))


def gone():
    """Remove the servers."""
    command("ansible-playbook", "-i", "localhost,", "molecule/shared/destroy.yml")


def site(*words, inventory="molecule/demo/inventory.yml", limit=HOST, **environment):
    """Run the site once and return its report (seconds, roles, hosts).

    ``wall`` is what a user waits, in seconds, ``control`` the processor time of the control node.
    """
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        sources = ["-i", inventory, "-i", ADDRESSES, "-e", f"artifacts_dir={WORK}/artifacts/bench"]
        # pyinfra's ssh (paramiko) knows none of the key exchanges that the policy of Debian 13 leaves.
        sources += ["-e", "{ssh_curve25519: true}"]
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command("ansible-playbook", *sources, "site.yml", "-l", limit, *words, FENTON_REPORT=str(report), **environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        control = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"wall": round(time.monotonic() - started, 2), "control": round(control, 2), **json.loads(report.read_text())}


def variables():
    """Return the server's variables."""
    return json.loads(command("ansible-inventory", "-i", "molecule/demo/inventory.yml", "-i", ADDRESSES, "--host", HOST))


def ssh(listed, user):
    """Return the words that log in to the server as *user*."""
    return [
        "ssh", "-F", "none", "-o", "BatchMode=yes", "-i", listed["ansible_ssh_private_key_file"],
        *listed["ansible_ssh_common_args"].split(), f"{user}@{listed['ansible_host']}",
    ]  # fmt: skip


def plain():
    """Run the shell script on the server as root over ssh and return its wall time in seconds."""
    listed = variables()
    started = time.monotonic()
    # The script and what it installs from travel in the time that is measured, as Ansible's files do.
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("roles/*/files/locks/*.txt"))
    files += ["roles/monitoring/files/rules", "roles/dashboard/files/page"]
    pack = subprocess.Popen(["tar", "-C", ROOT, "-cz", "benchmarks/plain.sh", *files], stdout=subprocess.PIPE)
    given = " ".join(
        f"{name}='{value}'" for name, value in (
            ("KEY", (WORK / "id_ed25519.pub").read_text().strip()),
            ("URL", listed["anaconda_url"]),
            ("SHA256", listed["anaconda_checksum"].removeprefix("sha256:")),
            ("PYTHON", listed["anaconda_python"]),
        )
    )  # fmt: skip
    remote = f"mkdir -p /root/plain && tar -C /root/plain -xz && cd /root/plain && {given} sh -e benchmarks/plain.sh"
    done = subprocess.run([*ssh(listed, "root"), remote], stdin=pack.stdout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\nbench: benchmarks/plain.sh failed with exit status {done.returncode}")
    return round(time.monotonic() - started, 2)


# Peers of the second run

# The files that the roles keep on the server, by role; not those that are made anew with a salt where somebody has changed them.
FILES = {
    "base": [
        "/etc/sudoers.d/95-administrators", "/etc/apt/apt.conf.d/51fenton", "/etc/apt/apt.conf.d/52fenton-updates",
        "/etc/needrestart/conf.d/fenton.conf", "/etc/systemd/journald.conf.d/fenton.conf", "/etc/fenton/firewall.nft",
        "/etc/systemd/system/fenton-firewall.service", "/etc/default/earlyoom",
    ],
    "ssh": ["/etc/ssh/sshd_config.d/00-fenton.conf", "/etc/fenton/firewall.d/ssh.nft"],
    "fail2ban": [
        "/etc/fail2ban/jail.d/fenton.local", "/etc/fail2ban/filter.d/fenton-ssh.conf", "/etc/fail2ban/filter.d/fenton-jupyter.conf",
        "/etc/systemd/system/fail2ban.service.d/fenton.conf",
    ],
    "session": [
        "/etc/tmux.conf", "/usr/local/lib/fenton/main-session", "/etc/systemd/user/main-session.service", "/usr/local/lib/fenton/banner",
        "/etc/profile.d/fenton-banner.sh",
    ],
    "tls": [
        "/usr/local/sbin/fenton-certificate", "/etc/systemd/system/fenton-certificate.service",
        "/etc/systemd/system/fenton-certificate.timer", "/etc/fenton/tls/authority/ca.pem", "/etc/fenton/tls/authority/ca.key",
    ],
    "anaconda": [
        "/opt/conda/.condarc", "/opt/conda/conda-meta/frozen", "/etc/profile.d/conda.sh",
        "/usr/local/share/jupyter/kernels/science/kernel.json",
    ],
    "exporters": [
        "/etc/systemd/system/prometheus-node-exporter.service.d/fenton.conf", "/usr/local/lib/fenton/metrics",
        "/etc/systemd/system/fenton-metrics.timer", "/etc/fenton/exporters/blackbox.yml",
    ],
    "monitoring": [
        "/etc/systemd/system/prometheus.service.d/fenton.conf", "/etc/systemd/system/prometheus-alertmanager.service.d/fenton.conf",
        "/etc/fenton/prometheus/prometheus.yml", "/etc/fenton/prometheus/alertmanager.yml",
        *(f"/etc/fenton/prometheus/rules/fenton-{path.name}" for path in sorted(ROOT.glob("roles/monitoring/files/rules/*.yml"))),
    ],
    "dashboard": [
        "/etc/systemd/system/fenton-dashboard.service", "/etc/systemd/system/fenton-glances.service",
        "/etc/systemd/system/fenton-live.service", "/etc/systemd/system/fenton-live.socket", "/etc/fenton/dashboard/nginx.conf",
        "/etc/fenton/dashboard/glances.conf",
        "/etc/fenton/firewall.d/dashboard.nft", "/etc/fenton/tls/dashboard/fullchain.pem", "/etc/fenton/tls/dashboard/privkey.pem",
        *(f"/usr/local/lib/fenton/dashboard/{path.name}" for path in sorted(ROOT.glob("roles/dashboard/files/page/*"))),
    ],
    "jupyter": [
        "/etc/systemd/system/jupyter@.service", "/etc/jupyter/servers/overrides.json", "/etc/jupyter/servers/tom.py",
        "/etc/jupyter/servers/page_config.json", "/etc/fenton/firewall.d/jupyter.nft", "/etc/fenton/tls/jupyter/fullchain.pem",
        "/etc/fenton/tls/jupyter/privkey.pem",
    ],
}  # fmt: skip
# What the roles that watch and guard install, beside what base does; and what base does unless it is told not to.
WATCHING = [
    "earlyoom",
    "prometheus-node-exporter", "prometheus-node-exporter-collectors", "prometheus-blackbox-exporter", "prometheus",
    "prometheus-alertmanager", "nginx", "libjs-chart.js", "fail2ban", "python3-systemd",
]  # fmt: skip
# Whether they run; a container has its host's clock, and the service for it does not start there.
SERVICES = {
    "earlyoom.service": True,
    "fenton-firewall.service": True, "ssh.service": True, "fail2ban.service": True, "systemd-timesyncd.service": None,
    "jupyter@tom.service": True,
    "prometheus-node-exporter.service": True, "prometheus-blackbox-exporter.service": True, "fenton-metrics.timer": True,
    "prometheus.service": True, "prometheus-alertmanager.service": True, "fenton-dashboard.service": True, "fenton-live.socket": True,
}  # fmt: skip


def read_state(listed, directory):
    """Take from the server what the peers are to keep, into *directory*."""
    remote = [*ssh(listed, "tom"), "sudo", "sh", "-c"]

    def ask(script):
        return subprocess.run([*remote, f"'{script}'"], check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout

    files = []
    for number, path in enumerate(path for paths in FILES.values() for path in paths):
        mode, user, group = ask(f"stat -c %a:%U:%G {path}").decode().strip().split(":")
        (directory / str(number)).write_bytes(ask(f"cat {path}"))
        files.append({"path": path, "copy": str(number), "mode": mode, "user": user, "group": group})
    base = yaml.safe_load((ROOT / "roles/base/vars/main.yml").read_text())
    folders = ["/etc/fenton/firewall.d", "/usr/local/lib/fenton", "/etc/jupyter/servers"]
    modes = [ask(f"stat -c %a:%U:%G {path}").decode().strip().split(":") for path in folders]
    freeze = "/usr/local/lib/fenton/uv/bin/uv pip freeze --python /opt/conda/envs/{}/bin/python 2>/dev/null"
    state = {
        "packages": [*base["__base_packages_common"], *WATCHING],
        "users": [{"name": "tom", "groups": ["sudo", "adm", "systemd-journal"], "keys": [(WORK / "id_ed25519.pub").read_text().strip()]}],
        "zone": ask("readlink /etc/localtime").decode().strip(),
        "directories": [{"path": p, "mode": m, "user": u, "group": g} for p, (m, u, g) in zip(folders, modes, strict=True)],
        "files": files,
        "environments": {
            name: [line for line in ask(freeze.format(name)).decode().split() if "==" in line] for name in ("science", "jupyter")
        },
        "uv": "/usr/local/lib/fenton/uv/bin",
        "services": SERVICES,
    }
    (directory / "state.json").write_text(json.dumps(state))


def make_peers():
    """Install the peers into a virtual environment of their own."""
    lock = ROOT / "benchmarks/peers/requirements.txt"
    stamp = PEERS / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        command(sys.executable, "-m", "venv", "--clear", PEERS)
        command("uv", "pip", "install", "--quiet", "--python", PEERS / "bin/python", "--require-hashes", "-r", lock, UV_SYSTEM_CERTS="1")
        stamp.write_text(lock.read_text())


def pyinfra(listed, directory):
    """Run pyinfra on the server and return its wall time in seconds; it must find nothing to do."""
    data = {
        "ssh_user": "tom", "ssh_key": listed["ansible_ssh_private_key_file"], "ssh_known_hosts_file": f"{WORK}/known_hosts.bench",
        "ssh_strict_host_key_checking": "off", "_sudo": True,
    }  # fmt: skip
    (directory / "inventory.py").write_text(f"hosts = [({listed['ansible_host']!r}, {data!r})]\n")
    started = time.monotonic()
    said = command(PEERS / "bin/pyinfra", "-y", directory / "inventory.py", "benchmarks/peers/site_pyinfra.py", PEER_STATE=str(directory))
    wall = round(time.monotonic() - started, 2)
    changes = [line for line in said.splitlines() if line.endswith("Success")]
    if changes:
        sys.exit("bench: pyinfra changed something; its time would mean nothing:\n" + "\n".join(changes[:20]))
    return wall


def mitogen():
    """Return the variables that run Ansible with mitogen's strategy."""
    (found,) = PEERS.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy")
    return {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(found), "ANSIBLE_DEPRECATION_WARNINGS": "false"}


# What the person who opens the notebook waits for, and what it takes

STARTS = """
import subprocess, time, urllib.request, ssl
from jupyter_client.manager import start_new_kernel
context = ssl._create_unverified_context()
subprocess.run(["systemctl", "restart", "jupyter@tom"], check=True)
begun = time.monotonic()
while True:
    try:
        urllib.request.urlopen("https://127.0.0.1:8888/api", context=context, timeout=5)
        break
    except OSError:
        time.sleep(0.02)
answers = time.monotonic() - begun
begun = time.monotonic()
manager, client = start_new_kernel(kernel_name="science")
print(round(answers, 2), round(time.monotonic() - begun, 2))
manager.shutdown_kernel(now=True)
"""


def starts(listed):
    """Return the seconds from JupyterLab's start to its first answer, and from a kernel's start to the first answer of that."""
    words = [*ssh(listed, "tom"), "sudo", "/opt/conda/envs/jupyter/bin/python", "-"]
    done = subprocess.run(words, input=STARTS, check=True, stdout=subprocess.PIPE, text=True)
    return [float(word) for word in done.stdout.split()]


def size(listed, user):
    """Return the MiB that lie on the server's disk."""
    done = subprocess.run([*ssh(listed, user), "sudo du -xsm / 2>/dev/null || du -xsm /"], stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[0])


def own_time():
    """Return the milliseconds that the laptop's command takes for itself when it connects: its run with an ssh that does nothing."""
    with tempfile.TemporaryDirectory() as home:
        for path, text in (
            (".config/fenton/fenton.conf", f"ALIAS='fenton'\nIDENTITY='{home}/key'\n"), ("key", ""), ("bin/ssh", "#!/bin/sh\n"),
        ):  # fmt: skip
            Path(home, path).parent.mkdir(parents=True, exist_ok=True)
            Path(home, path).write_text(text)
        Path(home, "bin/ssh").chmod(0o755)
        taken = []
        for _ in range(21):
            started = time.monotonic()
            command(ROOT / "roles/client/files/fenton", HOME=home, PATH=f"{home}/bin:{os.environ['PATH']}")
            taken.append((time.monotonic() - started) * 1000)
    return round(statistics.median(taken), 1)


class Memory(threading.Thread):
    """Watches what this process's children take on the control node; ``peak`` is their largest common memory (PSS), in MiB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()

    def run(self):
        """Sample four times a second."""
        while not self.ended.wait(0.25):
            parents, total = {}, 0
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = stat.read_text().rpartition(")")[2].split()
                    parents[int(stat.parent.name)] = int(fields[1])
                except OSError:
                    continue
            for process in parents:
                ancestor = process
                while ancestor in parents and ancestor != os.getpid():
                    ancestor = parents[ancestor]
                if ancestor == os.getpid() and process != os.getpid():
                    try:
                        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
                        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
                    except (OSError, StopIteration):
                        continue
            self.peak = max(self.peak, total // 1024)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


# The report


def machine():
    """Return what the figures were measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {"cpus": os.cpu_count(), "model": model, "memory_gib": round(memory), "kernel": platform.release()}


def head():
    """Return when, on what and with what the figures were measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "os": ENVIRONMENT["OS"],
        "machine": machine(),
        "ansible": command("ansible", "--version").splitlines()[0],
        "revision": command("git", "rev-parse", "--short", "HEAD").strip(),
    }


def median(values):
    """Return the median of *values*, rounded to hundredths."""
    return round(statistics.median(values), 2)


def write(name, result, lines):
    """Write a result as JSON and Markdown, and print it."""
    m = result["machine"]
    first = [
        f"# {name}, {result['date']}", "",
        f"{m['cpus']} CPUs ({m['model']}), {m['memory_gib']} GiB, Linux {m['kernel']};",
        f"{result['ansible']}; revision {result['revision']}.", "",
    ]  # fmt: skip
    stem = RESULTS / f"{result['date']}-{name}"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    stem.with_suffix(".md").write_text("\n".join(first + lines) + "\n")
    print("\n" + stem.with_suffix(".md").read_text())


def table(result):
    """Return the rounds as lines of Markdown."""
    lines = [f"Medians of {result['rounds']} rounds; seconds as the user waits for them.", "", "| what | median | all |", "|---|---:|---|"]
    for name, figures in result["seconds"].items():
        lines.append(f"| {name} | {figures['median']} | {', '.join(map(str, figures['all']))} |")
    lines += ["", *(f"{name}, median of the rounds' own: {value}  " for name, value in result["compared"].items()), ""]
    lines += ["| role | first run, s | second run, s | tasks | tasks on the host | module calls |", "|---|---:|---:|---:|---:|---:|"]
    for role, figures in result["roles"].items():
        lines.append("| " + " | ".join(str(x) for x in (role, *figures.values())) + " |")
    return lines


def one_round(number, roles, seconds, reports, state):
    """Measure everything once.

    :arg number: of the round, for the progress that is printed.
    :arg roles: names of the roles to run alone, or none to leave that out.
    :arg seconds: dict that takes the figures, lists by what was measured.
    :arg reports: dict that takes the reports of ``first`` and ``second`` runs.
    :arg state: directory for what the peers keep.
    """

    def note(name, value):
        seconds.setdefault(name, []).append(value)
        print(f"round {number}: {name} {value}", flush=True)

    fresh()
    listed = variables()
    before = size(listed, "root")
    reports["first"].append(site())
    note("first run", reports["first"][-1]["wall"])
    for _ in range(2):  # the first of the two warms the server's caches, and is not counted
        reports["second"].append(site())
    changed = reports["second"][-1]["hosts"][HOST]["changed"]
    if changed:
        sys.exit("bench: the second run changed something; its time would mean nothing")
    note("second run", reports["second"][-1]["wall"])
    read_state(listed, state)
    note("second run with pyinfra", pyinfra(listed, state))
    site(**mitogen())
    note("second run with mitogen", site(**mitogen())["wall"])
    note("doctor", site("--tags", "verify")["wall"])
    for role in roles:
        note(f"--tags {role}", site("--tags", role)["wall"])
    answers, kernel = starts(listed)
    note("JupyterLab from start to answer", answers)
    note("kernel from start to answer", kernel)
    note("MiB that the first run brings", size(listed, "tom") - before)
    note("the command fenton before it is ssh, in ms", own_time())
    fresh()
    note("plain script", plain())


def paired(seconds, one, other):
    """Return the median of what *one* divided by *other* was in each round: what slows the machine down for a while slows both."""
    return median([round(mine / theirs, 2) for mine, theirs in zip(seconds[one], seconds[other], strict=True)])


def rounds(count):
    """Measure *count* rounds and write the result."""
    make_peers()
    seconds, reports = {}, {"first": [], "second": []}
    roles = ("base", "ssh", "session", "ddns", "notify", "tls", "anaconda", "jupyter", "exporters", "monitoring", "dashboard")
    with tempfile.TemporaryDirectory() as directory:
        for number in range(1, count + 1):
            one_round(number, roles, seconds, reports, Path(directory))
    gone()
    first, second = reports["first"], reports["second"]
    m = {name: median(values) for name, values in seconds.items()}
    result = {
        **head(),
        "rounds": count,
        "seconds": {name: {"median": m[name], "all": values} for name, values in seconds.items()},
        "compared": {
            "first run ÷ plain script": paired(seconds, "first run", "plain script"),
            "second run ÷ pyinfra": paired(seconds, "second run", "second run with pyinfra"),
        },
        "roles": {
            role: {
                "first": median([run["roles"][role]["seconds"] for run in first]),
                "second": median([run["roles"][role]["seconds"] for run in second]),
                **counts(second[-1])[role],
            }
            for role in second[-1]["roles"]
            if role in first[0]["roles"]
        },
    }
    write(result["os"], result, table(result))


FEW = 4


def fleet(count, caches):
    """Measure many servers at once: they share this machine's processors with the control node.

    :arg count: of servers.
    :arg caches: variables that name caches near by, for every server.
    """
    people = [{"name": "tom", "keys": [(WORK / "id_ed25519.pub").read_text().strip()]}]

    def inventory(hosts, **more):
        """Write an inventory of so many workbenches and return what :func:`site` is given for it."""
        names = [f"node{number:02}" for number in range(1, hosts + 1)]
        variables = {"base_administrators": people, "base_timezone": "Etc/UTC", "tensorflow_environments": [], **caches, **more}
        group = {"children": {"servers": {"children": {"workbenches": {"hosts": dict.fromkeys(names, variables)}}}}}
        file = WORK / f"fleet{hosts}.yml"
        file.write_text(json.dumps({"all": group}))
        return {"inventory": str(file), "limit": "all"}

    need, has = 8 * count, int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if has < need:
        way = f"run `sysctl fs.inotify.max_user_instances={need}`, or name fewer servers, `scripts/bench-fleet {has // 8}`"
        sys.exit(f"bench: this machine lets root watch too little for {count} servers: {way}")
    # The first run of a few. Twenty would keep two processors busy with dpkg for half an hour, which says nothing about twenty servers.
    few = inventory(FEW)
    fresh(few["inventory"])
    with Memory() as memory:
        first = site(**few)
    print(f"first run of {FEW} {first['wall']} s, {memory.peak} MiB", flush=True)
    after = f"fenton-bench:{ENVIRONMENT['OS']}-after"
    command("docker", "commit", "fenton-bench-node01", after)
    # All of them as one was after its first run; the run that follows gives each its own certificates.
    given = inventory(count, container_image=after)
    fresh(given["inventory"])
    site(**given)
    seconds = {"one host, second run": [], f"{count} hosts, second run": []}
    control = {name: [] for name in seconds}
    with Memory() as memory:
        for _ in range(5):
            for name, where in zip(seconds, ({**given, "limit": "node01"}, given), strict=True):
                report = site(**where)
                seconds[name].append(report["wall"])
                control[name].append(report["control"])
            if any(host["changed"] or host["failures"] or host["unreachable"] for host in report["hosts"].values()):
                sys.exit("bench: the second run changed something; its time would mean nothing")
    gone()
    command("docker", "image", "rm", after)
    m = {name: median(values) for name, values in seconds.items()}
    one, all_hosts = m.values()
    result = {
        **head(), "hosts": count, "caches": sorted(caches), "first_run": first["wall"], "seconds": seconds, "control": control,
        "ratio": round(all_hosts / one, 2), "memory_mib": memory.peak,
    }  # fmt: skip
    through = f"through {' and '.join(sorted(caches))}" if caches else "without a cache"
    lines = [
        f"{count} servers and the control node share the processors named above.",
        f"The first run was measured once, with {FEW} hosts ({through}), the second five times.", "",
        "| what | median | all |", "|---|---:|---|", f"| first run, {FEW} hosts | {first['wall']} | |",
        *(f"| {name} | {m[name]} | {', '.join(map(str, values))} |" for name, values in seconds.items()), "",
        f"{count} hosts ÷ one host: {result['ratio']}  ",
        f"Processor time of the control node: {' and '.join(f'{median(times)} s' for times in control.values())}  ",
        f"Memory on the control node (PSS of all its processes, peak): {memory.peak} MiB",
    ]  # fmt: skip
    write(f"{result['os']}-fleet", result, lines)


# The gate


def counts(report):
    """Return by role how many tasks a run had, how many touched the host, and with how many module calls."""
    return {role: {key: entry[key] for key in ("tasks", "on_host", "calls")} for role, entry in report["roles"].items()}


def over(found, budget):
    """Return a sentence for each count of *found* that is above *budget*; both as from :func:`counts`."""
    return [
        f"{role}: {entry[key]} {key.replace('on_host', 'tasks on the host')} in a run that changes nothing, the budget is {allowed}; "
        "do more in one call, or raise it in benchmarks/budget.json and say why in the commit"
        for role, entry in found.items()
        for key in entry
        if entry[key] > (allowed := budget.get(role, {}).get(key, 0))
    ]


def check(update):
    """Compare the second run with the budget; with *update*, write the budget instead."""
    fresh()
    site()
    report = site()
    gone()
    if update:
        BUDGET.write_text(json.dumps(counts(report), indent=2) + "\n")
        return
    problems = over(counts(report), json.loads(BUDGET.read_text()))
    print("\n".join(problems) or "The second run is within its budget.")
    sys.exit(bool(problems))


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (%(default)s)")
    parser.add_argument("--fleet", type=int, metavar="N", help="measure N servers at once instead")
    parser.add_argument("--apt-proxy", metavar="URL", help="with --fleet: base_apt_proxy of the servers")
    parser.add_argument("--index", metavar="URL", help="with --fleet: anaconda_index of the servers")
    parser.add_argument("--check", action="store_true", help="count what a second run does and compare it with the budget")
    parser.add_argument("--update", action="store_true", help="with --check: write the budget")
    options = parser.parse_args()
    if options.check:
        check(options.update)
    elif options.fleet:
        caches = {"base_apt_proxy": options.apt_proxy, "anaconda_index": options.index}
        fleet(options.fleet, {name: url for name, url in caches.items() if url})
    else:
        rounds(options.rounds)


if __name__ == "__main__":
    main()
