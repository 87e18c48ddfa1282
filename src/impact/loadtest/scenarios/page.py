"""A report as one page that needs nothing else: no script, no font, no network."""

from collections.abc import Sequence
from html import escape

from impact.loadtest.scenarios.curves import Line, by_percentile, over_time
from impact.loadtest.scenarios.recording import Figures
from impact.loadtest.scenarios.report import Report, ScenarioReport

_COLOURS = 6
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --rule: #d5dae0;
  --ground: #fff; --card: #f6f8fa; --good: #1a7f37; --bad: #cf222e;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #57606a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --rule: #30363d;
  --ground: #0d1117; --card: #151b23; --good: #3fb950; --bad: #f85149;
  --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff; --c4: #f778ba; --c5: #b1bac4; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1360px; padding: 24px; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 24px; margin: 0 } h2 { font-size: 19px; margin: 0 } p { margin: 4px 0 12px }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 18px; margin-top: 20px }
.soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
.verdict { font-weight: 600 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
  gap: 18px; margin: 12px 0 } figure { margin: 0 } svg { width: 100%; height: auto }
svg text { fill: var(--soft); font-size: 12px } .grid { stroke: var(--rule) }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
.raw { stroke-dasharray: 5 4 }
.c0 { stroke: var(--c0) } .c1 { stroke: var(--c1) } .c2 { stroke: var(--c2) }
.c3 { stroke: var(--c3) } .c4 { stroke: var(--c4) } .c5 { stroke: var(--c5) }
figcaption span { display: inline-block; margin-right: 14px; font-size: 13px }
figcaption svg { width: 22px; height: 10px; margin-right: 5px }
.wide { overflow-x: auto } table { border-collapse: collapse; min-width: 100%; margin-top: 12px }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--rule); text-align: right;
  white-space: nowrap; font-variant-numeric: tabular-nums }
th { font-weight: 600; color: var(--soft) }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
"""


def value(measured: float, unit: str) -> str:
    return f"{measured:.0%}" if unit == "share" else f"{measured:,.1f} {unit}"


def written(report: Report) -> str:
    where = report.machine
    sections = "".join(map(_section, report.scenarios))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Load test of {escape(report.url)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Load test</h1>{_verdict(met=report.met)}"
        f'<p class="soft">{escape(report.url)}, {report.began:%Y-%m-%d %H:%M} UTC, targets:'
        f" {report.targets.name}. {escape(where.system)}, Python {where.python}, {where.cores}"
        f" cores, load average {where.load:g} before.</p>{sections}</body></html>\n"
    )


def _verdict(*, met: bool) -> str:
    text = "All targets are met." if met else "Not all targets are met."
    return f'<p class="verdict {"good" if met else "bad"}">{text}</p>'


def _section(found: ScenarioReport) -> str:
    load, effort = found.load, found.client
    how = (
        f"{load.concurrency} callers, each sends its next request when it has its answer"
        if load.rate is None
        else f"{load.rate:g} visits due each second, {load.concurrency} callers"
    )
    if load.warm_up:
        how += f", after {load.warm_up:,} visits to warm up"
    notes = [f"{count:,} x {what}" for what, count in found.failures.items()]
    if effort.bottleneck:
        notes.append("The load generator may be what was measured.")
    return (
        f"<section><h2>{escape(found.title)}</h2>{_verdict(met=found.met)}"
        f'<p class="soft">{found.requests:,} requests in {effort.seconds:.1f} s'
        f" ({found.per_second:,.0f} a second); {how}. The load generator used {effort.cpu:.0%} of"
        f" a core.</p>{_checks(found)}{_charts(found)}{_kinds(found.kinds)}"
        + "".join(f'<p class="bad">{escape(note)}</p>' for note in notes)
        + "</section>"
    )


def _charts(found: ScenarioReport) -> str:
    """The most frequent kinds; in an open loop with what a measurement from the sending shows."""
    kinds = sorted(found.kinds, key=lambda kind: -kind.requests)[:_COLOURS]
    lines = [Line(kind.kind, kind.curve, f"c{n}") for n, kind in enumerate(kinds)]
    if found.loop == "open":
        lines += [
            Line(f"{kind.kind}, from sending", kind.uncorrected_curve, f"c{n} raw")
            for n, kind in enumerate(kinds)
        ]
    times = [
        Line("p50", [(each.at, each.p50) for each in found.over_time], "c0"),
        Line("p95", [(each.at, each.p95) for each in found.over_time], "c1"),
    ]
    most = max((kind.requests for kind in kinds), default=0)
    return (
        f'<div class="charts"><figure>{by_percentile(found.title, lines, most)}'
        f"{_legend(lines)}</figure><figure>{over_time(found.title, times)}{_legend(times)}"
        "</figure></div>"
    )


def _legend(lines: Sequence[Line]) -> str:
    entries = (
        f'<span><svg viewBox="0 0 22 10" aria-hidden="true"><polyline class="{line.style}"'
        f' points="0,5 22,5"/></svg>{escape(line.name)}</span>'
        for line in lines
    )
    return f"<figcaption>{''.join(entries)}</figcaption>"


def _checks(found: ScenarioReport) -> str:
    rows = [
        (
            escape(check.name),
            "nothing" if check.measured is None else value(check.measured, check.unit),
            value(check.limit, check.unit),
            f'<span class="{"good" if check.met else "bad"}">'
            f"{'met' if check.met else 'not met'}</span>",
        )
        for check in found.checks
    ]
    return _table(("Target", "Measured", "Limit", "Verdict"), rows)


def _kinds(kinds: Sequence[Figures]) -> str:
    rows = [
        (
            escape(each.kind),
            f"{each.requests:,}",
            f"{each.failed:,}",
            *(
                f"{figure:,.1f}"
                for figure in (each.mean, each.p50, each.p90, each.p95, each.p99, each.max)
            ),
        )
        for each in kinds
    ]
    return _table(
        ("Request", "Count", "Failed", "Mean ms", "p50", "p90", "p95", "p99", "Max"), rows
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'
