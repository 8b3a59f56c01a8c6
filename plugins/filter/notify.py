"""What is wrong with the settings of the role notify, said without what is secret in them."""

import re

FILE = "group_vars/all/notify.yml"
# https://core.telegram.org/bots/api, "Authorizing your bot": the bot's number, a colon, 35 characters today.
TOKEN = re.compile(r"[0-9]{5,20}:[A-Za-z0-9_-]{30,80}")


def telegram_problems(telegram):
    """Return what is wrong with ``notify_telegram``, without the variable's name.

    :arg telegram: dictionary with ``token``, ``chat`` and perhaps ``server``; empty where Telegram is not used.
    """
    if not telegram:
        return []
    token, chat, server = (str(telegram.get(key) or "") for key in ("token", "chat", "server"))
    problems = []
    if not token:
        problems.append(
            'there is no token; write token: "{{ vault_notify_token }}" there, and the token itself into group_vars/all/vault.yml; see'
        )
    elif not TOKEN.fullmatch(token):
        problems.append(
            "the token is not what @BotFather gives (a number, a colon, 35 letters, digits, - and _); "
            "copy it anew into group_vars/all/vault.yml, or see"
        )
    if not re.fullmatch(r"-?[1-9][0-9]{0,18}", chat):
        problems.append(f"the chat {chat!r} is not an integer; write its number, as roles/notify/README.md finds it, into")
    if server and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", server):
        problems.append(
            f"the server {server!r} is not an address that begins with https://, and would get the token in the clear; correct it in"
        )
    return problems


def notify_problems(telegram, urls, schemes):
    """Return sentences about the settings, none where all is well.

    :arg telegram: as for :func:`telegram_problems`.
    :arg urls: addresses of apprise. Nothing of them is repeated but the scheme.
    :arg schemes: schemes that apprise knows.
    """
    problems = [f"notify_telegram: {text} {FILE}." for text in telegram_problems(telegram)]
    for number, url in enumerate(urls, 1):
        scheme = re.match(r"([A-Za-z0-9]+)://(?=\S)", str(url))
        if not scheme:
            problems.append(
                f"notify_urls: entry {number} does not begin with a scheme such as ntfys://; correct it in {FILE} or vault.yml."
            )
        elif scheme[1].lower() not in schemes:
            problems.append(
                f"notify_urls: apprise knows no {scheme[1]}:// (entry {number}); "
                f"choose one of https://appriseit.com/services/ in {FILE} or vault.yml."
            )
        elif re.search(r"\s", str(url)):
            problems.append(f"notify_urls: entry {number}, {scheme[1]}://, has a blank in it; write %20 in {FILE} or vault.yml.")
        elif url in urls[: number - 1]:
            problems.append(f"notify_urls: entry {number}, {scheme[1]}://, is there twice; remove one in {FILE}.")
    return problems


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Return the filters by name."""
        return {"notify_problems": notify_problems}
