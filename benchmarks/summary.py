"""The saved results as the table of docs/benchmarks.md.

python -m benchmarks.summary
"""

from __future__ import annotations

import json

from benchmarks.kit.report import RESULTS


def main() -> None:
    """Print one row a target, and the machines that they were measured on."""
    machines: dict[str, list[str]] = {}
    print("| benchmark | what | wanted | measured |\n|---|---|---|---|")
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        for what, target in result["targets"].items():
            sign, bound = (
                ("≤", target["at_most"]) if "at_most" in target else ("≥", target["at_least"])
            )
            missed = "" if target["met"] else " (missed)"
            print(f"| {path.stem} | {what} | {sign} {bound} | {target['got']}{missed} |")
        found = result["machine"]
        name = f"{found['cpu']}, {found['cores']} cores, {found['ram_gib']} GiB"
        machines.setdefault(f"{name}, commit {found['commit']}", []).append(path.stem)
    for machine, names in machines.items():
        print(f"\n{', '.join(names)}: {machine}.")


if __name__ == "__main__":
    main()
