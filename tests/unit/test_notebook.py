"""What fenton-notebook makes of the words of a person and of Slurm, and what the role puts into it."""

import math
import re
import signal
import subprocess
import threading
from pathlib import Path

import notebook
import pytest
from conftest import load

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "roles/notebook/files/fenton-notebook"
it = load(PROGRAM)
DEFAULTS = it.own_defaults(PROGRAM.read_text())

# As sinfo prints it: two big nodes in two partitions, one with cards; the first partition is the default.
SINFO = """node1|main|main*|8|16000|1:00:00|(null)
node2|main|main*|32|64000|1:00:00|gpu:pascal:1(S:0-1)
node2|long|long|32|64000|infinite|gpu:pascal:1(S:0-1)
node3|long|long|16|128000|infinite|gpu:ampere:4,gpu:2
"""
OFFERS = it.parse_offers(SINFO)


def wanted(words="", **more):
    return {**it.understand(words.split(), DEFAULTS), **more}


def problems(words):
    return it.problems(wanted(f"--time 30 {words}"), OFFERS)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("30", 30), ("30:30", 31), ("4:00:00", 240), ("04:00:00", 240), ("2-0", 2880), ("2-12:30", 3630), ("7-00:00:00", 10080),
        ("1-0:0:1", 1441), ("0:0:1", 1), ("infinite", math.inf), ("UNLIMITED", math.inf),
    ],
)  # fmt: skip
def test_times_are_slurms(text, number):
    assert it.minutes(text) == number


@pytest.mark.parametrize("text", ["", "4h", "1:2:3:4", "-5", "1-", "soon", "1-2-3"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError):
        it.minutes(text)


@pytest.mark.parametrize(
    ("text", "number"), [("8G", 8192), ("8g", 8192), ("8GB", 8192), ("512M", 512), ("8000", 8000), ("1T", 1048576), ("1K", 1)]
)
def test_memory(text, number):
    assert it.mebibytes(text) == number


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5G", "lots", "8 Gi"])
def test_what_is_no_memory(text):
    with pytest.raises(ValueError):
        it.mebibytes(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("2", ("", 2)), ("ampere", ("ampere", 1)), ("a100:2", ("a100", 2)), ("a100-sxm:8", ("a100-sxm", 8)), ("2080ti", ("2080ti", 1))],
)
def test_cards(text, found):
    assert it.cards(text) == found


@pytest.mark.parametrize("text", ["", ":2", "a100:", "1:2", "a b"])
def test_what_is_no_card(text):
    with pytest.raises(ValueError):
        it.cards(text)


def test_amounts_and_times_are_written_as_they_are_read():
    for text in ("3G", "500M", "2T"):
        assert it.amount(it.mebibytes(text)) == text
    for text in ("0:30:00", "4:00:00", "2-1:00:00"):
        assert it.span(it.minutes(text)) == text


def test_what_slurm_says_of_its_nodes():
    assert OFFERS[0] == {
        "node": "node1", "partition": "main", "default": True, "cores": 8, "memory": 16000, "limit": 60, "gpus": {},
    }  # fmt: skip
    assert OFFERS[1]["gpus"] == {"pascal": 1}
    assert OFFERS[3]["gpus"] == {"ampere": 4, "": 2}
    assert not OFFERS[3]["default"]
    assert OFFERS[3]["limit"] == math.inf
    # Cards with more words than type and number, as the newest releases print them.
    assert it.parse_gres("gpu:nvidia_a100-sxm4:8(S:0-1),nic:2,gpu:2080ti:1") == {"nvidia_a100-sxm4": 8, "2080ti": 1}


def test_what_fits_is_not_complained_about():
    for words in (
        "",
        "--cores 32",
        "--gpu 1",
        "--gpu pascal:1",
        "--partition long --gpu ampere:4",
        "--partition long --gpu 6",
        "--memory 64000",
    ):
        assert problems(words) == [], words


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--cores 64", "--cores 64: the largest node of partition main, node2, has 32."),
        ("--memory 100000", "--memory 100000M: the largest node of partition main, node2, has 64000M; --partition long has it."),
        ("--gpu ampere", "--gpu ampere:1: partition main has no GPU of that type; there are pascal; --partition long has it."),
        ("--gpu hopper", "--gpu hopper:1: partition main has no GPU of that type; there are pascal."),
        ("--gpu 2", "--gpu 2: no node of partition main has so many; node2 has the most; --partition long has it."),
        ("--gpu ampere:5 --partition long", "--gpu ampere:5: no node of partition long has so many; node3 has the most."),
        ("--partition huge", "--partition huge: there is no such partition; there are main, long."),
        (
            "--partition long --cores 32 --gpu ampere",
            "No node of partition long has all of that at once (`sinfo -N -l`); ask for less of one of them.",
        ),
    ],
)
def test_each_thing_that_cannot_be_is_one_sentence(words, sentence):
    assert problems(words) == [sentence]


def test_time_above_the_partitions_limit():
    assert it.problems(wanted("--time 2-0"), OFFERS) == [
        "--time 2-0:00:00: partition main allows 1:00:00 at most; --partition long has it."
    ]
    assert it.problems(wanted("--time 2-0 --partition long"), OFFERS) == []


def test_several_wrongs_are_several_sentences():
    assert len(problems("--cores 999 --memory 9T --gpu hopper")) == 3


def test_without_cards_or_without_a_default_it_says_so():
    plain = [{**offer, "gpus": {}} for offer in OFFERS]
    assert it.problems(wanted("--time 5 --gpu 1"), plain) == ["--gpu 1: no node of partition main has a GPU."]
    nameless = [{**offer, "default": False} for offer in OFFERS]
    assert it.problems(wanted("--time 5"), nameless) == ["No partition is the default, so name one by --partition; there are main, long."]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--cores many", "--cores 'many' is not a number of cores, such as 4."),
        ("--cores 0", "--cores '0' is not a number of cores, such as 4."),
        ("--memory lots", "--memory 'lots' is not an amount of memory, such as 8G or 512M."),
        ("--time soon", "--time 'soon' is not a time as Slurm writes it, such as 4:00:00 or 2-0."),
        ("--gpu 0", "--gpu '0' is not a number of GPUs, a type, or both, such as 1 or ampere:2."),
        ("--core 4", "unrecognized arguments: --core 4; see `fenton-notebook --help`."),
        ("--cores", "argument --cores: expected one argument; see `fenton-notebook --help`."),
    ],
)
def test_words_that_are_none(words, sentence):
    with pytest.raises(it.Refused) as refused:
        it.understand(words.split(), DEFAULTS)
    assert str(refused.value) == sentence
    assert refused.value.status == 64


def test_what_nobody_says_is_in_the_lines_that_sbatch_reads():
    assert DEFAULTS["job-name"] == it.NAME
    found = wanted()
    assert (found["cores"], found["memory"], found["time"], found["gpu"]) == (1, 2048, 480, None)
    # sbatch reads no line behind the first that is neither a comment nor empty.
    lines = PROGRAM.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/python3"
    last = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert all(line.startswith("#") for line in lines[:last])
    assert "#SBATCH --no-requeue" in lines


def test_sbatchs_own_words_mean_the_same():
    assert it.understand(["--mem", "3G", "--gpus", "2"], DEFAULTS) == it.understand(["--memory", "3G", "--gpu", "2"], DEFAULTS)


def test_the_words_for_sbatch():
    assert it.sbatch_words(wanted("--cores 4 --memory 8G --time 4:00:00 --gpu 1")) == [
        "--cpus-per-task=4", "--mem=8192M", "--time=240", "--gres=gpu:1",
    ]  # fmt: skip
    assert it.sbatch_words(wanted("--gpu ampere:2 --partition long --account physics --time UNLIMITED"))[2:] == [
        "--time=UNLIMITED", "--gres=gpu:ampere:2", "--partition=long", "--account=physics",
    ]  # fmt: skip


def test_a_jobs_comment_says_where_it_is_or_why_it_ended():
    there, gone, waits = it.parse_jobs(
        "12|RUNNING|node1|2026-11-21T16:00:00|None|port 21001\n"
        "13|FAILED|node1|2026-11-21T15:00:00|NonZeroExitCode|failed: no password | none\n"
        "14|PENDING||N/A|Resources|(null)\n"
    )
    assert (there["port"], there["failure"]) == (21001, "")
    assert (gone["port"], gone["failure"]) == (0, "no password | none")
    assert (waits["port"], waits["failure"], waits["node"], waits["reason"]) == (0, "", "", "Resources")


def test_the_laptops_lines():
    entry = {"node": "node1", "port": 21001, "job": "12", "end": "2001-02-03T04:05:06"}
    said = it.directions(entry, "gate")
    assert said.startswith("JupyterLab runs on node1 until 2001-02-03 04:05 (job 12).")
    assert "    fenton -t node1 21001 " in said
    assert "ssh -N -L 21001:localhost:21001 -J gate node1" in said
    assert "    https://127.0.0.1:21001\n" in said
    assert "until" not in it.directions({**entry, "end": "NONE"}, "gate")


def test_everybody_has_a_port_of_their_own_outside_of_those_the_kernel_lends_out():
    assert len({it.first_port(uid) for uid in range(1000, 11000)}) == 10000
    assert it.PORTS[-1] + 50 < 32768  # ip_local_port_range of Linux begins there


def test_the_environment_of_the_login_does_not_go_along(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    found = it.environment("/tmp/place")
    assert "XDG_RUNTIME_DIR" not in found
    assert (found["SLURM_JOB_ID"], found["JUPYTER_RUNTIME_DIR"]) == ("12", "/tmp/place")


WAITS = {"job": "12", "state": "PENDING", "node": "", "end": "N/A", "reason": "Resources", "port": 0, "failure": ""}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "Job 12 waits (Resources), probably until 2001-02-03 04:05"),
        ({"date": "N/A"}, "Job 12 waits (Resources), Slurm does not say until when"),
        ({"reason": "None"}, "Job 12 is in the queue"),
        ({"state": "CONFIGURING", "node": "node1"}, "Job 12 starts on node1"),
    ],
)
def test_what_a_job_waits_for_is_slurms_own_word(monkeypatch, more, said):
    monkeypatch.setattr(it, "slurm", lambda *_: more.pop("date", "2001-02-03T04:05:06") + "\n")
    assert it.outlook({**WAITS, **more}) == said


def test_a_controller_that_is_away_for_a_while_ends_no_waiting(monkeypatch, capsys):
    answers = [WAITS, it.Refused("Slurm says: no", it.UNAVAILABLE), {**WAITS, "state": "RUNNING", "node": "node1", "port": 21001}]

    def notebooks(*_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    monkeypatch.setattr(it, "notebooks", notebooks)
    monkeypatch.setattr(it, "slurm", lambda *_: "N/A\n")
    monkeypatch.setattr(it.time, "sleep", lambda _: None)
    it.wait_for("12")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Job 12 is in the queue. Slurm says: no …"
    assert lines[2].startswith("JupyterLab runs on node1")
    answers.append({**WAITS, "state": "FAILED", "failure": "no password"})
    with pytest.raises(it.Refused, match=r"^Job 12 has ended \(failed\): no password$"):
        it.wait_for("12")


def test_ctrl_c_while_sbatch_has_the_job_leaves_none_behind_unsaid(home, monkeypatch, capsys):
    def slurm(name, *_):
        if name == "sbatch":
            # To this thread: other tests may have left some, which would take it.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            return "12\n"
        return SINFO

    for name, what in {"slurm": slurm, "settings": dict, "have_password": dict, "have_certificate": dict, "wait_for": print}.items():
        monkeypatch.setattr(it, name, what)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    with pytest.raises(SystemExit) as ended:
        it.start([])
    assert ended.value.code == 130
    assert capsys.readouterr().out.startswith("Job 12 stays. ")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(it, "OWN", tmp_path / ".config/fenton/notebook")
    return it.OWN


def test_what_is_the_persons_own_nobody_else_enters(home):
    assert it.own().stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)
    assert it.own().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("text", "sentence"), [("short", "fewer than 12 characters"), (" " + "x" * 20, "space"), ("x" * 12 + "\ny", "two lines")]
)
def test_a_password_that_will_not_do(home, text, sentence):
    with pytest.raises(it.Refused, match=sentence):
        it.set_password(text)
    assert not (home / "password").exists()


def test_nobody_without_a_terminal_is_shown_a_password(home, monkeypatch):
    monkeypatch.setattr("sys.stdout", open("/dev/null", "w"))  # noqa: SIM115
    with pytest.raises(it.Refused, match="You have no password for notebooks yet") as refused:
        it.have_password()
    assert refused.value.status == 78


def test_the_certificate_is_for_the_laptops_end_of_the_tunnel_and_for_nothing_else(home, monkeypatch):
    lib = home.parents[3] / "lib"
    lib.mkdir()
    (lib / "certificate").symlink_to(ROOT / "roles/tls/files/fenton-certificate")
    monkeypatch.setattr(it, "LIB", lib)
    assert it.have_certificate() is True
    assert it.have_certificate() is False
    chain, authority = home / "notebook/fullchain.pem", home / "authority/ca.pem"
    assert subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", authority, chain], capture_output=True).returncode == 0
    text = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", chain], capture_output=True, text=True).stdout
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in text
    constraints = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", authority], capture_output=True, text=True).stdout
    assert re.search(r"Name Constraints: critical\s+Permitted:", constraints)
    assert (home / "authority/ca.key").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_host_without_slurm_is_told_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(it.Refused, match="There is no sinfo on this host") as refused:
        it.slurm("sinfo")
    assert refused.value.status == 78


def test_the_roles_words_stand_in_the_program_once():
    text = notebook.notebook_program(PROGRAM.read_text(), {"cores": 3, "memory": "5G", "time": "2-0"})
    found = it.own_defaults(text)
    assert (found["cpus-per-task"], found["mem"], found["time"]) == ("3", "5G", "2-0")
    assert len(text.splitlines()) == len(PROGRAM.read_text().splitlines())
    with pytest.raises(ValueError):
        notebook.notebook_program("#!/bin/sh\n", {"cores": 1, "memory": "1G", "time": "1:00:00"})


def test_defaults_that_slurm_would_not_take():
    assert notebook.notebook_problems({"cores": 1, "memory": "2G", "time": "8:00:00"}) == []
    assert notebook.notebook_problems({"cores": "2", "memory": "512M", "time": "7-0"}) == []
    # 28800 is what YAML makes of 8:00:00 without quotes: Slurm would take it for twenty days.
    for job in ({"cores": 0}, {"cores": -1}, {"memory": "2 GB"}, {"memory": "0G"}, {"time": 28800}, {"time": "8h"}, {"time": "0:00:00"}):
        (sentence,) = notebook.notebook_problems({"cores": 1, "memory": "2G", "time": "8:00:00", **job})
        (name,) = job
        assert sentence.startswith(f"notebook_job: {name} ")
        assert sentence.endswith("in group_vars/hpc/notebook.yml.")
