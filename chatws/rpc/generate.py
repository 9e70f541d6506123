"""Makes the stubs of `pb/chat.proto`: `python -m chatws.rpc.generate`, or `--check` to see that they are current.

A tool of development; nothing imports it.
"""

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent.parent
PROTO = "chatws/rpc/pb/chat.proto"
STUBS = ("chat_pb2.py", "chat_pb2.pyi", "chat_pb2_grpc.py", "chat_pb2_grpc.pyi")


def generate(folder: Path) -> None:
    """Write the stubs below ``folder``, at the path they have below the project."""
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
        PROTO,
    ]
    if protoc.main(arguments) != 0:
        sys.exit(f"{PROTO} can't be compiled")


def stale() -> list[str]:
    """The stubs that differ from what the `.proto` says now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / PROTO
        return [
            name
            for name in STUBS
            if not (ROOT / PROTO).with_name(name).exists()
            or fresh.with_name(name).read_text() != (ROOT / PROTO).with_name(name).read_text()
        ]


def main() -> None:
    """Generate, or check."""
    parser = argparse.ArgumentParser(prog="python -m chatws.rpc.generate", description="Make the gRPC stubs.")
    parser.add_argument("--check", action="store_true", help="only say whether the stubs are current; fail if not")
    if not parser.parse_args().check:
        generate(ROOT)
    elif names := stale():
        sys.exit(f"not what {PROTO} says: {', '.join(names)}; run `make stubs`")


if __name__ == "__main__":
    main()
