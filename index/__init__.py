"""Many images on disk: catalogue, vocabulary, segments, search."""

__all__: list[str] = []
