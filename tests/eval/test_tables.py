from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest

from velatura.eval.tables import Number, Table, decimals, to_csv, to_html, to_latex, to_markdown

HOSTILE = (
    'a | fox $x^2$ <script>alert(1)</script> & "q" \\input{/etc/passwd} 100% #1_a ~{b}\nnext `line` *b* [x](y)\ud800'
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(value=27.2468, error=0.031), "27.25 ± 0.03"),
        (Number(value=27.2468, error=0.0124), "27.247 ± 0.012"),
        (Number(value=22.05, error=4.2), "22 ± 4"),
        (Number(value=-1.913, error=0.21, signed=True), "−1.9 ± 0.2"),
        (Number(value=0.0312, signed=True, digits=2), "+0.03"),
        (Number(value=-0.001, signed=True, digits=2), "0.00"),
        (Number(value=59.2224, low=56.29, high=62.08), "59.2 [56.3, 62.1]"),
        (Number(value=2.0, error=0.0), "2.00 ± 0.00"),
        (Number(value=12345.678), "1.235e+04"),
        (Number(value=None), "–"),
        (Number(value=float("nan"), error=1.0), "–"),
        (Number(value=1.5, error=float("inf")), "1.50 ± –"),
    ],
)
def test_digits_are_those_that_the_error_allows(number, text) -> None:
    assert str(number) == text


def test_tiny_and_huge_errors() -> None:
    assert [decimals(error) for error in (1e-300, 1e300, float("nan"), 0.0999, 0.95)] == [8, 0, 2, 2, 1]


@pytest.fixture
def table() -> Table:
    return Table(
        columns=("method", "CLIP | score", "n"),
        rows=(
            (HOSTILE, Number(value=27.2468, error=0.031, best=True), 10),
            ("=cmd()", Number(value=-1.5, low=-2.0, high=-1.0), None),
        ),
        caption="Scores & <more>",
        notes=("± is the standard error",),
    )


def test_markdown_keeps_its_rows_and_cells(table) -> None:
    lines = to_markdown(table).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert rows[1] == "| --- | ---: | ---: |"
    for row in rows:
        assert row.replace("\\|", "").count("|") == 4
    assert "<script>" not in rows[2]
    assert r"\$x^2\$" in rows[2]
    assert r"\[x\]\(y\)" in rows[2]
    assert "| **27.25 ± 0.03** | 10 |" in rows[2]
    assert rows[3] == "| =cmd\\(\\) | −1.5 [−2.0, −1.0] |  |"
    assert lines[0] == "**Scores &amp; &lt;more&gt;**"
    assert lines[-1] == "- ± is the standard error"


def test_latex_runs_no_command_of_the_text(table) -> None:
    text = to_latex(table, label="tab:one")
    assert r"\input" not in text
    assert r"\textbackslash{}input\{/etc/passwd\} 100\% \#1\_a \textasciitilde{}\{b\}" in text
    assert r"\$x\textasciicircum{}2\$" in text
    assert r"& \textbf{27.25 $\pm$ 0.03} & 10 \\" in text
    assert r"$-$1.5 [$-$2.0, $-$1.0]" in text
    assert r"\begin{tabular}{lrr}" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1
    assert r"\label{tab:one}" in text
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")


def test_latex_line_does_not_begin_like_an_option() -> None:
    text = to_latex(Table(columns=("[a",), rows=(("*b",), ("[c",))))
    assert [line for line in text.splitlines() if line.endswith(r"\\")] == [r"{}[a \\", r"{}*b \\", r"{}[c \\"]


def test_csv_has_all_digits_and_no_formulas(table) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    score = "CLIP | score"
    assert rows[0] == ["method", score, f"{score} (±)", f"{score} (low)", f"{score} (high)", "n"]
    assert rows[1][1:] == ["27.2468", "0.031", "", "", "10"]
    assert rows[2] == ["'=cmd()", "-1.5", "", "-2.0", "-1.0", ""]
    assert "\n" not in rows[1][0]
    to_csv(table).encode("utf-8")


def test_html_is_escaped_and_balanced(table) -> None:
    text = to_html(table)
    assert "<script>" not in text
    assert '<td class="number"><strong>27.25 ± 0.03</strong></td>' in text
    opened: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attrs) -> None:
            opened.append(tag)

        def handle_endtag(self, tag) -> None:
            assert opened.pop() == tag

    Balance().feed(text)
    assert not opened
    text.encode("utf-8")


def test_empty_tables_are_tables_and_ragged_ones_are_not() -> None:
    empty = Table(columns=("a",), rows=())
    assert to_csv(empty) == "a\n"
    assert to_markdown(empty) == "| a |\n| --- |\n"
    with pytest.raises(ValueError, match="each row a cell"):
        Table(columns=("a", "b"), rows=(("x",),))
    with pytest.raises(ValueError, match="has columns"):
        Table(columns=(), rows=())
