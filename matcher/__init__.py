"""Image science: arrays in, arrays out."""

__all__: list[str] = []
