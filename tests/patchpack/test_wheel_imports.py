import subprocess
import sys
from pathlib import Path

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
