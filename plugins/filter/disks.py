"""What base_disks asks for, against what the host's disks hold. Nothing here lets anything be formatted that holds something."""

import re

FILESYSTEMS = ("ext4", "xfs")
# Places of the system itself, and what lies in them.
SYSTEM = re.compile(r"/(bin|boot|dev|etc|lib|lib64|proc|root|run|sbin|sys|tmp|usr|var)(/.*)?$|/(home|opt|srv|mnt|media)?$")
# /var/lib/docker and the like are what disks are bought for.
BELOW = re.compile(r"/(home|opt|srv|mnt|media|var/lib|var/cache|var/log)/.+$")
PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+$")
WHERE = "host_vars/{host}/base.yml"
# What switches quotas on in /etc/fstab. ext4 has it in its superblock: where systemd reads `usrquota` in /etc/fstab it runs quotaon
# for what is on already, and that fails at every boot.
QUOTA_OPTION = {"ext4": "", "xfs": "uquota"}
OWN_QUOTAS = re.compile(r"[ugp]?quota|(usr|grp|prj)j?quota(=.*)?|[ugp]?qnoenforce")
SIZE = re.compile(r"[1-9][0-9]*[KMGT]")
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def name_of(disk):
    """Return what the user calls a disk."""
    return str(disk.get("device") or "UUID " + str(disk.get("uuid")))


def label_of(disk):
    """Return the label by which a file system of ours is known again: 12 characters are what XFS has room for."""
    return ("fenton-" + disk["mount"].rstrip("/").rpartition("/")[2])[:12].rstrip("-")


def has_quotas(disk):
    """Return whether a disk is to have quotas."""
    return bool(disk.get("quota") or disk.get("quotas")) and disk.get("state") != "absent"


def quota_problems(disk, where):
    """Return a sentence for each mistake in the quotas of a disk."""
    one, wrong = name_of(disk), []
    sizes = {"quota": disk.get("quota"), **{f"quotas.{name}": size for name, size in (disk.get("quotas") or {}).items()}}
    for key, size in sizes.items():
        if size and not SIZE.fullmatch(str(size)) and not (key != "quota" and size == "none"):
            wrong.append(f"base_disks: {key} of {one} is {size!r}, which is no size such as 500M or 100G; correct it in {where}.")
    bad = [name for name in disk.get("quotas") or {} if not ACCOUNT.fullmatch(str(name)) or name == "root"]
    if bad:
        wrong.append(f"base_disks: quotas of {one} names {', '.join(map(repr, bad))}, no account of a person; correct it in {where}.")
    if disk.get("quota_soft") is not None and not 1 <= int(disk["quota_soft"]) <= 100:
        wrong.append(f"base_disks: quota_soft of {one} is {disk['quota_soft']}; write a percentage from 1 to 100 in {where}.")
    own = [option for option in disk.get("options", []) if OWN_QUOTAS.fullmatch(str(option))]
    if own and has_quotas(disk):
        wrong.append(f"base_disks: {', '.join(own)} of {one} comes by itself with quota; take it out of options in {where}.")
    return wrong


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
        wrong += quota_problems(disk, where)
    for key in ("device", "uuid", "mount"):
        values = [str(disk[key]).rstrip("/") for disk in disks if disk.get(key)]
        twice = sorted({value for value in values if values.count(value) > 1})
        wrong += [f"base_disks: {value} stands there more than once; keep one entry in {where}." for value in twice]
    return wrong


def line_of(disk, found):
    """Return the first four fields of the line that /etc/fstab is to have for *disk*."""
    kind = found["type"] or disk.get("filesystem", "ext4")
    quota = [option for option in [QUOTA_OPTION.get(kind)] if option and has_quotas(disk)]
    # Nothing waits for it, so it may take its time: ten seconds were too few on a virtual machine that was busy starting.
    options = ["defaults", *map(str, disk.get("options", [])), *quota, "nofail", "x-systemd.device-timeout=90s"]
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


def quota_refusal(disk, found, host, people):
    """Return why a disk cannot have its quotas, or an empty text."""
    where, one, mount = WHERE.format(host=host), name_of(disk), disk["mount"]
    if not has_quotas(disk) or not found["there"]:
        return ""
    state, kind = found["quotas"], found["type"] or disk.get("filesystem", "ext4")
    if kind not in QUOTA_OPTION:
        return f"{one} of {host} is {kind}, and quotas are for ext4 and xfs; take quota out in {where}"
    strangers = sorted(set(state["strangers"]) - set(people))
    if strangers:
        return f"quotas of {one} names {', '.join(strangers)}, and {host} has no such account; correct it in {where}"
    if not state["possible"]:
        release = state["kernel"]
        need = "" if kind == "xfs" else f" (module quota_v2; in Ubuntu's package linux-modules-extra-{release})"
        cure = f"start {host} with a kernel of its distribution such as linux-image-amd64, or take quota out in {where}"
        return f"the kernel of {host}, {release}, has no quotas for {kind}{need}; {cure}"
    steps = [] if state["counted"] else [f"`umount {mount}`"] if mount in found["mounted"] else []
    if not state["prepared"]:
        steps.append(f"`e2fsck -fp {found['path']} && tune2fs -O quota {found['path']}`")
        return f"{one} of {host} was made without quotas; when nobody needs it, {', then '.join(steps)} there, and run again"
    if steps and kind == "xfs" or mount in found["mounted"] and not (state["preset"] or state["enforced"]):
        return f"{one} of {host} is mounted without quotas; when nobody needs it, `umount {mount}` there, and run again"
    return ""


def kib(size):
    """Return a size such as 100G in KiB, 0 for none."""
    return 0 if size == "none" else int(size[:-1]) * 1024 ** "KMGT".index(size[-1])


def limits_of(disk, people):
    """Return by account what it is to be held to: KiB soft and hard, files soft and hard; accounts without a limit are left out."""
    sizes = {**({name: disk["quota"] for name in people} if disk.get("quota") else {}), **(disk.get("quotas") or {})}
    hard = {name: kib(size) for name, size in sizes.items()}
    return {name: [size * int(disk.get("quota_soft") or 100) // 100, size, 0, 0] for name, size in hard.items() if size}


def quotas_due(disks, found, people):
    """Return the mounted disks whose quotas are not as they should be.

    :arg disks: the variable ``base_disks``.
    :arg found: as for ``disks_refused``.
    :arg people: names of the accounts to which ``quota`` applies.
    :returns: list of dictionaries: ``mount``, ``enforce`` (whether the kernel is to be told to hold accounts to them), ``lines`` (for the
        standard input of ``setquota --batch``) and ``seen`` (in words).
    """
    due = []
    for disk, known in zip(disks, found, strict=True):
        if not known["there"] or disk["mount"] not in known["mounted"] or disk.get("state") == "absent":
            continue
        state, wanted = known["quotas"], limits_of(disk, people) if has_quotas(disk) else {}
        # Limits that an earlier run has left; those on a disk for which the owner has written mount options are the owner's.
        theirs = any(OWN_QUOTAS.fullmatch(str(option)) for option in disk.get("options", []))
        if not has_quotas(disk) and (theirs or not state["enforced"]):
            continue
        other = {name: wanted.get(name, [0, 0, 0, 0]) for name in sorted({*wanted, *state["limits"]})}
        other = {name: limits for name, limits in other.items() if state["limits"].get(name, [0, 0, 0, 0]) != limits}
        enforce = has_quotas(disk) and not state["enforced"]
        if other or enforce:
            due.append(
                {
                    "mount": disk["mount"],
                    "enforce": enforce,
                    "lines": "".join(f"{name} {' '.join(map(str, limits))}\n" for name, limits in other.items()),
                    "seen": f"{disk['mount']}: " + ("nobody is held to a limit" if enforce else "not the limits of " + ", ".join(other)),
                }
            )
    return due


def disks_refused(disks, found, host, people=()):
    """Return a sentence for each disk that cannot be taken, with what was found on it.

    :arg disks: the variable ``base_disks``.
    :arg found: what ``roles/base/files/disks.py`` has printed about them, in the same order.
    :arg host: name in the inventory.
    :arg people: names of accounts that this run makes.
    """
    reasons = (refusal(disk, known, host) or quota_refusal(disk, known, host, people) for disk, known in zip(disks, found, strict=True))
    return [f"base_disks: {reason}." for reason in reasons if reason]


def disks_due(disks, found):
    """Return the disks with which something is to be done, each with ``line``, ``label``, ``path`` and the steps that are due.

    :arg disks: the variable ``base_disks``.
    :arg found: as for ``disks_refused``.
    :returns: list of dictionaries; the steps are booleans: ``make`` a file system, ``preset`` its quotas, ``attach`` it (now, or its line
        in fstab), ``own`` its topmost directory, ``remove`` its line.
    """
    due = []
    for disk, known in zip(disks, found, strict=True):
        gone = disk.get("state") == "absent"
        line = line_of(disk, {"uuid": "", "type": "", **known})
        attach = not gone and (not known["there"] or known["fstab"] != line or disk["mount"] not in known["mounted"])
        named = {key: disk[key] for key in ("owner", "group", "mode") if disk.get(key)}
        kind = known.get("type") or disk.get("filesystem", "ext4")
        steps = {
            "make": not gone and known["there"] and not known["type"],
            "preset": has_quotas(disk) and known["there"] and kind == "ext4" and not known["quotas"]["preset"],
            "attach": attach,
            "own": bool(named) and not gone and (attach or any(known[key] != value for key, value in named.items())),
            "remove": gone and bool(known["fstab"]),
        }
        if any(steps.values()):
            # Which users have what on an ext4 is counted from the beginning; XFS counts when it is mounted so.
            quota = " -O quota -E quotatype=usrquota" if has_quotas(disk) and disk.get("filesystem", "ext4") == "ext4" else ""
            made = f"-L {label_of(disk)}{quota}"
            due.append({**disk, **steps, "line": line, "label": label_of(disk), "made": made, "path": known["path"]})
    return due


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"disk_problems": disk_problems, "disks_refused": disks_refused, "disks_due": disks_due, "quotas_due": quotas_due}
