"""The laptop's command where no server is needed: its words, its shells, and a laptop that looks like macOS."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "roles/client/files/fenton"
# macOS runs /bin/sh scripts with bash 3.2 in its POSIX mode, Debian with dash.
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"]}

# What the command may use on the laptop, with the options that BSD's (macOS 14) and GNU's manuals both have.
TOOLS = {
    "cat": "", "cut": "bcdfs", "date": "u", "env": "iu", "grep": "cEeFiLlnqvwxhos", "head": "nc", "kill": "0123456789sl", "ls": "AaldF1",
    "mkdir": "pm", "mktemp": "dqu", "mount": "t", "pwd": "PL", "rm": "rf", "sed": "neE", "sleep": "", "tail": "ncf", "tr": "cds",
    "uname": "asmrn",
}  # fmt: skip
GUARD = """#!/bin/sh
for word; do
  case $word in
    --) break ;;
    --*) echo "{name}: illegal option -- $word" >&2; exit 64 ;;
    -*[!{allowed}-]*) {check}
    -*) ;;
    *) break ;;
  esac
done
exec {real} "$@"
"""
STRICT = 'echo "{name}: illegal option -- $word" >&2; exit 64 ;;'
# What macOS answers where Linux answers otherwise.
FAKES = {
    "uname": "echo Darwin",
    "mount": 'cat "$HOME/mounts"',
    "open": 'echo "opened $1"',
    "ssh": 'echo "ssh $*" >>"$HOME/calls"',
    "sshfs": 'echo "sshfs $*" >>"$HOME/calls"; echo "fenton: on $HOME/fenton (macfuse, nodev, nosuid)" >"$HOME/mounts"',
    "umount": ': >"$HOME/mounts"',
    "diskutil": 'echo "diskutil $*" >>"$HOME/calls"; : >"$HOME/mounts"',
}
# No tunnel runs yet, and every one can be opened.
FAKE_TUNNEL = """#!/bin/sh
case "$*" in *'-O check'*) exit 255 ;; esac
echo "ssh $*" >>"$HOME/calls"
"""


class Mac:
    """A home with the command in it, and a PATH that holds only what macOS has too."""

    def __init__(self, home, shell):
        self.home, self.shell = home, shell
        self.bin = home / "bin"
        self.bin.mkdir()
        for name, allowed in TOOLS.items():
            check = STRICT.format(name=name) if allowed else "break ;;"
            self.program(name, GUARD.format(name=name, allowed=allowed or "x", check=check, real=shutil.which(name)))
        for name, text in FAKES.items():
            self.program(name, f"#!/bin/sh\n{text}\n")
        (home / ".config/fenton").mkdir(parents=True)
        (home / "key").touch()
        (home / "mounts").touch()
        settings = {
            "NAME": "fenton", "ALIAS": "fenton", "HOST": "203.0.113.9", "PORT": "22", "USER_THERE": "ada", "IDENTITY": home / "key",
            "MOUNT": home / "fenton", "SSHFS_OPTIONS": "reconnect,allow_other,defer_permissions", "JUPYTER_PORT": "8888",
        }  # fmt: skip
        (home / ".config/fenton/fenton.conf").write_text("".join(f"{key}='{value}'\n" for key, value in settings.items()))

    def program(self, name, text):
        """Put a program into the PATH."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *words, **environment):
        """Run the command."""
        interpreter = [shutil.which(self.shell[0]), *self.shell[1:]]
        given = {"HOME": str(self.home), "PATH": str(self.bin), "TMPDIR": str(self.home), **environment}
        return subprocess.run(
            [*interpreter, COMMAND, *words], env=given, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )

    def calls(self):
        """Return what was called of what notes its calls."""
        file = self.home / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(params=SHELLS)
def mac(request, tmp_path):
    return Mac(tmp_path, SHELLS[request.param])


def test_the_version_is_that_of_the_project(mac):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert mac.run("--version").stdout == f"fenton (Fenton) {version}\n"


def test_help_names_every_verb_and_so_do_manual_and_completions(mac):
    verbs = set(re.findall(r"^  fenton (-?[a-z-]+)", mac.run("--help").stdout, re.M)) | {"--version"}
    assert verbs == {"-fs", "-u", "-jn", "-t", "-o", "-cp", "run", "unzip", "status", "doctor", "jesus", "--help", "--version"}
    for name in ("completion.bash", "completion.zsh", "completion.fish"):
        text = (COMMAND.parent / name).read_text()
        assert all(re.search(rf"(?<![\w-]){verb}\b", text) for verb in verbs - {"jesus"}), name
    manual = (COMMAND.parent / "fenton.1").read_text()
    assert all(verb.lstrip("-") in manual for verb in verbs - {"--help", "--version"})


def test_it_connects(mac):
    assert mac.run().returncode == 0
    assert "ssh -o ConnectTimeout=5 -T fenton" in mac.calls()


def test_macos_mounts_and_unmounts(mac):
    # A name that is not there is asked for on the mount; here that is an ordinary directory.
    said = mac.run("-fs")
    assert said.returncode == 0, said
    (call,) = [line for line in mac.calls() if line.startswith("sshfs")]
    assert "defer_permissions" in call and call.endswith(f"fenton: {mac.home}/fenton")
    assert "is mounted already" in mac.run("-fs").stdout
    assert "is unmounted" in mac.run("-u").stdout


def test_a_tunnel_to_a_node_goes_the_nodes_own_way(mac):
    node = (mac.home / ".config/fenton/fenton.conf").read_text().replace("'fenton'", "'node1'").replace("'8888'", "''")
    (mac.home / ".config/fenton/node1.conf").write_text(node + "GATEWAY='fenton'\n")
    mac.program("ssh", FAKE_TUNNEL)
    assert mac.run("-t", "node1").stdout == "https://localhost:8888/lab\n"
    assert mac.calls()[-1].endswith("-L 127.0.0.1:8888:localhost:8888 node1")
    assert "fenton-node1-8888" in mac.calls()[-1]
    assert mac.run("-t", "node1", "9000").stdout == "https://localhost:9000/lab\n"
    # No JupyterLab stays there, so it is one that runs as a job, on that port.
    assert mac.calls()[-1].endswith("-L 127.0.0.1:9000:localhost:9000 node1")
    assert mac.run("-t", "node1", "9001:9002").stdout == "localhost:9001 leads to port 9002 on node1\n"
    (mac.home / ".config/fenton/node1.conf").write_text(node.replace("JUPYTER_PORT=''", "JUPYTER_PORT='8894'"))
    assert mac.run("-t", "node1", "9003").stdout == "https://localhost:9003/lab\n"
    assert mac.calls()[-1].endswith("-L 127.0.0.1:9003:localhost:8894 node1")
    for words, sentence in (
        (["-t", "node2"], "fenton: node2 is not a port"),
        (["-t", "node2", "8888"], "fenton: node2 is no server that this laptop knows"),
        (["-t", "node1", "x"], "node1: x is not a port"),
        (["-t", "node1", "1", "2"], "fenton: -t takes a server and a port"),
    ):
        said = mac.run(*words)
        assert (said.returncode, len(said.stderr.splitlines())) == (64, 1)
        assert said.stderr.startswith(sentence), said.stderr


def test_macos_forces_a_mount_that_is_dead(mac):
    mac.run("-fs")
    mac.program("ls", "#!/bin/sh\necho 'ls: Input/output error' >&2\nexit 1\n")
    mac.program("umount", "#!/bin/sh\nexit 1\n")
    assert "is unmounted" in mac.run("-u").stdout
    assert f"diskutil quiet unmount force {mac.home}/fenton" in mac.calls()


def test_macos_opens_its_browser(mac):
    assert mac.run("jesus", "christ").stdout == "opened https://www.youtube.com/watch?v=3GRSbr0EYYU\n"


def test_macos_without_sshfs_is_told_what_to_install(mac):
    (mac.bin / "sshfs").unlink()
    said = mac.run("-fs")
    assert said.returncode == 78
    assert said.stderr.startswith("fenton: sshfs is not installed; install macFUSE and SSHFS from https://macfuse.github.io, or `brew")
    assert len(said.stderr.splitlines()) == 1


def test_nothing_is_left_in_the_directory_for_temporary_files(mac):
    for words in ([], ["-fs"], ["-u"], ["frobnicate"], ["doctor"]):
        mac.run(*words)
    assert not list(mac.home.glob("fenton.*"))


def test_it_needs_nothing_else_on_the_laptop(mac):
    """Every program of the part that runs here is one of those above, or looked for before it is used."""
    here = re.sub(r"<<'THERE'.*?^THERE$", "", COMMAND.read_text(), flags=re.S | re.M)
    for word in (
        "timeout",
        "readlink",
        "realpath",
        "stat",
        "seq",
        "awk",
        "pgrep",
        "local",
        "sed -i",
        "grep -P",
        "date -d",
        "echo -e",
        "xargs -r",
    ):
        assert not re.search(rf"(^|[|;(&] *|\$\(){re.escape(word)} ", here, re.M), word
    for optional in ("curl", "openssl", "rsync", "xdg-open", "wslview", "sshfs"):
        assert f"have {optional}" in here
