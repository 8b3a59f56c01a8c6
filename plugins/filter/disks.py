"""What base_disks asks for, against what the host's disks hold. Nothing here lets anything be formatted that holds something."""

import re

FILESYSTEMS = ("ext4", "xfs")
# Places of the system itself, and what lies in them.
SYSTEM = re.compile(r"/(bin|boot|dev|etc|lib|lib64|proc|root|run|sbin|sys|tmp|usr|var)(/.*)?$|/(home|opt|srv|mnt|media)?$")
# /var/lib/docker and the like are what disks are bought for.
BELOW = re.compile(r"/(home|opt|srv|mnt|media|var/lib|var/cache|var/log)/.+$")
PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+$")
WHERE = "host_vars/{host}/base.yml"


def name_of(disk):
    """Return what the user calls a disk."""
    return str(disk.get("device") or "UUID " + str(disk.get("uuid")))


def label_of(disk):
    """Return the label by which a file system of ours is known again: 12 characters are what XFS has room for."""
    return ("fenton-" + disk["mount"].rstrip("/").rpartition("/")[2])[:12].rstrip("-")


def disk_problems(disks, host):
    """Return a sentence for each mistake that shows without the host.

    :arg disks: the variable ``base_disks``.
    :arg host: name in the inventory, for the file that is named.
    """
    where, wrong = WHERE.format(host=host), []
    for disk in disks:
        one, mount = name_of(disk), str(disk.get("mount", ""))
        if bool(disk.get("device")) == bool(disk.get("uuid")):
            wrong.append(f"base_disks: the disk for {mount} needs either device or uuid; write one of them in {where}.")
        elif disk.get("device") and not str(disk["device"]).startswith("/dev/"):
            wrong.append(f"base_disks: {one} is no path of a device such as /dev/disk/by-id/nvme-…; correct it in {where}.")
        if not PATH.match(mount) or ".." in mount.split("/") or (SYSTEM.match(mount) and not BELOW.match(mount)):
            wrong.append(f"base_disks: {mount!r} is no place for a disk; write one of its own such as /srv/data in {where}.")
        bad = [option for option in disk.get("options", []) if not re.fullmatch(r"[A-Za-z0-9_.=:/%+-]+", str(option))]
        if bad:
            wrong.append(f"base_disks: {', '.join(map(repr, bad))} of {one} is no mount option; correct it in {where}.")
    for key in ("device", "uuid", "mount"):
        values = [str(disk[key]).rstrip("/") for disk in disks if disk.get(key)]
        twice = sorted({value for value in values if values.count(value) > 1})
        wrong += [f"base_disks: {value} stands there more than once; keep one entry in {where}." for value in twice]
    return wrong


def line_of(disk, found):
    """Return the first four fields of the line that /etc/fstab is to have for *disk*."""
    options = ["defaults", *map(str, disk.get("options", [])), "nofail", "x-systemd.device-timeout=10s"]
    kind = found["type"] or disk.get("filesystem", "ext4")
    return ["UUID=" + (found["uuid"] or "?"), disk["mount"], kind, ",".join(dict.fromkeys(options))]


def held(found):
    """Return in words what a device holds, or an empty text for an empty one."""
    if found["parts"]:
        return f"partitions ({', '.join(found['parts'])})"
    if found["holders"]:
        return f"a part of {', '.join(found['holders'])}"
    if found["swap"]:
        return "swap in use"
    if not found["type"]:
        return ""
    label = f" labelled {found['label']!r}" if found["label"] else ""
    mounted = f", mounted at {', '.join(found['mounted'])}" if found["mounted"] else ""
    return found["type"] + label + (f" (UUID {found['uuid']})" if found["uuid"] else "") + mounted


def refusal(disk, found, host):
    """Return why a disk cannot be taken, or an empty text."""
    where, one = WHERE.format(host=host), name_of(disk)
    if disk.get("state") == "absent":
        return ""
    if not found["there"]:
        return f"{one} is no disk of {host}; see `lsblk -o PATH,SIZE,MODEL,SERIAL,FSTYPE,UUID` there and correct it in {where}"
    mount, what = disk["mount"], held(found)
    listed = bool(found["fstab"]) and found["fstab"][0] == "UUID=" + found["uuid"]
    known = listed or found["label"] == label_of(disk) and found["type"] == disk.get("filesystem", "ext4")
    elsewhere = [place for place in found["mounted"] if place != mount]
    plain = not (found["parts"] or found["holders"] or found["swap"])
    if elsewhere or not plain or (what and not known and not disk.get("uuid")) or (disk.get("uuid") and found["usage"] != "filesystem"):
        if elsewhere:
            return f"{one} of {host} holds {what}; unmount it there first, or name another device in {where}"
        keep = f"write `uuid: {found['uuid']}` in the place of device to mount it as it is, " if found["usage"] == "filesystem" else ""
        cure = f"{keep}empty it yourself (`wipefs -a`), or name another device in {where}"
        return f"{one} of {host} holds {what}, and nothing that holds something is formatted; {cure}"
    if found["fstab"] and not listed:
        return f"/etc/fstab of {host} has {found['fstab'][0]} for {mount}; take that line out there, or choose another mount in {where}"
    if mount not in found["mounted"] and found["busy"]:
        return f"{mount} of {host} has another file system on it; choose another mount in {where}"
    if mount not in found["mounted"] and found["files"]:
        return f"{mount} of {host} has files, which the disk would hide; move them away, or choose another mount in {where}"
    return ""


def disks_refused(disks, found, host):
    """Return a sentence for each disk that cannot be taken, with what was found on it.

    :arg disks: the variable ``base_disks``.
    :arg found: what ``roles/base/files/disks.py`` has printed about them, in the same order.
    :arg host: name in the inventory.
    """
    reasons = (refusal(disk, known, host) for disk, known in zip(disks, found, strict=True))
    return [f"base_disks: {reason}." for reason in reasons if reason]


def disks_due(disks, found):
    """Return the disks with which something is to be done, each with ``line``, ``label``, ``path`` and the steps that are due.

    :arg disks: the variable ``base_disks``.
    :arg found: as for ``disks_refused``.
    :returns: list of dictionaries; the steps are booleans: ``make`` a file system, ``attach`` it (now, or its line in fstab), ``own`` its
        topmost directory, ``remove`` its line.
    """
    due = []
    for disk, known in zip(disks, found, strict=True):
        gone = disk.get("state") == "absent"
        line = line_of(disk, {"uuid": "", "type": "", **known})
        attach = not gone and (not known["there"] or known["fstab"] != line or disk["mount"] not in known["mounted"])
        named = {key: disk[key] for key in ("owner", "group", "mode") if disk.get(key)}
        steps = {
            "make": not gone and known["there"] and not known["type"],
            "attach": attach,
            "own": bool(named) and not gone and (attach or any(known[key] != value for key, value in named.items())),
            "remove": gone and bool(known["fstab"]),
        }
        if any(steps.values()):
            due.append({**disk, **steps, "line": line, "label": label_of(disk), "path": known["path"]})
    return due


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"disk_problems": disk_problems, "disks_refused": disks_refused, "disks_due": disks_due}
