"""The programs of other people that benchmarks run, and how to get them."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PACKAGES = {
    "curl": "curl",
    "node": "nodejs",
    "npm": "npm",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "sync": "coreutils",
    "wrk": "wrk",
}
# Servers live where an ordinary user's PATH does not look.
PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin"


class Missing(Exception):
    """A program is not installed."""


def program(name: str) -> str:
    """The path of a program. Missing says which package brings it."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise Missing(f"{name} is not installed. On Debian: apt install {PACKAGES[name]}")
    return found


def run(name: str, *arguments: str | Path) -> str:
    """Run a program to its end and return what it prints."""
    return completed([program(name), *arguments])


def completed(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
