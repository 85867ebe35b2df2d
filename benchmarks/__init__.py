"""Scripts that print a table and write JSON: quality beside time beside bytes."""

__all__: list[str] = []
