"""Builds the Python package's wheels and sdist into `target/wheels`, and checks each.

    wheels.py TARGET...

A target is a Rust target triple, or `sdist`. Wheels for Linux are linked by zig, so that they run
with an old glibc, and on another architecture than this machine's. Those for this machine are
installed, without cargo on the PATH, in an environment of every Python that is found, and the tests
run there.

Prints a table: file, size, what auditwheel says, and the Pythons in which the tests passed.
"""

import contextlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WHEELS = TARGET / "wheels"
TOOLS = ROOT / ".cache/release/bin"

# The oldest libc of each family that Rust supports.
LINUX = {
    "x86_64-unknown-linux-gnu": "manylinux_2_17",
    "aarch64-unknown-linux-gnu": "manylinux_2_17",
    "x86_64-unknown-linux-musl": "musllinux_1_2",
    "aarch64-unknown-linux-musl": "musllinux_1_2",
}
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
MAX_BYTES = 8_000_000


def run(*command: str | Path, **options: object) -> str:
    """Runs a command, whose output is shown if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n`{' '.join(words)}` failed with code {done.returncode}")
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def maturin(*arguments: str | Path) -> Path:
    """Runs maturin, and gives the file that it made."""
    with tempfile.TemporaryDirectory(dir=TARGET) as out:
        environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
        # maturin looks for zig there.
        environment["PATH"] = f"{TOOLS}{os.pathsep}{environment['PATH']}"
        run(TOOLS / "maturin", *arguments, "--out", out, cwd=ROOT / "python", env=environment)
        [made] = Path(out).iterdir()
        WHEELS.mkdir(exist_ok=True)
        return Path(shutil.copy(made, WHEELS))


def wheel(target: str) -> Path:
    say(f"building for {target}")
    options = ["--zig", "--compatibility", LINUX[target]] if target in LINUX else []
    return maturin("build", "--locked", "--target", target, *options)


def sdist() -> Path:
    """Makes the sdist, and builds a wheel from it alone, quickly rather than well."""
    say("building the sdist, and a wheel from it")
    made = maturin("sdist")
    complete(made)
    with tempfile.TemporaryDirectory() as elsewhere:
        with tarfile.open(made) as archive:
            archive.extractall(elsewhere, filter="data")
        [source] = Path(elsewhere).iterdir()
        quick = {
            "CARGO_PROFILE_PYTHON_LTO": "off",
            "CARGO_PROFILE_PYTHON_OPT_LEVEL": "0",
            "CARGO_PROFILE_PYTHON_CODEGEN_UNITS": "16",
            "CARGO_TARGET_DIR": str(TARGET / "sdist"),
        }
        command = ["build", "--wheel", "--python", sys.executable, "--out-dir", elsewhere, source]
        run(TOOLS / "uv", *command, env=os.environ | quick)
        [_] = Path(elsewhere).glob("*.whl")
    return made


def complete(made: Path) -> None:
    """Mends what maturin leaves in an sdist where the root of the workspace is a package, too.

    Its Cargo.toml names tests, benches and examples, whose files are not there; and its README.md
    is the crate's in place of the Python package's.
    """
    with tarfile.open(made) as archive:
        files = {member: archive.extractfile(member) for member in archive.getmembers()}
        contents = {member: file.read() for member, file in files.items() if file}
    by_name = {member.name.partition("/")[2]: member for member in contents}
    manifest = contents[by_name["Cargo.toml"]].decode()
    targets = re.compile(r"^\[\[(?:test|bench|example)\]\]\n(?:[^\[\n].*\n)*\n?", re.M)
    contents[by_name["Cargo.toml"]] = targets.sub("", manifest).encode()
    contents[by_name["README.md"]] = contents[by_name["python/README.md"]]
    with tarfile.open(made, "w:gz") as archive:
        for member, content in contents.items():
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def audit(made: Path) -> str:
    """Checks a wheel's contents, and gives the oldest platform that auditwheel grants it."""
    size = made.stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"{made.name} has {size} bytes, more than the {MAX_BYTES} it may have")
    with zipfile.ZipFile(made) as contents:
        for name in contents.namelist():
            if re.search(r"lib(ssl|crypto)", name):
                sys.exit(f"{made.name} contains OpenSSL, as {name}")
    run(TOOLS / "abi3audit", "--strict", made)
    if "linux" not in made.name:
        return "-"
    shown = " ".join(run(TOOLS / "auditwheel", "show", made).split())
    # Without libraries but the libc's, it may be tagged for what it is consistent with.
    tag = re.search(r'is consistent with the following platform tag: "([^"]+)"', shown)
    if tag is None:
        sys.exit(f"auditwheel says of {made.name}: {shown}")
    if tag[1] not in made.name:
        sys.exit(f"auditwheel says that {made.name} is for {tag[1]}")
    return tag[1]


def is_for_here(target: str) -> bool:
    """Whether the wheels of a target run on this machine."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    libc = sysconfig.get_config_var("HOST_GNU_TYPE") or ""
    system = {"Linux": "linux-musl" if "musl" in libc else "linux-gnu", "Darwin": "apple-darwin"}
    return target.startswith(machine) and target.endswith(system.get(platform.system(), "?"))


def pythons() -> dict[str, Path]:
    """An interpreter of each version that is found: on the PATH, of pyenv or of uv."""
    home = Path.home()
    found: dict[str, Path] = {}
    for version in PYTHONS:
        places = [
            *home.glob(f".pyenv/versions/{version}.*/bin/python"),
            *home.glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"),
            *(Path(folder) / f"python{version}" for folder in os.environ["PATH"].split(os.pathsep)),
        ]
        command = ["-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        for place in filter(Path.exists, places):
            done = subprocess.run([place, *command], capture_output=True, text=True)
            if done.stdout.strip() == version:
                found[version] = place
                break
    return found


def folders_without_cargo() -> list[str]:
    folders = os.environ["PATH"].split(os.pathsep)
    return [folder for folder in folders if not (Path(folder) / "cargo").exists()]


@contextlib.contextmanager
def server(redis_modules: Path) -> Iterator[str]:
    """A Redis with modules while the block runs."""
    command = [redis_modules, "up", "standalone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def tried(made: Path) -> list[str]:
    """Installs a wheel in new environments, and gives the versions in which the tests passed."""
    run("cargo", "build", "--package", "redis-modules", "--locked", cwd=ROOT)
    redis_modules = TARGET / "debug/redis-modules"
    passed = []
    with server(redis_modules) as url, tempfile.TemporaryDirectory() as elsewhere:
        for version, interpreter in pythons().items():
            say(f"testing {made.name} with Python {version}")
            home = Path(elsewhere) / version
            run(TOOLS / "uv", "venv", "--python", interpreter, home)
            python = home / "bin/python"
            install = [TOOLS / "uv", "pip", "install", "--python", python]
            run(*install, f"{made}[test]")
            environment = os.environ | {
                "PATH": os.pathsep.join([str(home / "bin"), *folders_without_cargo()]),
                "REDIS_URL": url,
                "REDIS_MODULES": str(redis_modules),
            }
            tests = ROOT / "python/tests"
            command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
            shown = run(python, *command, cwd=elsewhere, env=environment)
            say(shown.splitlines()[-1])
            passed.append(version)
    return passed


def megabytes(made: Path) -> str:
    return f"{made.stat().st_size / 1e6:.1f} MB"


def main(targets: list[str]) -> None:
    TARGET.mkdir(exist_ok=True)
    rows = [("file", "size", "auditwheel", "tests passed with Python")]
    for target in targets:
        if target == "sdist":
            made = sdist()
            rows.append((made.name, megabytes(made), "-", "-"))
            continue
        made = wheel(target)
        verdict = audit(made)
        versions = ", ".join(tried(made)) if is_for_here(target) else "not on this machine"
        rows.append((made.name, megabytes(made), verdict, versions))
    run(TOOLS / "twine", "check", "--strict", *(WHEELS / name for name, *_ in rows[1:]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main(sys.argv[1:])
