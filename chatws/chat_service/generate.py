"""Generate the stubs of `pb/*.proto` (`python -m chatws.chat_service.generate`), or check them with `--check`.

This is a development tool; no module imports it.
"""

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path("chatws/chat_service/pb")
PROTOS = ("chat", "etcd", "ext", "user")
STUBS = [f"{proto}_{kind}" for proto in PROTOS for kind in ("pb2.py", "pb2.pyi", "pb2_grpc.py", "pb2_grpc.pyi")]


def generate(folder: Path) -> None:
    """Write the stubs below ``folder``, with the same relative path as in the project."""
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{files('grpc_tools').joinpath('_proto')}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        f"--mypy_out=quiet:{folder}",
        f"--mypy_grpc_out=quiet:{folder}",
        *(str(FOLDER / f"{proto}.proto") for proto in PROTOS),
    ]
    if protoc.main(arguments) != 0:
        sys.exit(f"the .proto files in {FOLDER} do not compile")


def stale() -> list[str]:
    """Return the names of the stubs that differ from newly generated ones."""
    here = ROOT / FOLDER
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / FOLDER
        return [
            name
            for name in STUBS
            if not (here / name).exists() or (fresh / name).read_text() != (here / name).read_text()
        ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m chatws.chat_service.generate", description="Generate the gRPC stubs."
    )
    parser.add_argument("--check", action="store_true", help="fail if the stubs are out of date, and write nothing")
    if not parser.parse_args().check:
        generate(ROOT)
    elif names := stale():
        sys.exit(f"out of date: {', '.join(names)}; run `make stubs`")


if __name__ == "__main__":
    main()
