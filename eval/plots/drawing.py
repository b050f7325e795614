"""A drawn figure, and the style of all figures: light, readable, told apart without colour too."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from ...errors import InputError, MissingDependency

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#404040", "#882255", "#999933")
"""Of Okabe and Ito (2008), and Tol's wine and olive: told apart by colour-blind people."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREYS = ("#6b6b6b", "#a3a3a3")
INK = "#333333"
FAINT = "#767676"

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#b0b0b0",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#ececec",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "velatura",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}
_LONGEST = 60
_PROLOG = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_ID = re.compile(r'(\bid="|\burl\(#|\bhref="#)')


class Drawing:
    """A figure that is drawn when asked for its bytes; the same figure gives the same bytes.

    Args:
        figure: A matplotlib `Figure`, settled.
        title: What it shows, for those who cannot see it.
    """

    def __init__(self, figure: Any, title: str) -> None:
        self._figure = figure
        self.title = title

    def png(self, *, dpi: int = 160) -> bytes:
        """Return the figure as PNG."""
        return self._drawn("png", {"Software": None}, dpi)

    def svg(self) -> str:
        """Return the figure as a whole SVG document, its text as text."""
        drawn = self._drawn("svg", {"Creator": None, "Date": None}, 72).decode()
        # Readers that lack the font are to take one of its kind, not their serif.
        return drawn.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")

    def inline(self, prefix: str) -> str:
        """Return the figure as an `svg` element for an HTML page.

        Args:
            prefix: Put before every id, so that the figures of one page do not take each other's; letters, digits and
                hyphens.

        Raises:
            ValueError: a prefix with other characters.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", prefix):
            raise ValueError(f"{prefix!r} is no prefix for ids: it has letters, digits and hyphens")
        bare = _METADATA.sub("", _PROLOG.sub("", self.svg()), count=1)
        head, end, body = bare.partition(">")
        label = escape(shown(self.title))
        head += f' id="{prefix}" role="img" aria-label="{label}" style="max-width: 100%; height: auto"'
        # The style would else be the whole page's. Text has no such marks as ids have: its angles are escaped.
        body = body.replace("*{stroke", f"#{prefix} *{{stroke", 1)
        return head + end + re.sub(r"<[^>]*>", lambda tag: _ID.sub(rf"\g<1>{prefix}-", tag[0]), body)

    def save(self, path: str | Path) -> None:
        """Write the figure; the name's ending says as what.

        Raises:
            InputError: an ending that is neither .png nor .svg, or the file cannot be written.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".png":
                content = self.png()
            case ".svg":
                content = self.svg().encode()
            case ending:
                raise InputError(f"a figure is saved as .png or .svg, not as {ending or 'a file without an ending'}")
        try:
            path.write_bytes(content)
        except OSError as error:
            raise InputError(f"the figure {path} cannot be written: {error.strerror or error}") from None

    def _drawn(self, form: str, metadata: dict[str, None], dpi: int) -> bytes:
        stream = io.BytesIO()
        with style():
            self._figure.savefig(stream, format=form, metadata=metadata, dpi=dpi)
        return stream.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Draw within this: our style alone, whatever the person's own settings of matplotlib are.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise MissingDependency("matplotlib", extra="eval") from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes in PNG; in SVG the reader's fonts show them.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches that knows nothing of any window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settle(figure: Any) -> None:
    """Lay a figure out once and for all: laid out anew at every drawing, it would move a little each time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def colour(place: int) -> str:
    """Return the colour of the series at a place."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """Return the marker of the series at a place; past the colours they fall out of step, so pairs stay different."""
    return MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def shown(name: str) -> str:
    r"""Return a name as a figure has it: on one line, printable, not too long.

    >>> shown("two\nlines " + "and more " * 20)
    'two lines and more and more and more and more and more and …'
    """
    kept = " ".join("".join(char if char.isprintable() else " " for char in name).split())
    return kept if len(kept) <= _LONGEST else kept[: _LONGEST - 1] + "…"
