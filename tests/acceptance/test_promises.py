"""The roles' own promises, stated by the same tasks that `make doctor` runs."""


def test_every_promise_holds(server):
    done = server.playbook("--tags", "verify")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "changed=0" in done.stdout, done.stdout[-3000:]
