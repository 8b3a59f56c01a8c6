"""What is decided about NVIDIA's driver: branch, kind of module, packages; what stands against it; and what is to be said of a host."""

import base64
import binascii
import csv
import hashlib
import re


def version(text):
    """Return a version such as ``12.9`` as a list of numbers, to be compared."""
    return [int(part) for part in str(text).split(".")]


def described(architecture, row):
    """Return in words which branches drive an architecture: ``pascal (580 at most, proprietary module)``."""
    until = f"{row['last']} at most" if "last" in row else f"{row['first']} or newer"
    return f"{architecture} ({until}, {' or '.join(row['modules'])} module)"


def module_for(branch, rows, tables):
    """Return the kind of kernel module with which *branch* drives all of *rows*: ``open``, ``proprietary``, or nothing.

    :arg branch: number of the branch.
    :arg rows: entries of ``architectures``.
    :arg tables: ``open_from`` and ``open_only_from``, numbers of branches.
    """
    if any(branch < row["first"] or branch > row.get("last", branch) for row in rows):
        return ""
    kinds = set.intersection({"open", "proprietary"}, *(set(row["modules"]) for row in rows))
    if branch >= tables["open_only_from"]:
        kinds.discard("proprietary")
    if "open" in kinds and (branch >= tables["open_from"] or "proprietary" not in kinds):
        return "open"
    return "proprietary" if "proprietary" in kinds else ""


def possible(release, source, rows, tables, on_request=False):
    """Return the branches that drive all of *rows* and for which *release* has packages, the newest first.

    :arg release: such as ``Debian 13``.
    :arg source: ``distribution`` or ``nvidia``.
    :arg rows: entries of ``architectures``.
    :arg tables: ``releases``, ``open_from`` and ``open_only_from``.
    :arg on_request: whether those count that nobody gets without asking.
    """
    has = tables["releases"].get(release, {}).get(source, {})
    branches = has.get("branches", []) + (has.get("on_request", []) if on_request else [])
    return sorted((int(branch) for branch in branches if module_for(int(branch), rows, tables)), reverse=True)


def toolkit(branch, rows, has, tables):
    """Return the newest CUDA toolkit that fits cards and branch, such as ``12.9``; nothing where none does.

    :arg branch: number of the branch.
    :arg rows: entries of ``architectures``.
    :arg has: entry of ``releases``: what there are packages for.
    :arg tables: ``branches``: the newest CUDA of each.
    """
    limits = [version(tables["branches"][branch])] + [version(row["cuda"]["last"]) for row in rows if "last" in row["cuda"]]
    first = max(version(row["cuda"]["first"]) for row in rows)
    fitting = [known for known in has.get("cuda", []) if first <= version(known) <= min(limits)]
    return max(fitting, key=version, default="")


def nvidia_decision(cards, tables, wishes):
    """Decide which driver a host gets.

    :arg cards: list of ``address``, ``device`` and ``architecture``, as in the fact ``gpus``, without those of virtual machines.
    :arg tables: ``architectures``, ``branches``, ``releases``, ``open_from``, ``open_only_from``: see roles/nvidia/vars/main.yml.
    :arg wishes: ``host``, ``release``, ``source``, ``machine``, ``architecture`` and ``branch`` (empty: not said), ``toolkit``
        (whether one is wanted) and ``file`` (the one to change).
    :returns: dictionary of ``branch`` (number, 0 for none), ``modules``, ``signed`` (whether a distribution that ships modules has them for
        it), ``cuda`` (of the toolkit, where one is wanted), ``cudnn`` (what pip must be told) and ``problems``, sentences.
    """
    known, host, file = tables["architectures"], wishes["host"], wishes["file"]
    release, source, asked = wishes["release"], wishes["source"], wishes["architecture"]
    nothing = {"branch": 0, "modules": "", "signed": False, "cuda": "", "cudnn": []}
    here = {}
    for card in cards:
        here.setdefault(card["architecture"], []).append(f"{card['address']} (10de:{card['device']})")
    if asked:
        unknown = here.pop("unknown", [])
        here.setdefault(asked, unknown)
    if not here:
        return {**nothing, "problems": []}

    def no(text):
        return {**nothing, "problems": [text]}

    if "unknown" in here:
        return no(
            f"{host}: the card at {here['unknown'][0]} is not in the table of cards; write its architecture as nvidia_architecture "
            f"(one of {', '.join(known)}) into {file}."
        )
    old = [name for name in here if name not in known]
    if old:
        return no(
            f"{host}: the card at {here[old[0]][0]} is older than Maxwell and too old for every branch of the driver here; take it out, or "
            "take the host out of the group nvidia in inventory/hosts.yml."
        )
    rows = [known[name] for name in here]
    words = " and ".join(described(name, known[name]) for name in here)
    everywhere = sorted({int(branch) for branch in tables["branches"] if module_for(int(branch), rows, tables)})
    if not everywhere:
        return no(
            f"{host}: no branch of the driver serves {words} together; take one of the cards out, or hand it to a virtual machine "
            "(vfio-pci)."
        )
    if release not in tables["releases"]:
        return no(
            f"{host}: no packages of the driver are known for {release}; take the host out of the group nvidia in inventory/hosts.yml."
        )
    has = tables["releases"][release][source]
    if wishes["machine"] not in has["machines"]:
        return no(
            f"nvidia_source: {source} has no driver for {wishes['machine']} on {release}, only for {' and '.join(has['machines'])}; "
            f"change it in {file}, or take {host} out of the group nvidia in inventory/hosts.yml."
        )
    branches = possible(release, source, rows, tables)
    all_of_them = possible(release, source, rows, tables, on_request=True)
    other = {"distribution": "nvidia", "nvidia": "distribution"}[source]
    elsewhere = possible(release, other, rows, tables)
    advice = f"nvidia_source: {other} has {elsewhere[0]}" if elsewhere else "another release of the system may have one"
    if int(wishes["branch"]):  # -e gives a text
        branch = int(wishes["branch"])
        if branch not in all_of_them:
            reason = f"does not drive {words}" if not module_for(branch, rows, tables) else f"has no packages on {release} from {source}"
            choice = f"possible here: {', '.join(map(str, all_of_them))}" if all_of_them else f"none is possible here; {advice}"
            return no(f"nvidia_branch: {branch} {reason}; {choice}. Change it in {file}.")
    elif not branches:
        packaged = ", ".join(map(str, has["branches"]))
        return no(f"{host}: {release} has branch {packaged} from {source}, which does not drive {words}; {advice}. Change it in {file}.")
    else:
        branch = branches[0]
    cuda = toolkit(branch, rows, has, tables) if wishes["toolkit"] else ""
    if wishes["toolkit"] and not cuda:
        offered = ", ".join(has.get("cuda", [])) or "none that this role knows"
        return no(
            f"nvidia_cuda_toolkit: no toolkit on {release} from {source} ({offered}) fits {words} and branch {branch}; set it to false in "
            f"{file} and take CUDA from pip (role tensorflow)."
        )
    return {
        "branch": branch,
        "modules": module_for(branch, rows, tables),
        "signed": branch in branches,
        "cuda": cuda,
        "cudnn": sorted({row["cudnn"] for row in rows if "cudnn" in row}),
        "problems": [],
    }


def installed(lines):
    """Return the installed packages from lines of ``dpkg-query`` (name, state, version, maintainer): version and maintainer by name."""
    rows = [line.split("\t") for line in lines]
    return {row[0]: (row[2], row[3]) for row in rows if len(row) == 4 and row[1] == "installed"}


DRIVER = re.compile(
    r"(nvidia-(kernel|open-kernel|dkms|headless|utils|compute-utils|smi|driver)|libnvidia-(compute|ml)|libcuda1|linux-modules-nvidia)"
)


def makers(packages):
    """Return for each source the driver's packages that come from it.

    The maintainer tells them apart: the names are the same, and versions nearly so.

    :arg packages: as from :func:`installed`.
    """
    found = {"distribution": [], "nvidia": []}
    for name, (_, maintainer) in packages.items():
        if DRIVER.match(name) and not name.startswith("nvidia-driver-pinning"):
            found["nvidia" if "@nvidia.com" in maintainer.lower() else "distribution"].append(name)
    return found


def metapackage(kernel, packages):
    """Return the kernel's metapackage without ``linux-image-``, such as ``amd64`` or ``generic-hwe-24.04``; nothing where there is none.

    :arg kernel: release of the running kernel, such as ``6.8.0-85-generic``.
    :arg packages: as from :func:`installed`.
    """
    names = [name.removeprefix("linux-image-") for name in packages if re.match(r"linux-image-(?!\d|unsigned|uc-)", name)]
    fitting = [name for name in names if kernel.endswith(f"-{re.sub(r'-hwe-.*', '', name)}")]
    return max(fitting, key=len, default="")


def wanted(decision, names, host, kernel, packages):
    """Return the packages of driver and toolkit, and whether the module is built on the host.

    :arg decision: as from :func:`nvidia_decision`.
    :arg names: names of packages for source and distribution: see ``__nvidia_packages``.
    :arg host: ``distribution``, ``source``, ``container`` (whether it is one) and ``machine`` (Debian's name of it).
    :arg kernel: release of the running kernel.
    :arg packages: as from :func:`installed`.
    """
    branch, meta = decision["branch"], "" if host["container"] else metapackage(kernel, packages)
    dkms = "signed" not in names or not meta or not decision["signed"]
    if branch <= names.get("numbered_to", 0):
        found = names["numbered"]
    elif "dkms" in names:
        found = names["dkms" if dkms else "signed"] + names["always"]
    else:
        found = names[decision["modules"]] + names["always"]
    found = [name.format(branch=branch, open="-open" if decision["modules"] == "open" else "", kernel=meta) for name in found]
    if dkms and not host["container"]:
        found = [f"linux-headers-{name}" for name in dict.fromkeys([meta or kernel, kernel])] + found
    if decision["cuda"]:
        found = [
            *found,
            "nvidia-cuda-toolkit" if host["source"] == "distribution" else f"cuda-toolkit-{decision['cuda'].replace('.', '-')}",
        ]
    return found, dkms


def refused(seen, host, packages, dkms):
    """Return sentences about what on the host itself stands against the driver.

    :arg seen: ``seen`` of the look.
    :arg host: as for :func:`wanted`, and ``name``, ``mok`` (path of the key's certificate), ``runtimes`` and ``file``.
    :arg packages: as from :func:`installed`.
    :arg dkms: whether the module is built on the host.
    """
    name, source, found = host["name"], host["source"], makers(packages)
    other = {"distribution": "nvidia", "nvidia": "distribution"}[source]
    said = []
    if found["distribution"] and found["nvidia"]:
        said.append(
            f"{name}: {found['distribution'][0]} is the distribution's and {found['nvidia'][0]} is NVIDIA's own, and such drivers do not "
            "fit together; remove one of the two with `apt purge` there, then run this again."
        )
    elif found[other]:
        whose = {"distribution": "the distribution's", "nvidia": "NVIDIA's own"}[other]
        said.append(
            f"nvidia_source: {source} is wanted, but the driver on {name} is {whose} ({found[other][0]}); write nvidia_source: {other} "
            f"into {host['file']}, or remove that driver with `apt purge` there first."
        )
    if seen["runfile"]["rc"] == 0:
        said.append(f"{name}: its driver was installed by NVIDIA's .run file; run `nvidia-uninstall` there first, then run this again.")
    missing = seen["runtimes"]["lines"]
    if missing:
        said.append(
            f"nvidia_container_toolkit: {name} has no {missing[0]}; install it there first, or take it out of the list in {host['file']}."
        )
    if host["container"]:
        return said
    if dkms and seen["headers"]["lines"]:
        kernel = seen["kernel"]["stdout"]
        said.append(
            f"{name}: the kernel that runs ({kernel}) has no headers to build the module with: linux-headers-{kernel} is neither installed "
            "nor to be had; install the newest kernel with `apt full-upgrade`, reboot, then run this again."
        )
    if dkms and seen["secure_boot"]["stdout"] == "1" and seen["enrolled"]["rc"] != 0:
        key = (
            "`apt install dkms mokutil shim-signed && update-secureboot-policy --new-key`"
            if host["distribution"] == "Ubuntu"
            else "`apt install dkms mokutil openssl && mkdir -p /var/lib/dkms && openssl req -new -x509 -newkey rsa:2048 -nodes "
            "-days 36500 -subj '/CN=DKMS module signing key' -keyout /var/lib/dkms/mok.key -outform DER -out /var/lib/dkms/mok.pub`"
        )
        said.append(
            f"{name}: Secure Boot is on and refuses a module that is built here until its key is enrolled. Three steps there: 1. make the "
            f"key: {key}; 2. `mokutil --import {host['mok']}`, with a password of your choice; 3. reboot and, at the console, choose "
            "Enroll MOK and give that password. Then run this again. (Or switch Secure Boot off in the firmware.)"
        )
    held = {card["address"] for card in host["cards"] if card["driver"] == "nouveau"} & set(seen["screens"]["lines"])
    if held:
        said.append(
            f"{name}: nouveau shows a desktop on the card {min(held)}, which would go dark with a driver that only computes; end the "
            "desktop (`systemctl set-default multi-user.target`, then reboot), then run this again."
        )
    return said


def loaded(files):
    """Return the version of the loaded kernel module from the texts of its two files in /sys and /proc; nothing where it is not loaded."""
    said = re.search(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", files["proc_version"])
    return files["module_version"].strip() or (said[1] if said else "")


def version_of(path):
    """Return the version of the driver's library from the path of its file: ``…/libcuda.so.550.163.01``; nothing where there is none."""
    found = re.search(r"\.so\.(\d+\.\d+(?:\.\d+)?)$", path.strip())
    return found[1] if found else ""


def versions(found):
    """Return ``module`` and ``library``: the versions of the loaded module and of the installed library, each empty where there is none.

    :arg found: result of a look with the files ``module_version`` and ``proc_version`` and the command ``library``.
    """
    return {"module": loaded(found["files"]), "library": version_of(found["seen"]["library"]["stdout"])}


def why_reboot(cards, module, library):
    """Return why the driver that is installed does not drive the cards before a reboot; nothing where it does.

    :arg cards: as for :func:`nvidia_decision`, with ``driver``.
    :arg module: version of the loaded module, or nothing.
    :arg library: version of the installed library, or nothing.
    """
    if not cards or not library:
        return ""
    nouveau = [card["address"] for card in cards if card["driver"] == "nouveau"]
    if nouveau:
        return f"nouveau still holds the card {nouveau[0]}"
    if not module:
        return f"the kernel module is not loaded (driver {library} is installed)"
    if module != library:
        return f"the loaded kernel module is {module}, the installed driver is {library}, and new computations fail"
    return ""


def nvidia_state(found, decision, names, host):
    """Return what the look at a host says.

    It is ``packages`` and ``missing``, ``dkms``, ``problems``, ``module``, ``library``, ``reboot`` (why one is due) and ``newest`` (what an
    update brings up to date).

    :arg found: result of the look.
    :arg decision: as from :func:`nvidia_decision`.
    :arg names: as for :func:`wanted`.
    :arg host: as for :func:`refused`.
    """
    seen, packages = found["seen"], installed(found["seen"]["packages"]["lines"])
    kernel = seen["kernel"]["stdout"]
    needed, dkms = wanted(decision, names, host, kernel, packages)
    needed += ["nvidia-container-toolkit"] if host["runtimes"] else []
    meta = metapackage(kernel, packages)
    running = versions(found)
    return {
        "packages": needed,
        "missing": [name for name in needed if name not in packages],
        "dkms": dkms,
        "problems": refused(seen, host, packages, dkms),
        **running,
        "reboot": why_reboot(host["cards"], **running),
        # The kernel that goes with the driver: all of it is updated at once.
        "newest": needed
        + [name for name in (f"linux-{meta}", f"linux-image-{meta}", f"linux-headers-{meta}") if meta and name in packages],
    }


def apt_stanzas(lines, codename, components, own):
    """Return what is missing in the host's own sources, as stanzas for a ``.sources`` file; nothing where nothing is.

    :arg lines: from ``apt-get indextargets``: file and line, address, suite, component and keyring, with ``|`` between them.
    :arg codename: of the release; third parties' suites are left alone.
    :arg components: those that are needed.
    :arg own: path of our own file, which does not count.
    :returns: list of dictionaries: ``uri``, ``suites``, ``components``, ``signed_by``.
    """
    suites = [codename + suffix for suffix in ("", "-updates", "-security")]
    there, keys = {}, {}
    for line in lines:
        place, uri, suite, component, signed = (line.split("|") + [""] * 5)[:5]
        if suite in suites and not place.startswith(own):
            there.setdefault((uri, suite), set()).add(component)
            # apt leaves the word as it is where the source names no key, and refuses two keys for one source.
            keys[uri, suite] = "" if signed.startswith("$(") else signed
    found = {}
    for (uri, suite), has in there.items():
        missing = tuple(name for name in components if name not in has)
        if "main" in has and missing:
            found.setdefault((uri, missing, keys[uri, suite]), []).append(suite)
    return [
        {"uri": uri, "suites": sorted(named), "components": list(missing), "signed_by": signed}
        for (uri, missing, signed), named in found.items()
    ]


def openpgp_fingerprint(text):
    """Return the fingerprint of the first public key in an armoured text, upper case; nothing where there is none.

    Version 4 after RFC 9580, 5.5.4: the SHA-1 of 0x99, two bytes of length, and the body of the key's packet.

    :arg text: from ``-----BEGIN PGP PUBLIC KEY BLOCK-----`` on.
    """
    block = re.search(r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)(?:\r?\n=|-----END)", text or "", re.S)
    try:
        data = base64.b64decode("".join(block[1].split())) if block else b""
    except binascii.Error:
        return ""
    if len(data) < 4 or not data[0] & 0x80:
        return ""
    if data[0] & 0x40:  # new format of packets
        tag, size = data[0] & 0x3F, data[1]
        start = 2
        if 192 <= size < 224:
            size, start = (size - 192 << 8) + data[2] + 192, 3
        elif size == 255:
            size, start = int.from_bytes(data[2:6], "big"), 6
    else:
        tag, width = data[0] >> 2 & 0x0F, (1, 2, 4, 0)[data[0] & 3]
        size, start = int.from_bytes(data[1 : 1 + width], "big"), 1 + width
    body = data[start : start + size]
    if tag != 6 or len(body) != size or body[:1] != b"\x04":
        return ""
    return hashlib.sha1(b"\x99" + size.to_bytes(2, "big") + body).hexdigest().upper()


def nvidia_smi_cards(text):
    """Return what nvidia-smi says of each card: ``address`` as sysfs has it, ``name``, ``driver``, ``persistence``, ``memory`` in MiB.

    :arg text: of ``nvidia-smi --query-gpu=pci.bus_id,name,driver_version,persistence_mode,memory.total --format=csv,noheader,nounits``.
    """
    cards = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) != 5:
            continue
        domain, _, rest = row[0].lower().partition(":")
        memory = int(row[4]) if row[4].isdigit() else 0
        cards.append(
            {"address": f"{int(domain, 16):04x}:{rest}", "name": row[1], "driver": row[2], "persistence": row[3], "memory": memory}
        )
    return cards


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "apt_stanzas": apt_stanzas,
            "nvidia_decision": nvidia_decision,
            "nvidia_smi_cards": nvidia_smi_cards,
            "nvidia_makers": lambda lines: makers(installed(lines)),
            "nvidia_state": nvidia_state,
            "nvidia_versions": versions,
            "nvidia_why_reboot": lambda cards, known: why_reboot(cards, **known),
            "openpgp_fingerprint": openpgp_fingerprint,
        }
