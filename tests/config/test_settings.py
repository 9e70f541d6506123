"""Check that every setting is read, from the environment variable to the code that uses it."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from chatws.conf import ChatConf
from config.env import BASE_DIR, Environment
from realtime.conf import RealtimeConf


def attributes_read(*paths: Path) -> set[str]:
    """Return the names of all attributes that code reads; a metric with a setting's name does not count."""
    trees = [ast.parse(path.read_text()) for path in paths]
    return {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and not ast.unparse(node.value).endswith("metrics")
    }


CODE = [path for package in ("realtime", "chatws") for path in (BASE_DIR / package).rglob("*.py")]
CODE.append(BASE_DIR / "config/asgi.py")


@pytest.mark.parametrize("conf", [RealtimeConf, ChatConf])
def test_every_setting_is_read(conf: type[RealtimeConf] | type[ChatConf]) -> None:
    assert {field.name for field in fields(conf)} - attributes_read(*CODE) == set()


def test_every_variable_is_read() -> None:
    """Find each variable in the settings; `make run` reads `HOST`, `PORT` and the like."""
    config = [path for path in (BASE_DIR / "config").rglob("*.py") if path.name != "env.py"]
    through = attributes_read(BASE_DIR / "config/env.py") | attributes_read(*config, *CODE)
    assert {name.lower() for name in Environment.__struct_encode_fields__} - through == set()


def test_environment_values_reach_the_code() -> None:
    """Check that each field with a variable is passed on; otherwise a fixed default would look like a setting."""
    source = ast.parse((BASE_DIR / "config/settings/base.py").read_text())
    passed = {
        call.func.id: {keyword.arg for keyword in call.keywords}
        for call in ast.walk(source)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    known = {name.lower() for name in Environment.__struct_encode_fields__}
    for conf in (RealtimeConf, ChatConf):
        for field in fields(conf):
            if f"chatws_{field.name}" in known:
                assert field.name in passed[conf.__name__], field.name


def test_settings_keep_their_name() -> None:
    """Check that a setting has one name, from the environment variable to the code that reads it."""
    source = ast.parse((BASE_DIR / "config/settings/base.py").read_text())
    given = [
        (keyword.arg, keyword.value.attr)
        for call in ast.walk(source)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("RealtimeConf", "ChatConf")
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Attribute) and ast.unparse(keyword.value.value) == "ENV"
    ]
    assert len(given) > 40
    assert [(name, of) for name, of in given if of not in (name, f"chatws_{name}")] == [("redis_url", "redis_address")]
