"""The documentation says what the code does."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from drs_service.api.errors import FRAMEWORK_CODES, status_of
from drs_service.errors import DrsServiceError
from drs_service.settings import Settings, variable, written

ROOT = Path(__file__).parents[2]


def tree(top: type[DrsServiceError]) -> Iterator[type[DrsServiceError]]:
    yield top
    for below in top.__subclasses__():
        yield from tree(below)


def drawn(text: str) -> list[tuple[int, str]]:
    """(depth, name) of every class in the tree at the top of errors.py."""
    lines = text.split('"""')[1].splitlines()
    found = [re.match(r"^([│├└─ ]*)([A-Z]\w+)(\s{2,}.*)?$", line) for line in lines]
    return [(len(match[1]) // 4, match[2]) for match in found if match]


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    def walk(top: type[DrsServiceError], depth: int) -> Iterator[tuple[int, str]]:
        yield depth, top.__name__
        for below in top.__subclasses__():
            yield from walk(below, depth + 1)

    assert drawn((ROOT / "drs_service" / "errors.py").read_text()) == list(walk(DrsServiceError, 0))


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    documented = {code: int(status) for code, status, _ in rows}
    assert len(documented) == len(rows)
    real = {error.code: status_of(error) for error in tree(DrsServiceError)}
    real |= {code: status for status, code in FRAMEWORK_CODES.items()}
    assert documented == real
    said = {code: meaning for code, _, meaning in rows}
    for error in tree(DrsServiceError):
        assert said[error.code] == (error.__doc__ or "").strip()


def test_every_setting_is_in_the_example_with_its_default_and_nothing_else_is() -> None:
    text = (ROOT / ".env.example").read_text()
    blocks = [block.splitlines() for block in text.split("\n\n")[1:]]
    said = {line.partition("=")[0].lstrip("# "): (about, line) for about, line in blocks}
    for one in fields(Settings):
        about, line = said.pop(variable(one.name))
        assert about == f"# {one.metadata['about']}"
        assert line.startswith("# ") == (one.default is None)
        if one.default is not None:
            assert line.partition("=")[2].strip('"') == written(one.default)
    assert said == {}


def test_the_example_is_what_the_settings_read() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    env = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    assert Settings.from_env(env) == Settings()


def test_the_links_of_the_documentation_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_map_names_rooms_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    the_map = readme.split("## The map")[1].split("```")[1]
    for name in re.findall(r"\b((?:drs_service|worker|db)(?:/[\w.]+)?)\s{2,}", the_map):
        assert (ROOT / name).exists(), name


def test_every_route_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in paths():
        assert path in readme, path


def paths() -> list[str]:
    """The paths of the source, as the route decorators have them."""
    sources = (ROOT / "drs_service" / "api").rglob("*.py")
    found = [re.findall(r'@(?:get|put|post|route)\(\s*(?:PREFIX \+ )?"([^"]+)"', path.read_text()) for path in sources]
    return [re.sub(r":\w+}", "}", path).replace("{object_id}", "{id}") for paths in found for path in paths]


@pytest.mark.parametrize("target", ["serve", "test", "check", "bench", "format", "build", "lock", "help", "clean"])
def test_make_help_lists_its_targets(target: str) -> None:
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_dependency_is_pinned_with_a_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pinned = set(
        re.findall(r"^([a-z0-9-]+)==\S+(?: ;.*)? \\\n    --hash=sha256:", (ROOT / "constraints.txt").read_text(), re.M)
    )
    assert {re.split(r"[^A-Za-z0-9-]", name)[0].lower() for name in wanted} <= pinned


def test_no_pin_is_without_a_hash_or_names_a_registry() -> None:
    for page in ("constraints.txt", "constraints-compliance.txt", "constraints-jupyter.txt"):
        text = (ROOT / page).read_text()
        assert "://" not in text
        assert all("\n    --hash=sha256:" in pin for pin in re.split(r"\n(?=\S)", text)), page


def test_the_lock_of_the_node_packages_names_no_registry() -> None:
    text = (ROOT / "tests" / "support" / "tus" / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert text.count('"integrity": "sha512-') == text.count('    "node_modules/') > 0
