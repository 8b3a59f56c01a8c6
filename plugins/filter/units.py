"""Filters about units of systemd."""

RUNS = """\
( set -- {words}; about=$(systemctl show -p ActiveState,UnitFileState,ActiveEnterTimestamp --timestamp=us+utc "$1"); shift; \
case $about in *ActiveState=active*) ;; *) exit 1;; esac; case $about in *UnitFileState=enabled*) ;; *) exit 1;; esac; \
about=${{about#*ActiveEnterTimestamp=}}; [ $# = 0 ] || [ -z "$(find "$@" -newermt "${{about%%UTC*}}UTC" 2>/dev/null)" ] )"""


def unit_runs(words):
    """Return shell that tells whether a unit runs, starts with the machine, and was started after its files were written.

    :arg words: the unit, and files or directories that it read when it started, as words of the shell: ``'"$@"'`` and patterns too.
    :returns: a command that succeeds or fails, in a shell of its own, and prints nothing. It asks systemd once and ``find`` once.
    """
    return RUNS.format(words=words)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"unit_runs": unit_runs}
