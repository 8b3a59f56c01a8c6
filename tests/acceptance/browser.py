"""A headless Chromium that trusts one certificate authority, and what a person does with JupyterLab in it."""

import contextlib
import functools
import os
import shutil
import subprocess

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"


def missing():
    """Return what must be installed for the browser to run, or an empty text."""
    needed = {CHROMIUM: "chromium", DRIVER: "chromium-driver", shutil.which("certutil") or "certutil": "libnss3-tools"}
    return " ".join(package for program, package in needed.items() if not os.path.exists(program))


@contextlib.contextmanager
def browser(home, authority=None):
    """Run Chromium with *home* as its home, trusting the certificate in the file *authority* and no other private one.

    :arg home: an empty directory; without *authority* it may have a database of certificates.
    :arg authority: path of a PEM file.
    """
    store = home / ".pki/nssdb"
    store.mkdir(parents=True, exist_ok=authority is None)
    for words in [["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "fenton", "-i", authority]] if authority else []:
        subprocess.run(["certutil", "-d", f"sql:{store}", *map(str, words)], check=True, capture_output=True, timeout=60)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-proxy-server", "--disable-dev-shm-usage", "--window-size=1440,900",
        "--force-color-profile=srgb", f"--user-data-dir={home}/profile",
    ):  # fmt: skip
        options.add_argument(flag)
    service = webdriver.ChromeService(DRIVER, env={**os.environ, "HOME": str(home)})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def wait(driver, condition, seconds=60):
    """Wait until *condition*, called with the driver, is true; return what it returned."""
    return WebDriverWait(driver, seconds, ignored_exceptions=(Exception,)).until(condition)


def find(driver, css):
    """Return the first visible element that matches *css*, or nothing."""
    return next((element for element in driver.find_elements(By.CSS_SELECTOR, css) if element.is_displayed()), None)


def steady(look):
    """Let *look*, which finds and reads, begin again where the page has redrawn itself in between."""

    @functools.wraps(look)
    def again(*words):
        for _ in range(20):
            with contextlib.suppress(StaleElementReferenceException):
                return look(*words)
        return look(*words)

    return again


def log_in(driver, url, password):
    """Open *url*, meet the login page, give the password."""
    driver.get(url)
    wait(driver, lambda d: find(d, "#password_input")).send_keys(password)
    find(driver, "#login_submit").click()


def wait_for_lab(driver):
    """Wait until JupyterLab is drawn."""
    wait(driver, lambda d: find(d, "#jp-main-dock-panel") and not d.find_elements(By.CSS_SELECTOR, "#jupyterlab-splash"))


def choose(driver, menu, entry):
    """Choose an entry of a menu of the menu bar, by their texts."""
    next(e for e in driver.find_elements(By.CSS_SELECTOR, ".lm-MenuBar-itemLabel") if e.text == menu).click()

    def entries(d):
        return [e for e in d.find_elements(By.CSS_SELECTOR, ".lm-Menu-itemLabel") if e.text == entry]

    wait(driver, entries)[0].click()
