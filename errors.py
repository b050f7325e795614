"""Every error that Velatura raises on purpose.

VelaturaError                 one clear sentence; the command line prints it and exits with 1
├── InputError                what the caller gave cannot be used as it is
│   └── UnreadableFile        a file is damaged, lies about itself, or is of a refused format
├── SourceError               a catalogue source (a site, a dump) could not be read
│   └── SourceUnavailable     ... now: a later try may succeed
├── CatalogueError            the database is missing, locked, or of another version
├── LanguageModelError        a language model cannot be reached, or gives no answer of use
│   ├── LanguageModelUnavailable  ... now: a later try may succeed
│   │   └── LanguageModelSpent    ... since the money that was set for it is spent
│   └── LanguageModelRefusal  ... and will not answer: asking again would bring the same
├── BackendError              a program or service that paints for us cannot be reached, or fails
│   └── EngineError           a cluster, or a worker on it, cannot be reached, or is lost
├── Cancelled                 painting was stopped by whoever asked for it
├── IncompatibleAdapter       an adapter does not fit the model it is asked onto
└── MissingDependency         an optional package is not installed; says the line that installs it
"""

from __future__ import annotations

from .records import Usage


class VelaturaError(Exception):
    """The root of the tree."""


class InputError(VelaturaError):
    """What the caller gave cannot be used as it is."""


class UnreadableFile(InputError):
    """A file is damaged, lies about itself, or is of a refused format."""


class SourceError(VelaturaError):
    """A catalogue source (a site, a dump) could not be read."""


class SourceUnavailable(SourceError):
    """A catalogue source does not answer now; a later try may succeed."""


class CatalogueError(VelaturaError):
    """The database is missing, locked, or of another version."""


class LanguageModelError(VelaturaError):
    """A language model cannot be reached, or gives no answer of use.

    Args:
        message: The sentence.
        usage: What the question took all the same; a caller that counts it over several calls sets it later.
    """

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage or Usage()


class LanguageModelUnavailable(LanguageModelError):
    """A language model's server cannot be reached, or is full or failing; a later try may succeed."""


class LanguageModelSpent(LanguageModelUnavailable):
    """The money that was set for a language model is spent; nothing more is asked."""


class LanguageModelRefusal(LanguageModelError):
    """A language model will not answer; asking again would bring the same."""


class BackendError(VelaturaError):
    """A program or service that paints for us cannot be reached, or fails."""


class EngineError(BackendError):
    """A cluster, or a worker on it, cannot be reached, or is lost."""


class Cancelled(VelaturaError):
    """Painting was stopped by whoever asked for it."""


class IncompatibleAdapter(VelaturaError):
    """An adapter does not fit the model it is asked onto."""


class MissingDependency(VelaturaError):
    """An optional package is not installed.

    >>> str(MissingDependency("sentence_transformers", extra="embed"))
    "sentence_transformers is not installed; run: pip install 'velatura[embed]'"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'velatura[{extra}]'")
        self.package = package
        self.extra = extra
