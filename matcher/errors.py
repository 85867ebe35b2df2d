"""The errors that calque raises on purpose. Each message names what is wrong and what to do about it."""

__all__ = [
    "CalqueError",
    "CorruptIndex",
    "IndexBusy",
    "InputError",
    "MissingDependency",
    "SettingsMismatch",
]


class CalqueError(Exception):
    """Base of every error that calque raises on purpose; the command line prints it as one line."""


class InputError(CalqueError):
    """An input cannot be used: an unreadable file, a region outside the image, a malformed query."""


class MissingDependency(CalqueError):
    """An optional package or model is not installed; the message says how to get it."""


class SettingsMismatch(CalqueError):
    """An index was made with other settings, another vocabulary or another format than asked for."""


class CorruptIndex(CalqueError):
    """A file of the index is damaged or missing."""


class IndexBusy(CalqueError):
    """Another process is writing to the index."""
