"""The ``calque`` command."""

__all__: list[str] = []
