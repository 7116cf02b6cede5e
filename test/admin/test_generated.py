"""The generated code is that of admin.proto. What can be compared without the tools always is; with
them (scripts/proto has been run here) it is generated again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pymap.admin.proto import admin_grpc, admin_pb2

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "pymap" / "admin" / "proto"
PROTO = re.sub(r"//.*", "", (FOLDER / "admin.proto").read_text("utf-8"))
_MESSAGE = re.compile(r"^message (\w+) \{(?:\}|\n(.*?)^\})", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"(\w+) (\w+) = (\d+);")


def test_messages_and_fields_are_those_of_the_file() -> None:
    told = {
        name: {(field, int(number)) for _, field, number in _FIELD.findall(body)}
        for name, body in _MESSAGE.findall(PROTO)
    }
    made = {
        name: {(field.name, field.number) for field in kind.fields}
        for name, kind in admin_pb2.DESCRIPTOR.message_types_by_name.items()
    }
    assert told == made


def test_methods_are_those_of_the_file() -> None:
    told = set()
    for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", PROTO, re.MULTILINE | re.DOTALL):
        told |= {(service, method) for method in re.findall(r"rpc (\w+)\(", body)}
    made = {
        (name, method)
        for name in admin_pb2.DESCRIPTOR.services_by_name
        for method in vars(getattr(admin_grpc, f"{name}Base"))
        if not method.startswith("_")
    }
    assert told == made


def test_old_libraries_can_load_it() -> None:
    assert "# Protobuf Python Version: 4.25." in (FOLDER / "admin_pb2.py").read_text("utf-8")


@pytest.mark.skipif(
    not (ROOT / ".venv" / "proto" / "installed").exists(), reason="scripts/proto was never run here"
)
def test_generating_it_again_changes_nothing() -> None:
    done = subprocess.run([ROOT / "scripts" / "proto", "--check"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
