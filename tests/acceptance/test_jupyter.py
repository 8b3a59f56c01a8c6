"""JupyterLab as its users meet it: from another machine, over HTTPS, with a password."""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import time
import urllib.parse
import uuid
from pathlib import Path

import pytest
import requests
import websocket
from browser import browser, choose, find, log_in, missing, wait, wait_for_lab
from conftest import ROOT, SCENARIO, eventually
from selenium.common.exceptions import ElementClickInterceptedException, TimeoutException

NOTEBOOK = Path(__file__).parent / "notebooks/random_forest.ipynb"
PROMPT = ".jp-CodeCell .jp-InputPrompt"
only_here = pytest.mark.skipif(SCENARIO != "jupyter", reason="disturbs the servers, and one scenario is enough for this")


class Lab:
    """One user's JupyterLab, logged in or not."""

    def __init__(self, server, name):
        entry = server.connection["jupyter"][name]
        self.name, self.port = name, entry["port"]
        self.authority = str(server.artifacts / server.connection["ca"])
        self.url = f"https://{server.address}:{self.port}"
        self.password = (server.artifacts / entry["password_file"]).read_text().removesuffix("\n")
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no other authority of the control node
        self.session.verify = self.authority

    def log_in(self, password=None):
        """Send the login form; return the answer."""
        self.session.get(f"{self.url}/login", timeout=20)
        form = {"_xsrf": self.session.cookies["_xsrf"], "password": self.password if password is None else password}
        return self.session.post(f"{self.url}/login?next=/lab", data=form, timeout=20, allow_redirects=False)

    def ask(self, method, path, **options):
        """Call the REST interface; return the answer."""
        headers = {"X-XSRFToken": self.session.cookies.get("_xsrf", "")}
        return self.session.request(method, f"{self.url}{path}", headers=headers, timeout=60, **options)

    @contextlib.contextmanager
    def socket(self, path, **options):
        """Open a websocket with the cookies of the session."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.session.cookies)
        options |= {"sslopt": {"ca_certs": self.authority}, "timeout": 120}
        link = websocket.create_connection(f"{self.url.replace('https', 'wss', 1)}{path}", cookie=cookies, **options)
        try:
            yield link
        finally:
            link.close()

    def kernel(self):
        """Start a kernel, Python (science) where there is one; return its id."""
        known = self.ask("GET", "/api/kernelspecs").json()["kernelspecs"]
        answer = self.ask("POST", "/api/kernels", json={"name": "science"} if "science" in known else {})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def run(self, kernel, code):
        """Run *code* in a kernel over a websocket; return its outputs as a notebook keeps them."""
        header = {
            "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex, "username": "", "version": "5.3",
            "date": "",
        }  # fmt: skip
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        outputs, states = [], set()
        with self.socket(f"/api/kernels/{kernel}/channels?session_id={header['session']}") as link:
            link.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}))
            while states != {"reply", "idle"}:
                message = json.loads(link.recv())
                if message["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind in ("stream", "execute_result", "display_data", "error"):
                    content.pop("transient", None)
                    outputs.append({"output_type": kind, **content})
                elif kind == "execute_reply":
                    states.add("reply")
                elif kind == "status" and content["execution_state"] == "idle":
                    states.add("idle")
        return outputs

    def text(self, kernel, code):
        """Run *code*; return what it printed, or how it failed."""
        outputs = self.run(kernel, code)
        return "".join(output.get("text", "") or "\n".join(output.get("traceback", [])) for output in outputs)

    def type(self, line, until, seconds=30):
        """Type *line* into a new terminal; return the match of *until* in what comes back."""
        terminal = self.ask("POST", "/api/terminals").json()["name"]
        screen, end = "", time.monotonic() + seconds
        with self.socket(f"/terminals/websocket/{terminal}") as link:
            link.settimeout(seconds)
            link.send(json.dumps(["stdin", f"{line}\r"]))
            while not re.search(until, screen) and time.monotonic() < end:
                kind, *rest = json.loads(link.recv())
                screen += rest[0] if kind == "stdout" else ""
        self.ask("DELETE", f"/api/terminals/{terminal}")
        return re.search(until, screen)


@pytest.fixture(scope="module", autouse=True)
def answering(server):
    """Wait, as a person would, until the servers answer: after a reboot they start when the machine already says it is up."""
    for entry in server.connection["jupyter"].values():
        for _ in range(60):
            try:
                socket.create_connection((server.address, entry["port"]), timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)


@pytest.fixture(scope="module")
def names(server):
    return list(server.connection["jupyter"])


@pytest.fixture
def lab(server, names):
    """Return the first user's JupyterLab, logged in; its kernels end with the test."""
    one = Lab(server, names[0])
    assert one.log_in().status_code == 302
    yield one
    one.log_in()  # a restart in the test may have ended the session
    for kernel in one.ask("GET", "/api/kernels").json():
        one.ask("DELETE", f"/api/kernels/{kernel['id']}")


def main_pid(server, name):
    return server.docker("systemctl", "show", "-P", "MainPID", f"jupyter@{name}").stdout.strip()


def said(done):
    """Return what a run printed, with the line breaks of its layout taken out."""
    return " ".join(done.stdout.split())


def test_the_right_password_opens(server, names):
    for name in names:
        answer = Lab(server, name).log_in()
        assert (answer.status_code, answer.headers["location"]) == (302, "/lab")


@pytest.mark.attempt("Intrusion", "a wrong or empty password at JupyterLab", "refused")
def test_a_wrong_password_does_not(server, names):
    for wrong in ("wrong", "", " "):
        assert Lab(server, names[0]).log_in(wrong).status_code == 401


def test_one_users_password_does_not_open_anothers_server(server, names):
    if len(names) < 2:
        pytest.skip("this scenario has one user")
    assert Lab(server, names[1]).log_in(Lab(server, names[0]).password).status_code == 401


@pytest.mark.attempt("Intrusion", "JupyterLab's interfaces without a login, or with an empty token", "refused")
def test_without_the_cookie_nothing_is_given(server, names):
    stranger = Lab(server, names[0])
    for path in ("/api/contents", "/api/kernels", "/api/terminals", "/api/contents?token=", "/api/metrics/v1", "/metrics"):
        assert stranger.ask("GET", path).status_code == 403, path
    assert "/login" in stranger.session.get(f"{stranger.url}/lab", timeout=20, allow_redirects=False).headers["location"]
    with pytest.raises(websocket.WebSocketBadStatusException), stranger.socket("/terminals/websocket/1"):
        pass


def test_plain_http_is_not_spoken(server, names):
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{server.address}:{Lab(server, names[0]).port}/", timeout=20)


def shake_hands(server, port, name, **versions):
    """Connect trusting ca.pem alone; return protocol and certificate."""
    context = ssl.create_default_context(cafile=server.artifacts / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for attribute, value in versions.items():
        setattr(context, attribute, value)
    with socket.create_connection((server.address, port), 10) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        return tls.version(), tls.getpeercert()


def test_the_chain_is_valid_under_every_name(server, names):
    port = Lab(server, names[0]).port
    for name in (server.address, server.name, "localhost", "127.0.0.1", "::1"):
        assert shake_hands(server, port, name)[0] == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, port, "another.example.org")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_older_than_tls_1_2_is_spoken(server, names):
    port = Lab(server, names[0]).port
    assert shake_hands(server, port, server.name, maximum_version=ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((server.address, port), 10) as plain, pytest.raises(OSError, match="(?i)alert|version|reset|eof"):
        context.wrap_socket(plain)


def attributes(answer):
    """Return by name what is said about each cookie that an answer sets."""
    cookies = [line.split("; ") for line in answer.raw.headers.getlist("Set-Cookie")]
    return {first.partition("=")[0]: {each.lower() for each in rest} for first, *rest in cookies}


@pytest.mark.attempt("Intrusion", "a page of another site shows JupyterLab in a frame", "browsers refuse: frame-ancestors 'self'")
def test_no_other_site_frames_a_page(lab):
    for path in ("/login", "/lab", "/lab/tree/x", "/api/status", "/no/such/page", "/static/favicon.ico"):
        policy = lab.ask("GET", path).headers["content-security-policy"]
        assert "frame-ancestors 'self'" in policy.split("; "), path


@pytest.mark.attempt("Intrusion", "a link to JupyterLab's login that leads to another site afterwards", "leads to JupyterLab itself")
@pytest.mark.parametrize("logged_in", [False, True])
def test_a_login_leads_to_no_other_site(server, names, lab, logged_in):
    targets = [
        "//evil.example.org",
        "///evil.example.org/",
        "https://evil.example.org",
        "https:evil.example.org",
        "http:///evil.example.org",
    ]
    targets += ["\\\\evil.example.org", "/\\evil.example.org", "/\t/evil.example.org", "/%2f/evil.example.org", "javascript:alert(1)"]
    form = {"_xsrf": lab.session.cookies["_xsrf"], "password": lab.password}
    for target in targets:
        how = ("GET", {}) if logged_in else ("POST", {"data": form})
        answer = lab.session.request(how[0], f"{lab.url}/login", params={"next": target}, timeout=20, allow_redirects=False, **how[1])
        # Browsers take a backslash for a slash and leave tabs out.
        location = answer.headers.get("location", "/").replace("\\", "/").replace("\t", "")
        assert urllib.parse.urljoin(lab.url, location).startswith(f"{lab.url}/"), (target, location)
        assert answer.status_code == 302 or not answer.ok, target


@pytest.mark.attempt("Intrusion", "a request to JupyterLab under a name that is not its own", "nothing in the answer is made of that name")
def test_a_foreign_host_name_comes_back_nowhere(server, names):
    lab = Lab(server, names[0])
    for path in ("/", "/login", "/lab", "/tree", "/no/such/page"):
        answer = lab.session.get(f"{lab.url}{path}", headers={"Host": "evil.example.org"}, timeout=20, allow_redirects=False)
        assert "evil.example.org" not in answer.text + str(answer.headers), path


@pytest.mark.attempt("Intrusion", "a websocket to JupyterLab, with the cookies of who is logged in, from a page of another site", "refused")
def test_a_websocket_of_another_site_is_refused(lab):
    terminal = lab.ask("POST", "/api/terminals").json()["name"]
    paths = [f"/terminals/websocket/{terminal}", f"/api/kernels/{lab.kernel()}/channels", "/api/events/subscribe", f"/proxy/{lab.port}/lab"]
    for path in paths:
        for origin in ("https://evil.example.org", f"https://evil.example.org:{lab.port}", "null"):
            with pytest.raises(websocket.WebSocketBadStatusException) as refused, lab.socket(path, origin=origin):
                pass
            assert refused.value.status_code == 403, path
    with lab.socket(paths[0]) as link:
        assert json.loads(link.recv())
    lab.ask("DELETE", f"/api/terminals/{terminal}")


@pytest.mark.attempt("Intrusion", "a form of another site that starts a terminal with the cookies of who is logged in", "refused")
def test_a_form_of_another_site_does_nothing(lab):
    for headers in ({}, {"Origin": "https://evil.example.org"}, {"X-XSRFToken": "guessed"}):
        answer = lab.session.post(f"{lab.url}/api/terminals", headers=headers, timeout=20)
        assert answer.status_code in (403, 404), headers
    assert lab.ask("GET", "/api/terminals").json() == []


@pytest.mark.attempt(
    "Intrusion", "JupyterLab's cookies read by a script, without TLS, or sent by another site", "Secure, HttpOnly, SameSite"
)
def test_cookies_stay_where_they_belong(server, names):
    stranger = Lab(server, names[0])
    first = attributes(stranger.session.get(f"{stranger.url}/login", timeout=20))
    # JupyterLab's own script reads this one.
    assert {"secure", "samesite=lax"} <= first["_xsrf"]
    given = {name: said for name, said in attributes(stranger.log_in()).items() if name != "_xsrf"}
    assert given
    for said in given.values():
        assert {"secure", "httponly", "samesite=lax"} <= said


@pytest.mark.attempt("Intrusion", "asking JupyterLab's pages for the version of the web server", "not told")
def test_no_version_is_told(server, names):
    stranger = Lab(server, names[0])
    for path in ("/login", "/lab", "/no/such/page", "/static/favicon.ico"):
        answer = stranger.session.get(f"{stranger.url}{path}", timeout=20)
        assert answer.headers["server"] == "JupyterLab"
        assert not re.search(r"(?i)tornado|jupyter[_ ]server[/ ]\d", answer.text), path


def test_a_notebook_runs_over_the_network_on_all_cores(server, lab):
    notebook = json.loads(NOTEBOOK.read_text())
    kernel = lab.kernel()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = lab.run(kernel, "".join(cell["source"]))
            assert not [o for o in cell["outputs"] if o["output_type"] == "error"], cell["outputs"][-1]["traceback"]
    printed = json.dumps(notebook)
    cores = int(server.docker("nproc").stdout)
    assert f"All {cores} cores worked." in printed
    # Shares, not seconds: other scenarios may use the same cores at this moment.
    assert f"{cores} threads shared the work" in printed
    assert "image/png" in printed


def test_files_go_up_and_come_down_unharmed(lab):
    content = os.urandom(300_000)
    model = {"type": "file", "format": "base64", "content": base64.b64encode(content).decode()}
    assert lab.ask("PUT", "/api/contents/fenton-test.bin", json=model).status_code == 201
    assert lab.ask("GET", "/files/fenton-test.bin").content == content
    assert lab.ask("DELETE", "/api/contents/fenton-test.bin").status_code == 204


def test_a_terminal_is_a_login_of_the_user(server, lab):
    assert lab.type("echo I am $(id -un) at $((6*7))", rf"I am {lab.name} at 42")
    home = server.docker("getent", "passwd", lab.name).stdout.split(":")[5]
    assert lab.type('echo "[$PWD]"', re.escape(f"[{home}]"))


def test_memory_and_cpu_are_there_for_the_browser(lab):
    told = lab.ask("GET", "/api/metrics/v1").json()
    assert told["rss"] > 0
    assert told["limits"]["memory"]["rss"] > told["rss"]
    assert told["limits"]["cpu"]["cpu"] == pytest.approx(told["cpu_count"])


def test_the_servers_own_environment_is_no_kernel(lab):
    specs = lab.ask("GET", "/api/kernelspecs").json()["kernelspecs"]
    assert specs
    assert not [spec for spec in specs.values() if "/envs/jupyter/" in spec["spec"]["argv"][0]]


@pytest.mark.once
def test_a_kernel_lives_through_a_second_run(server, lab):
    kernel, before = lab.kernel(), main_pid(server, lab.name)
    lab.text(kernel, "kept = 6 * 7")
    done = server.playbook()
    assert done.returncode == 0, done.stdout
    assert re.search(r"changed=0\b", done.stdout), done.stdout
    assert main_pid(server, lab.name) == before
    assert lab.text(kernel, "print(kept)") == "42\n"


# Eats memory in the background, page by page, 12 GB at most.
GREEDY = """
import os, threading, time
eaten = []
def eat():
    for _ in range(48):
        eaten.append(b"x" * (256 << 20))
        time.sleep(0.05)
threading.Thread(target=eat, daemon=True).start()
print(os.getpid())
"""


@pytest.mark.attempt("Storage", "memory ends, and the largest program is a JupyterLab server", "a kernel is chosen, not the server")
def test_memory_is_taken_from_kernels_not_from_the_server(server, lab):
    if server.docker("systemctl", "is-active", "earlyoom").returncode:
        pytest.skip("no earlyoom here: shown where the whole site is")
    pid = lab.text(lab.kernel(), "import os; print(os.getpid())").strip()
    # It chooses, and leaves it at that; the server is larger than a kernel that has done nothing.
    done = server.docker("sh", "-c", ". /etc/default/earlyoom; eval timeout 3 earlyoom $EARLYOOM_ARGS -m 99 -s 100 --dryrun 2>&1")
    chosen = set(re.findall(r"to process (\d+)", done.stdout))
    assert chosen
    assert main_pid(server, lab.name) not in chosen, done.stdout
    assert all(server.docker("cat", f"/proc/{each}/comm").stdout.strip() == "python" for each in chosen), (pid, done.stdout)


# Beside another scenario that takes memory meanwhile the calm kernel may end too.
@pytest.mark.long
@pytest.mark.once
@pytest.mark.attempt("Storage", "a notebook takes all memory", "its kernel ends; sshd, the server and other kernels do not")
def test_a_notebook_that_takes_all_memory_ends_alone(server, lab):
    if server.docker("systemctl", "is-active", "earlyoom").returncode:
        pytest.skip("no earlyoom here: shown where the whole site is")
    free = int(re.search(r"MemAvailable: +(\d+)", server.docker("cat", "/proc/meminfo").stdout)[1])
    if free < 14 << 20:
        pytest.skip("too little memory to take 6 GB of it")
    # The memory is that of this whole machine: as if it ended 6 GB from here.
    settings = f"[Service]\nExecStart=\nExecStart=/usr/bin/earlyoom -M {free - (6 << 20)} $EARLYOOM_ARGS -m 99\n"
    drop_in = "mkdir -p /run/systemd/system/earlyoom.service.d; cat >/run/systemd/system/earlyoom.service.d/test.conf"
    again = "systemctl daemon-reload && systemctl restart earlyoom"
    assert server.docker("sh", "-c", f"printf '%s' '{settings}' | ({drop_in}) && {again}").returncode == 0
    try:
        calm, greedy = lab.kernel(), lab.kernel()
        lab.text(calm, "kept = 6 * 7")
        before = main_pid(server, lab.name)
        pid = lab.text(greedy, GREEDY).strip()
        eventually(lambda: server.docker("test", "-d", f"/proc/{pid}").returncode, 90)
        assert server.ssh("true").returncode == 0
        assert main_pid(server, lab.name) == before
        assert lab.text(calm, "print(kept)") == "42\n"
        assert f"process {pid}" in server.docker("journalctl", "-q", "-u", "earlyoom").stdout
    finally:
        server.docker("sh", "-c", f"rm -r /run/systemd/system/earlyoom.service.d; {again}")


@pytest.mark.attempt(
    "Certificates",
    "the host renews JupyterLab's certificate by itself while a kernel holds a variable",
    "new connections see the new certificate; the kernel has its variable, the open connection goes on, no process is another one",
)
@pytest.mark.once
@only_here
def test_a_certificate_is_renewed_under_a_running_kernel(server, lab):
    kernel, before = lab.kernel(), main_pid(server, lab.name)
    lab.text(kernel, "import os; kept = 6 * 7")
    process = lab.text(kernel, "print(os.getpid())")
    # One whose life is nearly over takes its place; what the host knows of it is as before.
    old = "w=/etc/fenton/tls/wanted/jupyter.json; cp $w /tmp/wanted && rm /etc/fenton/tls/jupyter/fullchain.pem && "
    old += """sed -E 's/"days": [0-9]+/"days": 2/' $w | fenton-certificate jupyter && cp /tmp/wanted $w"""
    assert server.docker("sh", "-ec", old).returncode == 0
    shown = shake_hands(server, lab.port, server.name)[1]
    with lab.socket(f"/api/kernels/{kernel}/channels") as link:
        done = server.docker("systemctl", "start", "fenton-certificate.service")
        assert done.returncode == 0, done.stderr
        renewed = shake_hands(server, lab.port, server.name)[1]
        assert renewed["serialNumber"] != shown["serialNumber"]
        assert ssl.cert_time_to_seconds(renewed["notAfter"]) - time.time() > 390 * 86400
        assert ssl.cert_time_to_seconds(shown["notAfter"]) - time.time() < 2 * 86400
        link.ping()
        assert link.connected
    fresh = Lab(server, lab.name)
    assert fresh.log_in().status_code == 302
    for one in (lab, fresh):
        assert one.text(kernel, "print(kept, os.getpid())") == f"42 {process}"
    assert main_pid(server, lab.name) == before


# What the server itself gets from a page: its status and its text. Python is there, curl may not be.
FETCH = """
import ssl, sys, urllib.error, urllib.request
context = ssl._create_unverified_context()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
try:
    answer = opener.open(sys.argv[1], timeout=5)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.status, answer.read().decode())
"""


@only_here
def test_metrics_are_there_for_the_host_alone(server, names, lab):
    def fetch(url):
        return server.docker("python3", "-c", FETCH, url).stdout

    lab.ask("POST", "/api/kernels", json={"name": "science"}) if not lab.ask("GET", "/api/kernels").json() else None
    for name in names:
        port = server.connection["jupyter"][name]["port"] + 10000
        text = fetch(f"http://127.0.0.1:{port}/metrics")
        assert re.search(r"^jupyter_server_started_timestamp_seconds ", text, re.M), text[:500]
        assert server.docker("sh", "-c", f"ss -Hltn 'sport = :{port}' | awk '{{ print $4 }}'").stdout == f"127.0.0.1:{port}\n"
        # Jupyter's own page of them still wants a login.
        assert fetch(f"https://127.0.0.1:{port - 10000}/metrics").startswith("403 ")
    port = lab.port + 10000
    text = fetch(f"http://127.0.0.1:{port}/metrics")
    assert re.search(r'^kernel_currently_running_total{type="science"} [1-9]', text, re.M), text[:500]


def test_the_server_is_not_root_and_only_root_reads_the_passwords(server, names):
    for name in names:
        assert server.docker("ps", "-o", "user:32=", "-p", main_pid(server, name)).stdout.strip() == name
        for other in {*names, "nobody"}:
            reading = server.docker("runuser", "-u", other, "--", "cat", f"/etc/jupyter/servers/{name}.py", f"/run/jupyter/{name}.py")
            assert ("argon2" in reading.stdout) == (other == name)


def insist(driver, menu, entry, done):
    """Choose an entry of a menu until it is *done*.

    On a busy machine JupyterLab may still be moving under the pointer, or miss its server for a moment: a click that hit nothing is
    repeated, and what asks something, such as the entry beside the right one, is told no, or closed.
    """
    for _ in range(4):
        for dialog in driver.find_elements("css selector", ".jp-Dialog"):
            (dialog.find_elements("css selector", ".jp-mod-reject") or dialog.find_elements("css selector", ".jp-mod-accept"))[0].click()
        with contextlib.suppress(TimeoutException, ElementClickInterceptedException):
            choose(driver, menu, entry)
            return wait(driver, done, 15)
    return pytest.fail(f"{menu} > {entry} does nothing; the page shows: {find(driver, 'body').text[-2000:]}")


@pytest.mark.once
def test_a_browser_logs_in_without_a_warning(lab, tmp_path):
    if missing():
        pytest.skip(f"no browser here: apt-get install {missing()}")
    notebook = json.loads(NOTEBOOK.read_text())
    assert lab.ask("PUT", f"/api/contents/{NOTEBOOK.name}", json={"type": "notebook", "content": notebook}).status_code in (200, 201)
    with browser(tmp_path, lab.authority) as driver:
        log_in(driver, f"{lab.url}/lab/tree/{NOTEBOOK.name}", lab.password)
        wait_for_lab(driver)
        wait(driver, lambda d: find(d, ".jp-Notebook .jp-CodeCell"))
        # The kernel of the notebook's metadata must have been taken without asking, and be ready.
        wait(driver, lambda d: find(d, ".jp-NotebookPanel-toolbar [data-status='idle']"))
        assert not driver.find_elements("css selector", ".jp-Dialog")
        ran = r"\[(\*|\d+)\]"
        insist(driver, "Run", "Run All Cells", lambda d: re.search(ran, " ".join(p.text for p in d.find_elements("css selector", PROMPT))))
        try:
            wait(driver, lambda d: find(d, ".jp-OutputArea-output img"), 120)
        except TimeoutException:
            pytest.fail(f"the notebook drew no picture; it shows: {find(driver, '.jp-Notebook').text[-3000:]}")
        # CPU and memory are asked for every five seconds.
        page = wait(driver, lambda d: (text := d.find_element("css selector", "body").text) and re.search(r"CPU:\s*[0-9.]", text) and text)
        insist(driver, "File", "Save Notebook", lambda d: not d.find_elements("css selector", ".lm-TabBar-tab.jp-mod-dirty"))
        driver.execute_script("arguments[0].scrollIntoView({block: 'end'})", find(driver, ".jp-OutputArea-output img"))
        time.sleep(1)  # for the eye only: what moves has come to rest
        driver.save_screenshot(tmp_path / "jupyterlab.png")
        assert "JupyterLab" in driver.title or NOTEBOOK.stem in driver.title
        assert "cores worked." in page
        assert re.search(r"CPU:\s*[0-9.]+", page), "CPU is shown"
        assert re.search(r"Mem:\s*[0-9.]+ / [0-9.]+ .B", page), "memory is shown, out of what the machine has"
        if os.environ.get("FENTON_SCREENSHOTS"):
            shutil.copy(tmp_path / "jupyterlab.png", ROOT / "docs/jupyterlab.png")
    lab.ask("DELETE", f"/api/contents/{NOTEBOOK.name}")


@pytest.mark.once
@only_here
def test_sudo_works_in_a_terminal(server, lab):
    rule = f"echo '{lab.name} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/fenton-test"
    server.docker("sh", "-c", rule)
    try:
        assert lab.type("echo I am $(sudo -n id -un) now", r"I am root now")
        # Mounts and installed packages are those of the whole machine, not of the service alone.
        assert lab.type("sudo touch /usr/fenton-test && echo could write $((1+1))", "could write 2")
        assert server.docker("rm", "/usr/fenton-test").returncode == 0
    finally:
        server.docker("rm", "/etc/sudoers.d/fenton-test")


@pytest.mark.once
@only_here
def test_a_users_broken_environment_does_not_break_the_server(server, names):
    name = names[-1]
    broken = (
        "for v in 3.10 3.11 3.12 3.13 3.14; do d=~/.local/lib/python$v/site-packages; mkdir -p $d;"
        "echo 'raise SystemExit(9)' | tee $d/tornado.py $d/sitecustomize.py ~/jupyterlab.py ~/random.py >/dev/null; done"
    )
    mend = "rm -rf ~/.local/lib ~/jupyterlab.py ~/random.py"
    server.docker("runuser", "-l", name, "-c", broken)
    try:
        server.docker("systemctl", "restart", f"jupyter@{name}")
        lab = Lab(server, name)
        for _ in range(60):
            with contextlib.suppress(requests.ConnectionError):
                assert lab.log_in().status_code == 302
                return
            time.sleep(0.5)
        pytest.fail("the server does not answer")
    finally:
        server.docker("runuser", "-l", name, "-c", mend)


@pytest.mark.once
@only_here
def test_a_change_waits_for_kernels_or_says_how_many_it_ends(server, lab):
    kernel, before = lab.kernel(), main_pid(server, lab.name)
    lab.text(kernel, "kept = 6 * 7")
    # As a run leaves it that was killed between writing the configuration and restarting.
    server.docker("sh", "-c", f"echo '# older' >>/run/jupyter/{lab.name}.py")
    done = server.playbook("--tags", "jupyter", "-e", "jupyter_restart=idle")
    assert done.returncode == 0, done.stdout
    assert f"The server of {lab.name} runs 1 kernel(s). It keeps its old configuration" in said(done)
    assert lab.text(kernel, "print(kept)") == "42\n"
    assert main_pid(server, lab.name) == before
    done = server.playbook("--tags", "jupyter")
    assert f"The server of {lab.name} runs 1 kernel(s). Its configuration changed: it restarts now" in said(done)
    assert main_pid(server, lab.name) != before
    assert lab.log_in().status_code == 302


@pytest.mark.attempt("Users", "a person loses JupyterLab while another computes", "the other's server and kernel go on")
@pytest.mark.attempt("Users", "a second person gets JupyterLab while the first computes", "the first one's server and kernel go on")
@pytest.mark.once
@only_here
def test_a_removed_user_loses_the_server_and_nobody_else_anything(server, names, lab):
    gone = names[-1]
    kernel, before = lab.kernel(), main_pid(server, lab.name)
    lab.text(kernel, "kept = 6 * 7")
    left = [{"name": name, "port": Lab(server, name).port} for name in names if name != gone]
    done = server.playbook("--tags", "jupyter", "-e", json.dumps({"jupyter_users": left}))
    assert done.returncode == 0, done.stdout
    assert server.docker("systemctl", "is-active", f"jupyter@{gone}").stdout.strip() == "inactive"
    assert server.docker("systemctl", "is-enabled", f"jupyter@{gone}").stdout.strip() == "disabled"
    assert server.docker("ls", "/etc/jupyter/servers", "/run/jupyter").stdout.count(gone) == 0
    assert not (server.artifacts / f"jupyter-password-{gone}").exists()
    assert gone not in server.connection["jupyter"]
    assert server.docker("getent", "passwd", gone).returncode == 0
    assert lab.text(kernel, "print(kept)") == "42\n"
    assert server.playbook("--tags", "jupyter").returncode == 0
    assert Lab(server, gone).log_in().status_code == 302
    assert lab.text(kernel, "print(kept)") == "42\n"
    assert main_pid(server, lab.name) == before


@pytest.mark.attempt(
    "Users", "one person's password is changed", "that server alone restarts; old cookies and the old password are refused"
)
@pytest.mark.once
@only_here
def test_a_new_password_changes_one_server_and_ends_its_sessions(server, names, lab):
    other = Lab(server, names[-1])
    assert other.log_in().status_code == 302
    assert other.ask("GET", "/api/kernels").status_code == 200
    kernel, pids = lab.kernel(), {name: main_pid(server, name) for name in names}
    lab.text(kernel, "kept = 6 * 7")
    users = [{"name": name, "port": Lab(server, name).port} for name in names]
    users[-1]["password"] = "another horse battery"
    try:
        done = server.playbook("--tags", "jupyter", "-e", json.dumps({"jupyter_users": users}))
        assert done.returncode == 0, done.stdout
        assert [name for name in names if main_pid(server, name) != pids[name]] == [other.name]
        assert other.ask("GET", "/api/kernels").status_code == 403
        assert other.log_in().status_code == 401
        assert other.log_in("another horse battery").status_code == 302
        assert lab.text(kernel, "print(kept)") == "42\n"
    finally:
        assert server.playbook("--tags", "jupyter").returncode == 0
    assert main_pid(server, lab.name) == pids[lab.name]


@pytest.mark.once
@only_here
def test_passwords_are_never_printed(server, names):
    users = [{"name": name, "port": Lab(server, name).port} for name in names]
    users[-1]["password"] = "correct horse battery"
    before = [Lab(server, name).password for name in names]
    try:
        done = server.playbook("--tags", "jupyter", "-vvv", "--diff", "-e", json.dumps({"jupyter_users": users}))
        assert done.returncode == 0, done.stdout
        # -e itself stands in the command line that the test gave; nothing else may.
        printed = done.stdout + done.stderr
        for secret in (*before, "correct horse battery", "argon2id$v", "PRIVATE KEY"):
            assert secret not in printed
    finally:
        assert server.playbook("--tags", "jupyter").returncode == 0


@pytest.mark.once
@only_here
@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        ([("ada", 8888), ("tom", 8888)], "jupyter_users: port 8888 is used by both ada and tom; give one of them another port"),
        ([("root", 8888)], "jupyter_users: root must not run notebooks"),
        ([("Ada Lovelace", 8888)], "jupyter_users: 'Ada Lovelace' is no user name that Linux accepts"),
        ([("ada", 80)], "jupyter_users: port 80 of ada is not between 1024 and 65535"),
        ([("ada", 8888), ("ada", 8889)], "jupyter_users: ada is there twice"),
        ([("ada", 8888), ("grace", 8889)], "jupyter_users: grace was removed from fenton"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(server, users, sentence):
    entries = [dict(zip(("name", "port"), user, strict=True)) for user in users]
    done = server.playbook("-e", json.dumps({"jupyter_users": entries, "jupyter_removed": ["grace"]}))
    assert done.returncode != 0
    assert sentence in said(done)
    assert "changed=0" in done.stdout
