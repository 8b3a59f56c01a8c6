"""Administrators' accounts: what the module ``administrators`` does, and the look that tells whether it has anything to do."""

import ctypes
import glob
import grp
import os
import pwd
import re
import signal
import time

KEY_FILES = ("authorized_keys", "authorized_keys2")
LINGER = "/var/lib/systemd/linger"


def shadow(name, path="/etc/shadow"):
    """Return the password field and the day of expiry of *name* as they stand in the shadow file, both empty if not there."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.rstrip("\n").split(":")
            if fields[0] == name:
                return fields[1], fields[7]
    return "", ""


def supplementary(name):
    """Return the names of the groups that list *name* as a member."""
    return {group.gr_name for group in grp.getgrall() if name in group.gr_mem}


def as_owner(user, work, *given):
    """Return ``work(user, *given)``, done as root, or as the owner of the home where root may not.

    In a home that another host serves root is nobody (NFS: ``root_squash``). The rights change for files and for this thread alone
    (setfsuid(2)); what runs beside it keeps its own.

    :raises OSError: when the owner may not either.
    """
    try:
        return work(user, *given)
    except PermissionError:
        system = ctypes.CDLL(None)
        system.setfsgid(user.pw_gid)
        system.setfsuid(user.pw_uid)
        try:
            return work(user, *given)
        finally:
            system.setfsuid(0)
            system.setfsgid(0)


def open_directory(path, parent=None):
    """Return a descriptor of the directory *path*, which must not be a link, so that its owner cannot lead us elsewhere.

    :raises OSError: when it is missing, a link, or no directory.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def read_at(directory, name):
    """Return text, owner and mode of the plain file *name* in the open *directory*; None where there is no such file.

    :raises PermissionError: when it may not be read.
    """
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except PermissionError:
        raise
    except OSError:
        return None
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        about = os.fstat(file.fileno())
        return file.read(), about.st_uid, about.st_mode & 0o7777


def write_keys(user, text, check):
    """Make ``~/.ssh/authorized_keys`` hold *text* and nothing else let *user* in.

    :arg user: entry of the password database.
    :arg text: the wanted text.
    :arg check: only tell.
    :returns: True when something was, or would be, changed.
    :raises OSError: when the home is missing or ``.ssh`` is a link.
    """
    home = open_directory(user.pw_dir)
    try:
        try:
            folder = open_directory(".ssh", home)
        except FileNotFoundError:
            if check:
                return True
            os.mkdir(".ssh", 0o700, dir_fd=home)
            folder = open_directory(".ssh", home)
            os.fchown(folder, user.pw_uid, user.pw_gid)
        try:
            about = os.fstat(folder)
            loose = about.st_uid != user.pw_uid or about.st_mode & 0o022
            second = read_at(folder, KEY_FILES[1]) is not None
            if not loose and not second and read_at(folder, KEY_FILES[0]) == (text, user.pw_uid, 0o600):
                return False
            if check:
                return True
            if loose:
                os.fchown(folder, user.pw_uid, user.pw_gid)
                os.fchmod(folder, 0o700)
            if second:
                os.unlink(KEY_FILES[1], dir_fd=folder)
            # Of this host's own name: others may be writing the same keys into the same home.
            temporary = f".{KEY_FILES[0]}.{os.uname().nodename}"
            try:
                os.unlink(temporary, dir_fd=folder)
            except FileNotFoundError:
                pass
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchown(file.fileno(), user.pw_uid, user.pw_gid)
                os.fchmod(file.fileno(), 0o600)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, KEY_FILES[0], src_dir_fd=folder, dst_dir_fd=folder)
            return True
        finally:
            os.close(folder)
    finally:
        os.close(home)


def remove_keys(user, check):
    """Delete the files of keys of *user*; the arguments and the answer are as for :func:`write_keys`."""
    try:
        home = open_directory(user.pw_dir)
    except PermissionError:
        raise
    except OSError:
        return False
    try:
        folder = open_directory(".ssh", home)
    except FileNotFoundError:
        return False
    except PermissionError:
        raise
    except OSError:
        # sshd would follow a link; what it leads to is not ours to delete, the link is.
        if not check:
            os.unlink(".ssh", dir_fd=home)
        return True
    finally:
        os.close(home)
    try:
        there = [name for name in KEY_FILES if name in os.listdir(folder)]
        for name in [] if check else there:
            os.unlink(name, dir_fd=folder)
        return bool(there)
    finally:
        os.close(folder)


def processes(uid, everything):
    """Return the ids of the processes of *uid*.

    :arg everything: False leaves out those that belong to a service of the system, which the role of that service ends.
    """
    found = []
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            if os.stat(folder).st_uid != uid:
                continue
            with open(f"{folder}/cgroup", encoding="utf-8") as file:
                service = "/system.slice/" in file.read()
            if everything or not service:
                found.append(int(os.path.basename(folder)))
        except OSError:
            continue
    return found


def services(uid):
    """Return the names of the system's services in which *uid* has a process."""
    found = set()
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            if os.stat(folder).st_uid == uid:
                with open(f"{folder}/cgroup", encoding="utf-8") as file:
                    found.update(re.findall(r"/system[.]slice/(?:[^/]*[.]slice/)*([^/\n]*[.]service)", file.read()))
        except OSError:
            continue
    return sorted(found)


def make_present(module, name, keys, groups):
    """Give *name* an account with *keys* and *groups*; return sentences about what was done."""
    done, check = [], module.check_mode
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        done.append(f"made the account {name}")
        if check:
            return done
        # "*" allows no password and, unlike "!", does not count as locked where sshd runs without PAM.
        command = ["useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", name]
        try:
            grp.getgrnam(name)
            command.insert(1, "--no-user-group")
            command[2:2] = ["--gid", name]
        except KeyError:
            command.insert(1, "--user-group")
        module.run_command(command, check_rc=True)
        user = pwd.getpwnam(name)
    if user.pw_uid < 1000:
        module.fail_json(
            msg=f"base_administrators: {name} is an account of the system here (uid {user.pw_uid}); "
            "choose another name in group_vars/all/base.yml"
        )
    changes = []
    if os.path.basename(user.pw_shell) in ("", "nologin", "false"):
        changes += ["--shell", "/bin/bash"]
    password, expiry = shadow(name)
    if expiry == "1":  # the mark of an earlier removal
        changes += ["--expiredate", "", "--password", password.lstrip("!") or "*"]
    missing = sorted(set(groups) - supplementary(name) - {grp.getgrgid(user.pw_gid).gr_name})
    if missing:
        changes += ["--append", "--groups", ",".join(missing)]
    if changes:
        done.append(f"changed the account {name}")
        if not check:
            module.run_command(["usermod", *changes, name], check_rc=True)
    if not os.path.isdir(user.pw_dir) and not check:
        module.run_command(["mkhomedir_helper", name], check_rc=True)
    try:
        if as_owner(user, write_keys, "".join(f"{key.strip()}\n" for key in keys), check):
            done.append(f"set the keys of {name}")
    except OSError as error:
        module.fail_json(msg=f"cannot write the keys of {name}: {error}; {user.pw_dir} and its .ssh must be plain directories")
    return done


def make_absent(module, name):
    """Shut *name* out and end what runs under the account; return sentences about what was done."""
    done, check = [], module.check_mode
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return done
    if user.pw_uid < 1000:
        module.fail_json(msg=f"base_administrators: {name} is an account of the system (uid {user.pw_uid}) and stays; remove its entry")
    if as_owner(user, remove_keys, check):
        done.append(f"removed the keys of {name}")
    changes = []
    password, expiry = shadow(name)
    locked = password.startswith("!") and expiry == "1"
    # Before the mark: a run that is cut off here does it again. Else they would come back, for systemd starts whom it is told to.
    for service in [] if locked else services(user.pw_uid):
        done.append(f"stopped the service {service} of {name}")
        if not check:
            module.run_command(["systemctl", "disable", "--now", service])
    if not locked:
        changes += ["--lock"] if not password.startswith("!") else []
        changes += ["--expiredate", "1"]
    if supplementary(name):
        changes += ["--groups", ""]
    if changes:
        done.append(f"locked the account {name}")
        if not check:
            module.run_command(["usermod", *changes, name], check_rc=True)
    if os.path.exists(f"{LINGER}/{name}"):
        done.append(f"ended the lingering of {name}")
        if not check:
            module.run_command(["loginctl", "disable-linger", name])
            if os.path.exists(f"{LINGER}/{name}"):
                os.unlink(f"{LINGER}/{name}")
    if processes(user.pw_uid, everything=not locked):
        done.append(f"ended the processes of {name}")
        if not check:
            module.run_command(["loginctl", "terminate-user", name])
            for wait in (0.2, 0.5, 1, 2):
                for pid in processes(user.pw_uid, everything=not locked):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except OSError:
                        pass
                if not processes(user.pw_uid, everything=not locked):
                    break
                time.sleep(wait)
    if done and os.path.isdir(user.pw_dir):
        done.append(f"kept the home {user.pw_dir} of {name}")
    return done


def apply(module, given):
    """Bring all accounts to what *given* says, or only tell in check mode.

    :arg module: the AnsibleModule, or what stands for it in a look.
    :arg given: the options of the module.
    :returns: sentences about what was, or would be, done.
    """
    done = []
    for name in given.get("absent", []):
        done += make_absent(module, name)
    for name, keys in given.get("present", {}).items():
        done += make_present(module, name, keys, given.get("groups", []))
    return done


class Looking:
    """Stands for an AnsibleModule in check mode where only a look is wanted."""

    check_mode = True

    def fail_json(self, msg):
        """Leave it to the module to say *msg*.

        :raises ValueError: always.
        """
        raise ValueError(msg)


def at_rest(given):
    """Return the module's answer where there is nothing to do, else None."""
    return None if apply(Looking(), given) else {"changed": False, "done": []}
