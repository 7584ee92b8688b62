"""JupyterLab, in an environment of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.compose import ROOT
from tests.support.program import Program, free_port

LAB = ROOT / ".venv-jupyter" / "bin" / "jupyter-lab"


def missing() -> str:
    return "" if LAB.exists() else "JupyterLab is not installed: make .venv-jupyter/.installed"


@contextmanager
def jupyter_lab(directory: Path, base: str, env: Mapping[str, str]) -> Iterator[str]:
    """Its origin. It is below the path base, lets everybody in who reaches it, and has its files in directory/files."""
    (directory / "files").mkdir(parents=True)
    port = free_port()
    program = Program(
        str(LAB),
        *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.base_url={base}", f"--ServerApp.root_dir={directory / 'files'}"),
        # It would ask the network.
        *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"),
        "--LabApp.extension_manager=readonly",
        port=port,
        output=directory / "jupyter.log",
        environment={**env, "HOME": str(directory), "PYTHONPATH": ""},
    )
    program.run()
    try:
        yield program.url
    finally:
        program.end()
