"""Runs the notebooks of docs/notebooks, on the Redis of `REDIS_URL` or on one that it starts.

A notebook that raises ends it with an error. `--write` stores what the cells have shown.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Start a Redis and name it in `REDIS_URL`, unless that names one."""
    if os.environ.get("REDIS_URL"):
        yield
        return
    command = ["cargo", "run", "--quiet", "--locked", "--package", "redis-modules", "--", "up"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            os.environ["REDIS_URL"] = started.stdout.readline().strip()
            if not os.environ["REDIS_URL"]:
                sys.exit("no Redis: set REDIS_URL, or mend `cargo run -p redis-modules`")
            yield
        finally:
            started.terminate()


async def run(path: pathlib.Path, directory: str, write: bool) -> None:
    """Run a notebook in a kernel of its own."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        timeout=60,
        resources={"metadata": {"path": directory}},
        record_timing=False,
    )
    await client.async_execute()
    shown = nbformat.writes(notebook)
    if re.search(r"/(?:home|root|tmp|Users)/", shown):
        raise ValueError(f"{path.name} shows a path of this machine")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    if any(output.get("name") == "stderr" for output in outputs):
        raise ValueError(f"{path.name} shows a warning")
    if write:
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
    print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells ran")


async def main() -> None:
    """Run all of them at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store what the cells have shown")
    write = parser.parse_args().write
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    if not paths:
        sys.exit(f"there are no notebooks in {NOTEBOOKS}")
    with server(), tempfile.TemporaryDirectory() as directory:
        await asyncio.gather(*(run(path, directory, write) for path in paths))


asyncio.run(main())
