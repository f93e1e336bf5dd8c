"""Checks that the workspace's `rust-version` covers every dependency, as `cargo metadata` has them.

It checks what crates declare. Which parts of the standard library are newer is known to clippy
(`incompatible_msrv`), and the workflow builds with the oldest compiler.
"""

import json
import subprocess
import sys


def version(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split("-")[0].split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def main() -> int:
    command = ["cargo", "metadata", "--format-version=1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    members = set(metadata["workspace_members"])
    ours = {p["rust_version"] for p in metadata["packages"] if p["id"] in members}
    if len(ours) != 1 or None in ours:
        print(f"the members of the workspace differ in rust-version: {ours}", file=sys.stderr)
        return 1
    [stated] = ours
    asked = {
        f"{package['name']} {package['version']}": version(package["rust_version"])
        for package in metadata["packages"]
        if package["rust_version"]
    }
    newer = {name: asked for name, asked in asked.items() if asked > version(stated)}
    for name, minimum in sorted(newer.items()):
        text = ".".join(map(str, minimum))
        print(f"{name} needs Rust {text}, the workspace says {stated}", file=sys.stderr)
    if not newer:
        print(f"rust-version {stated} covers all {len(metadata['packages'])} packages")
    return 1 if newer else 0


if __name__ == "__main__":
    sys.exit(main())
