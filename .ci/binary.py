"""Packs the command line into `target/binaries`, with its manual pages and completions.

    binary.py TARGET...

A target is a Rust target triple that this machine can run. For Linux it is one of musl's, linked by
zig into one static file.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
TOOLS = ROOT / ".cache/release/bin"
# The names under which each shell looks for completions.
COMPLETIONS = {
    "bash": "langgraph-redis.bash",
    "fish": "langgraph-redis.fish",
    "zsh": "_langgraph-redis",
}


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def build(target: str) -> Path:
    """Builds the binary."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
    # cargo-zigbuild looks for zig there.
    environment["PATH"] = f"{TOOLS}{os.pathsep}{environment['PATH']}"
    command = ["cargo", "zigbuild" if "linux" in target else "build", "--release", "--locked"]
    command += ["--features", "cli,server,otlp", "--bin", "langgraph-redis", "--target", target]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return TARGET / target / "release/langgraph-redis"


def is_static(binary: Path) -> bool:
    """Whether an ELF file asks for no loader and no library."""
    with binary.open("rb") as file:
        segments = {segment["p_type"] for segment in ELFFile(file).iter_segments()}
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        needed = [tag for tag in dynamic.iter_tags("DT_NEEDED")] if dynamic else []
    return "PT_INTERP" not in segments and not needed


def archive(target: str, binary: Path) -> Path:
    """Packs it with what belongs to it."""
    [version] = re.findall(r"^langgraph-redis (\S+)$", output(binary, "--version"), re.M)
    name = f"langgraph-redis-{version}-{target}"
    path = TARGET / "binaries" / f"{name}.tar.gz"
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, tarfile.open(path, "w:gz") as packed:
        output(binary, "man", Path(made) / "man/man1")
        completions = Path(made) / "completions"
        completions.mkdir()
        for shell, file in COMPLETIONS.items():
            (completions / file).write_text(output(binary, "completions", shell))
        packed.add(binary, f"{name}/langgraph-redis")
        for file in ["LICENSE", "CHANGELOG.md"]:
            packed.add(ROOT / file, f"{name}/{file}")
        for folder in ["man", "completions"]:
            packed.add(Path(made) / folder, f"{name}/{folder}")
    return path


def main(targets: list[str]) -> None:
    if not targets:
        sys.exit("name a target, such as x86_64-unknown-linux-musl")
    for target in targets:
        binary = build(target)
        if "linux" in target and not is_static(binary):
            sys.exit(f"{binary} is not static")
        made = archive(target, binary)
        print(f"{made.name}  {made.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
