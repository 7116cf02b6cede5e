"""Messages of the protocol as plain values, with the names of `admin.proto`."""

from __future__ import annotations

from typing import Any

__all__ = ["as_dict"]


def as_dict(message: Any) -> dict[str, Any]:
    """All fields, those included that have their default. (protobuf's own JSON has numbers of 64
    bits as text, and leaves defaults out.)"""
    return {field.name: _value(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(value: Any) -> Any:
    if isinstance(value, str | int | float | bool | bytes):
        return value
    if hasattr(value, "DESCRIPTOR"):
        return as_dict(value)
    return [_value(each) for each in value]
