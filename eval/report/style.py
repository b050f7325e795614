"""How the page looks: dark and light, on a telephone and on paper, without a script."""

from __future__ import annotations

from typing import Final

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page may load nothing and run nothing."""

COLOURS: Final = ("#3b6fb6", "#c8553d", "#3f8f5b", "#8a5fb0", "#b07d2b", "#2b8f98", "#b34a86", "#6b7280", "#8a8a2b")
"""Of methods in charts, told apart by shapes too."""

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2026; --quiet: #5b616d; --line: #d9dce2; --ground: #fff; --panel: #f5f6f8;
  --link: #1f5fae; --good: #1a6b3c; --bad: #a8321f; --warn: #7a5200; --warn-ground: #fff6df; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --quiet: #a2a9b6; --line: #363b45; --ground: #15171c;
  --panel: #1e2128; --link: #8ab8f5; --good: #6fcf97; --bad: #f2917f; --warn: #f0c674; --warn-ground: #2c2617; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main, header, nav { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; overflow-wrap: anywhere; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.25rem; }
a { color: var(--link); }
section { margin: 2.5rem 0; scroll-margin-top: 1rem; }
code { font: .85em/1.5 ui-monospace, monospace; background: var(--panel); padding: .1em .3em; border-radius: 3px;
  overflow-wrap: anywhere; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--ground); padding: .5rem; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; max-width: none; }
nav a { display: inline-block; padding: .3rem 0; }
dl { margin: .75rem 0; }
dl div { display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: .1rem 1rem; padding: .2rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .75rem 0 .25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
.wide { display: block; min-width: 11rem; white-space: normal; overflow-wrap: anywhere; }
th:has(.wide) { position: static; }
thead th { color: var(--quiet); font-weight: 500; }
tbody th { min-width: 6.5rem; overflow-wrap: break-word; font-weight: 500; position: sticky; left: 0;
  background: var(--ground); }
.note, .quiet, figcaption { color: var(--quiet); font-size: .875rem; overflow-wrap: anywhere; }
.mark.better { color: var(--good); } .mark.worse { color: var(--bad); }
.mark.unclear, .mark.untested { color: var(--quiet); }
.verdicts { list-style: none; padding: 0; }
.verdicts li { padding: .2rem 0; }
.warnings { background: var(--warn-ground); border-left: 4px solid var(--warn); padding: .5rem .75rem .5rem 1.75rem; }
.anchors { background: var(--panel); border: 1px dashed var(--quiet); color: var(--quiet); padding: .5rem 1rem; }
.anchors tbody th { background: var(--panel); }
details { margin: .5rem 0; border-top: 1px solid var(--line); padding: .25rem 0; }
summary { cursor: pointer; padding: .3rem 0; font-weight: 500; }
figure { margin: .75rem 0; }
.chart { width: 100%; max-width: 46rem; height: auto; display: block; }
.chart text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.chart .grid { stroke: var(--line); } .chart .frame { stroke: var(--quiet); fill: none; }
.chart .bar { fill: var(--quiet); } .chart .chance { stroke: var(--bad); stroke-dasharray: 4 3; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; padding: 0; }
.key svg { width: 1rem; height: 1rem; vertical-align: -.15em; margin-right: .35rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1rem; }
.entry { background: var(--panel); border-radius: 6px; padding: .75rem; break-inside: avoid; }
.entry h4 { margin: 0 0 .35rem; font-size: .95rem; font-weight: 600; overflow-wrap: anywhere; }
.entry p { margin: .25rem 0; font-size: .875rem; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; margin-bottom: .35rem; }
.pair figure { margin: 0; }
.pair img { display: block; width: 100%; height: auto; border-radius: 3px; }
.pair img.small { image-rendering: pixelated; }
.tag { display: inline-block; border: 1px solid var(--warn); color: var(--warn); border-radius: 3px; padding: 0 .35rem;
  margin: 0 .3rem .2rem 0; font-size: .8rem; }
footer { max-width: 70rem; margin: 3rem auto 2rem; padding: 0 1rem; color: var(--quiet); font-size: .875rem; }
@media (max-width: 40rem) { dl div { grid-template-columns: 1fr; } body { font-size: 15px; } h1 { font-size: 1.4rem; }
  th, td { padding-right: .65rem; } .chart text { font-size: 17px; } }
@media print { :root { color-scheme: light; --ink: #000; --quiet: #444; --line: #bbb; --ground: #fff; --panel: #fff;
  --good: #1a6b3c; --bad: #a8321f; --warn: #7a5200; --warn-ground: #fff; }
  nav, .skip { display: none; } body { font-size: 10pt; } .scroll { overflow: visible; } td { white-space: normal; }
  h2, h3, caption, summary { break-after: avoid; }
  table { font-size: 8pt; } thead { display: table-header-group; } tr, figure, .entry { break-inside: avoid; }
  details::details-content { content-visibility: visible; display: block; } }
"""
