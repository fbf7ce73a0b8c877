"""Every test of this folder keeps what it compiled. A browser for those that have one."""

import os
import shutil

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOFTWARE = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


@pytest.fixture(scope="session", autouse=True)
def kept_programs(compilation_cache):
    pass


@pytest.fixture(scope="module")
def browser():
    """Chromium or Chrome with software rendering, through playwright (without playwright's own browsers)."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on PATH")
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=[*SOFTWARE, *root])
        yield started
        started.close()
