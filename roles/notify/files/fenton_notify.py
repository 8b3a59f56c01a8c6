"""Messages from notebooks and programs, in every environment: this file is found by a path, and needs nothing but the command notify.

%%notify training              in a notebook: tells how the cell ended, and when
fenton_notify.send("text")     from a program
KerasCallback(every="30m")     in the list ``callbacks`` of ``fit``

Nothing here ever raises an error of its own: what cannot be sent gives a warning, and the work goes on.
"""

import subprocess
import time
import warnings

COMMAND = "/usr/local/bin/notify"


def send(text, title=""):
    """Send a message.

    :arg text: the message.
    :arg title: what stands in its first line.
    :returns: whether it is on its way, or waits to be.
    """
    try:
        words = [COMMAND, "--mail", "-s", str(title)]
        done = subprocess.run(words, input=str(text), capture_output=True, text=True, errors="replace", timeout=10)
        said, sent = done.stderr.strip(), done.returncode == 0
    except (OSError, subprocess.SubprocessError) as error:
        said, sent = f"notify: not sent: {type(error).__name__}", False
    if said:
        warnings.warn(said, RuntimeWarning, stacklevel=2)
    return sent


def span(seconds):
    """Return a duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{minutes} min {int(seconds % 60)} s" if not hours else f"{hours} h {minutes % 60} min"


def figures(logs):
    """Return the numbers that Keras gives at the end of an epoch, as one line."""
    found = []
    for name, value in (logs or {}).items():
        try:
            found.append(f"{name} {float(value):.4g}")
        except (TypeError, ValueError):
            pass
    return ", ".join(found)


def load_ipython_extension(shell):
    """Give IPython the cell magic ``%%notify``."""

    def notify(line, cell):
        """Run the cell and send a message when it has ended: %%notify [what it is]."""
        begun = time.monotonic()
        result = shell.run_cell(cell)
        took, error = span(time.monotonic() - begun), result.error_before_exec or result.error_in_exec
        what = line.strip() or next((each.strip() for each in cell.splitlines() if each.strip()), "")
        if error is None:
            send(what, f"cell finished after {took}")
        else:
            send(f"{what}\n{type(error).__name__}: {error}", f"cell failed after {took}")
            # IPython has shown the error; this one, which it shows as nothing more, lets "run all" stop here.
            raise StopHere from None

    shell.register_magic_function(notify, "cell", "notify")


class StopHere(Exception):
    """The cell has failed, and its error has been shown."""

    def _render_traceback_(self):
        return []


def _keras():
    """Return the Keras of this program: the one that is already in use before one that would have to be loaded."""
    import importlib
    import sys

    for name in ("keras", "tf_keras", "tensorflow.keras"):
        if name in sys.modules:
            return sys.modules[name]
    try:
        return importlib.import_module("keras")
    except ImportError:
        return importlib.import_module("tensorflow").keras


def _make_callback():
    keras = _keras()

    class KerasCallback(keras.callbacks.Callback):
        """Tells how a training goes and how it ended.

        :arg every: time between messages meanwhile, such as "30m"; none where it is not given.
        :arg name: what the training is called; the name of the model where it is not given.
        """

        def __init__(self, every=None, name=None):
            super().__init__()
            units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
            self._every = float(every[:-1]) * units[every[-1]] if isinstance(every, str) else every
            self._name, self._logs, self._epoch = name, {}, 0

        def _title(self, what):
            name = self._name or getattr(self.model, "name", "") or "training"
            return f"{name}: {what} after {span(time.monotonic() - self._begun)}"

        def on_train_begin(self, logs=None):
            """Keras calls this when fit begins."""
            self._begun = self._told = time.monotonic()
            self._logs, self._epoch = {}, 0

        def on_epoch_end(self, epoch, logs=None):
            """Keras calls this after each epoch."""
            self._epoch, self._logs = epoch + 1, dict(logs or {})
            if self._every and time.monotonic() - self._told >= self._every:
                self._told = time.monotonic()
                of = (self.params or {}).get("epochs")
                send(figures(self._logs), self._title(f"epoch {self._epoch}" + (f" of {of}" if of else "")))

        def on_train_end(self, logs=None):
            """Keras calls this when fit ends by itself."""
            send(figures(logs or self._logs), self._title(f"trained {self._epoch} epoch{'s' * (self._epoch != 1)}"))

    return KerasCallback


def __getattr__(name):
    """Make the callback when somebody asks for it: it is derived from the Keras of the program that does."""
    if name == "KerasCallback":
        globals()[name] = _make_callback()
        return globals()[name]
    raise AttributeError(name)
