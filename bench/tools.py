"""Builds or installs what the drivers need and is missing."""

import os
import shutil
import subprocess
from pathlib import Path

from subjects import CouldNotRun, find

ROOT = Path(__file__).resolve().parent.parent
OHA_VERSION = "1.16.0"


def install_what_lacks(wanted: dict[str, str]) -> None:
    """Debian's packages, by the name of the program that is looked for."""
    lacking = [package for name, package in wanted.items() if find(name) is None]
    if not lacking:
        return
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]
    if os.geteuid() != 0:
        apt = ["sudo", *apt]
    print(f"installing {' and '.join(lacking)} with apt-get", flush=True)
    install = [*apt, "install", "-y", "--no-install-recommends", *lacking]
    quiet = {"stdout": subprocess.DEVNULL, "check": False}
    if subprocess.run(install, stderr=subprocess.DEVNULL, **quiet).returncode != 0:
        subprocess.run([*apt, "update"], **quiet)
        if subprocess.run(install, **quiet).returncode != 0:
            raise CouldNotRun(f"apt-get could not install {' and '.join(lacking)}")


def cargo(*command: str) -> None:
    print(f"cargo {' '.join(command)}", flush=True)
    if subprocess.run(["cargo", *command], cwd=ROOT, check=False).returncode != 0:
        raise CouldNotRun(f"`cargo {' '.join(command)}` failed")


def binaries(profile: str = "dist") -> Path:
    """Where cargo puts what it builds with a profile; `dist` is the one of images and releases."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / profile
    return folder if folder.is_absolute() else ROOT / folder


def build_senders() -> None:
    cargo("build", "--profile", "dist", "-p", "weir", "--example", "bench_backend")
    cargo("build", "--profile", "dist", "-p", "weir-load", "--bin", "weir-load", "--example", "plain_goose")


def oha(may_build: bool) -> tuple[str | None, str]:
    """The program and nothing, or `None` and why there is none.

    Neither Debian nor PyPI nor npm has it, so it is built out of crates.io, once.
    """
    own = ROOT / ".tools" / "oha"
    found = shutil.which(own / "bin" / "oha") or shutil.which("oha")
    if found:
        return str(found), ""
    if not may_build:
        return None, "not installed, and --no-build builds nothing"
    print(f"oha lacks: building oha {OHA_VERSION} out of crates.io into .tools/oha, some minutes, once", flush=True)
    command = ["cargo", "install", "oha", "--version", OHA_VERSION, "--locked", "--quiet", "--root", str(own)]
    # In a target directory of its own, not in that of this workspace.
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    except OSError as error:
        return None, f"cargo could not be started: {error}"
    found = shutil.which(own / "bin" / "oha")
    if done.returncode != 0 or found is None:
        return None, f"`{' '.join(command)}` failed"
    return str(found), ""
