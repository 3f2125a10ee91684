"""What holds for the repository as a whole."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ["patchpack", "schemas", "workers", "pipelines", "flows"]
MAX_LINES = 300


def run(program: str, *arguments: str) -> None:
    """Run a program of this environment at the root; the build backend looks for itself on PATH."""
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [scripts / program, *arguments],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_compose_file_follows_the_compose_specification() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_wheel_holds_patchpack_alone(tmp_path: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    run("pip", "wheel", *options, ".")
    [wheel] = tmp_path.glob("*.whl")
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {re.sub(r"-.+\.dist-info", "", folder) for folder in folders} == {"patchpack"}


def test_constraints_pin_every_dependency_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!+]+", pin)] == []
    assert [line for line in lines if "://" in line] == []

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[\[<>=!~; ]", entry)[0] for group in groups for entry in group}
    pinned = {pin.split("==")[0] for pin in pins}
    assert {normalised(name) for name in wanted} - {normalised(name) for name in pinned} == set()


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    long = {name for name, count in lines.items() if count > MAX_LINES}
    # one file: numba's cache does not see that a function in another one has changed
    assert long == {"workers/packing/kernel.py"}
