"""The web page: not built yet, see docs/architecture.md."""

__all__: list[str] = []
