"""Check that each check of `make test` fails when its rule is broken on purpose."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import BASE_DIR
from tools import npm

IGNORED = shutil.ignore_patterns(
    ".venv*", ".git", ".data", "__pycache__", ".*_cache", ".hypothesis", "tests", "node_modules"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the project without its tests, so that a test can break it."""
    return Path(shutil.copytree(BASE_DIR, tmp_path / "copy", ignore=IGNORED))


def fails(folder: Path, *command: str) -> str:
    """Return the output of a failing check; the caller shows that it passes on the unchanged project."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def passes(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_import_from_a_higher_layer_fails(copy: Path) -> None:
    passes(copy, tool("lint-imports"), "--no-cache")
    with (copy / "realtime/feeds/names.py").open("a") as file:
        file.write("\nfrom realtime import hub\n")
    assert "realtime.feeds.names -> realtime.hub" in fails(copy, tool("lint-imports"), "--no-cache")


def test_module_without_a_layer_fails(copy: Path) -> None:
    (copy / "realtime/attic.py").write_text("")
    assert "attic" in fails(copy, tool("lint-imports"), "--no-cache")


def test_second_importer_of_a_vendor_fails(copy: Path) -> None:
    with (copy / "chatws/web/probes.py").open("a") as file:
        file.write("\nimport redis\n")
    assert "One door to redis-py" in fails(copy, tool("lint-imports"), "--no-cache")


def test_wrong_type_fails(copy: Path) -> None:
    with (copy / "realtime/feeds/names.py").open("a") as file:
        file.write("\nwrong: int = user_feed(1)\n")
    assert "realtime/feeds/names.py" in fails(copy, tool("mypy"), "realtime/feeds/names.py")


def test_wrong_browser_code_fails(copy: Path) -> None:
    npm.main()
    (copy / "node_modules").symlink_to(npm.ROOT / "node_modules")
    biome = [str(npm.NODE), "node_modules/@biomejs/biome/bin/biome", "ci", "--error-on-warnings", "--colors=off"]
    types = [str(npm.NODE), "node_modules/typescript/bin/tsc", "--project", "."]
    passes(copy, *biome)
    passes(copy, *types)
    file = copy / "chatws/static/chatws/page/dom.js"
    text = file.read_text()
    file.write_text(f"{text}announce( 1);\n")
    assert "page/dom.js format" in fails(copy, *biome)
    assert "page/dom.js" in fails(copy, *types)
    file.write_text(f"{text}export const same = t == announce;\n")
    assert "noDoubleEquals" in fails(copy, *biome)


def test_unsupervised_task_fails(copy: Path) -> None:
    check = [sys.executable, "-m", "tools.code_rules"]
    passes(copy, *check)
    file = copy / "realtime/ids.py"
    file.write_text(f"import asyncio\n{file.read_text()}\n\ndef go(work):\n    asyncio.ensure_future(work)\n")
    assert "realtime/ids.py" in fails(copy, *check)


def test_unexplained_broad_except_fails(copy: Path) -> None:
    check = [sys.executable, "-m", "tools.code_rules"]
    file = copy / "realtime/ids.py"
    original = file.read_text()
    for caught in ("except Exception:", "except BaseException as error:", "except (ValueError, Exception):", "except:"):
        function = f"def go():\n    try:\n        pass\n    {caught}\n        pass\n"
        file.write_text(f"{original}\n\n{function}")
        assert "realtime/ids.py" in fails(copy, *check), caught
        file.write_text(f"{original}\n\n{function.replace(caught, f'{caught}  # a boundary')}")
        passes(copy, *check)


def test_proto_without_its_stubs_fails(copy: Path) -> None:
    check = [sys.executable, "-m", "chatws.chat_service.generate", "--check"]
    passes(copy, *check)
    proto = copy / "chatws/chat_service/pb/chat.proto"
    proto.write_text(proto.read_text().replace("string cover_url = 5;", "string cover_link = 5;"))
    assert "chat_pb2.py" in fails(copy, *check)


def test_outdated_docs_fail(copy: Path) -> None:
    check = [sys.executable, "manage.py", "interface_docs", "--check"]
    passes(copy, *check)
    frames = copy / "chatws/protocol/frames.py"
    frames.write_text(frames.read_text().replace("    typing: bool\n", "    typing: bool\n    since: int = 0\n", 1))
    assert "asyncapi.yaml, protocol.md" in fails(copy, *check)
    serializers = copy / "chatws/web/api/serializers.py"
    serializers.write_text(serializers.read_text().replace("at most 100", "at most 99"))
    assert "openapi.yaml" in fails(copy, *check)
    passes(copy, *check[:-1])
    passes(copy, *check)


def test_outdated_settings_table_fails(copy: Path) -> None:
    check = [sys.executable, "-m", "tools.settings_table", "--check"]
    passes(copy, *check)
    env = copy / "config/env.py"
    env.write_text(env.read_text().replace("chatws_waiting_frames: Count = 64", "chatws_waiting_frames: Count = 65"))
    assert "run `make docs`" in fails(copy, *check)
    passes(copy, *check[:-1])
    passes(copy, *check)


def test_model_without_its_migration_fails(copy: Path) -> None:
    check = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    passes(copy, *check)
    models = copy / "realtime/models.py"
    models.write_text(models.read_text().replace("max_length=128", "max_length=127"))
    assert "Alter field node" in fails(copy, *check)


def test_unlocked_dependency_fails(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"honcho>=2",', '"honcho>=2",\n  "sqlparse<0.5",'))
    assert "requirements.txt" in fails(copy, sys.executable, "-m", "tools.lock")
