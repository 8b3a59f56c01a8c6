"""What can be said about a certificate before it is installed."""

import ipaddress
import re
from datetime import UTC, datetime
from pathlib import Path

from ansible.errors import AnsibleFilterError

CURE = "correct it in group_vars/all/tls.yml, or remove tls_certificate and tls_key there to use the host's own authority"
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)


def pem(value):
    """Return the PEM text that *value* stands for.

    :arg value: PEM text, or the path of a file on the control node (``~`` is the home directory).
    :raises AnsibleFilterError: when the file cannot be read.
    """
    if not value or "-----BEGIN" in value:
        return value
    try:
        return Path(value).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnsibleFilterError(f"{value} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def plain(name):
    """Return *name* in one spelling: an address as ``ipaddress`` writes it, a DNS name in lower case."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def is_name(name):
    """Tell whether *name* can stand in a certificate: an IP address, or a DNS name without a wildcard."""
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


def covers(certificate, name):
    """Tell whether the x509 *certificate* is for *name*, a DNS name or an address."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = {plain(known) for known in names.get_values_for_type(x509.DNSName)}
    known |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return plain(name) in known or "*." + name.lower().partition(".")[2] in known


def tls_name_problems(names, variable, file="group_vars/all/tls.yml"):
    """Return a sentence for each of *names* that no certificate can be for.

    :arg names: list of DNS names and addresses.
    :arg variable: the variable that holds them, for the sentence.
    :arg file: where it is set.
    """
    return [
        f"{variable}: {name!r} is neither a host name nor an IP address; correct it in {file}" for name in names if not is_name(str(name))
    ]


def tls_problems(certificate, key, names, now=None):
    """Return sentences about a given certificate and key that would not work; none when both are empty.

    :arg certificate: PEM text or path, with the chain of intermediate certificates behind the certificate.
    :arg key: PEM text or path of its private key.
    :arg names: DNS names and addresses that the certificate must be for.
    :arg now: the time to judge by, an aware datetime; default is the clock's.
    """
    now = now or datetime.now(UTC)
    if bool(certificate) != bool(key):
        there, missing = ("tls_certificate", "tls_key") if certificate else ("tls_key", "tls_certificate")
        return [f"{missing}: is not set, but {there} is, and one is of no use without the other; {CURE}"]
    if not certificate:
        return []
    texts, problems = {}, []
    for variable, value in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            texts[variable] = pem(value)
        except AnsibleFilterError as error:
            why = getattr(error.__cause__, "strerror", None) or "it is no text"
            problems.append(f"{variable}: {value} cannot be read: {why}; {CURE}")
    if problems:
        return problems
    # Here, since every run loads this file, and few sites have certificates of their own.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    shown = "the given text" if "-----BEGIN" in certificate else certificate
    try:
        first = x509.load_pem_x509_certificates(texts["tls_certificate"].encode())[0]
    except ValueError:
        return [f"tls_certificate: {shown} holds no certificate in PEM form; {CURE}"]
    if now > first.not_valid_after_utc:
        problems.append(f"tls_certificate: {shown} expired on {first.not_valid_after_utc:%Y-%m-%d}; {CURE}")
    if now < first.not_valid_before_utc:
        problems.append(f"tls_certificate: {shown} is valid only from {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; {CURE}")
    missing = [name for name in names if not covers(first, name)]
    if missing:
        problems.append(f"tls_certificate: {shown} is not for {', '.join(missing)}; {CURE}")
    shown_key = "the given text" if "-----BEGIN" in key else key
    try:
        private = load_pem_private_key(texts["tls_key"].encode(), password=None)
    except TypeError:
        problems.append(f"tls_key: {shown_key} is encrypted, and the server cannot ask for its passphrase; decrypt it; {CURE}")
    except ValueError:
        problems.append(f"tls_key: {shown_key} holds no private key in PEM form; {CURE}")
    else:
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if private.public_key().public_bytes(*form) != first.public_key().public_bytes(*form):
            problems.append(f"tls_key: {shown_key} is not the key of the certificate {shown}; {CURE}")
    return problems


def tls_acme_problems(settings, names):
    """Return sentences about what an ACME server could not issue.

    :arg settings: ``server``, ``email``, ``names``, ``dns`` and more, as the role writes them; one name at least.
    :arg names: DNS names and addresses that the certificate must be for.
    """
    own, problems, here = [str(name).lower() for name in settings["names"]], [], "group_vars/all/tls.yml"
    for name in own:
        bare = name.removeprefix("*.")
        if not is_name(bare) or "." not in bare or re.fullmatch("[0-9.]+", bare):
            problems.append(f"tls_acme_names: {name!r} is no name that an ACME server issues a certificate for; correct it in {here}")
    for variable, example in (("email", "ada@example.org"), ("dns", "cloudflare; `lego dnshelp` lists them")):
        if not settings[variable]:
            problems.append(f"tls_acme_{variable}: is empty, and tls_acme_names needs it; set it in {here}, such as {example}")
    if not settings["server"].startswith("https://"):
        problems.append(f"tls_acme_server: {settings['server']!r} does not begin with https://; correct it in {here}")
    missing = [name for name in names if not {name.lower(), "*." + name.lower().partition(".")[2]} & set(own)]
    if missing:
        problems.append(
            f"tls_acme_names: {', '.join(missing)}, by which people open a service, is not among them; add it in {here}, or set the "
            f"service's name (jupyter_hostname, dashboard_hostname) to {own[0]}"
        )
    return problems


def tls_ending(services, few):
    """Return sentences about certificates that end soon.

    :arg services: what ``fenton-certificate`` says: by service ``days`` (left), ``life`` (days in all) and ``wanted``.
    :arg few: days that are too few. Of a certificate that the host renews itself, a quarter of its life is enough.
    """
    sentences = []
    for name, about in services.items():
        given = about["wanted"].get("given")
        if about["days"] < (few if given else min(few, about["life"] / 4)):
            end = f"ends in {about['days']} days" if about["days"] >= 0 else "has ended"
            cure = "put a newer one into tls_certificate and tls_key" if given else "it was not renewed"
            sentences.append(f"the certificate of {name} {end}: {cure}")
    return sentences


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {
            "pem": pem, "tls_acme_problems": tls_acme_problems, "tls_ending": tls_ending, "tls_name_problems": tls_name_problems,
            "tls_problems": tls_problems,
        }  # fmt: skip
