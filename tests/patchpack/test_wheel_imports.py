import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.patchpack.packed import packed
from tests.test_repository import run

ROOT = Path(__file__).parents[2]
HEAVY = ["ray", "prefect", "pyarrow", "torch", "schemas", "workers", "pipelines", "flows"]


def test_what_a_trainer_imports_needs_no_service_package() -> None:
    modules = [f"patchpack.{path.stem}" for path in (ROOT / "patchpack").glob("*.py")]
    script = (
        "import importlib, sys\n"
        f"for name in {sorted(modules)}:\n"
        "    importlib.import_module(name.removesuffix('.__init__'))\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


READ = """
import os, sys
import patchpack, schemas, workers
from patchpack import PackedShards
assert patchpack.__file__.startswith(os.environ["PYTHONPATH"]), patchpack.__file__
assert schemas.ours and workers.ours
print(sum(1 for _ in PackedShards(sys.argv[1])), sorted(set(sys.argv[2:]) & set(sys.modules)))
"""


@pytest.mark.slow
def test_the_wheel_reads_a_shard_beside_foreign_packages_of_our_names(tmp_path: Path) -> None:
    packed(tmp_path / "data", [3], lanes=2)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    run("pip", "wheel", *options, ".")
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for name in ("schemas", "workers"):
        (tmp_path / "trainer" / name).mkdir(parents=True)
        (tmp_path / "trainer" / name / "__init__.py").write_text("ours = True\n")
    command = [sys.executable, "-c", READ, str(tmp_path / "data"), "ray", "prefect", "pyarrow"]
    done = subprocess.run(
        command,
        cwd=tmp_path / "trainer",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "6 []"
