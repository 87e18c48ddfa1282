// What the board shows of the server's figures. Whatever comes from the server becomes text, never
// markup, but for the charts, which the server draws and which are parsed as SVG.

import { $, ago, clock, count, make, ms, NONE, one, percent, rate, say, seconds, shown, some, two, whole } from "./dom.js";
import { openPlan } from "./plan.js";
import { Table } from "./table.js";

const col = (id, label, format, more = {}) => ({
  id, label, num: true, of: (row) => row[id], text: (row) => format(row[id]), ...more,
});
const name = (label) => ({ id: "name", label, of: (row) => row.name });
const timed = [
  col("p50", "p50 ms", ms), col("p95", "p95 ms", ms), col("p99", "p99 ms", ms),
];
const errors = col("errors", "Errors", count, { bad: (row) => row.errors > 0 });
const share = col("share", "Share of time", percent, { bar: true });
const plan = { id: "plan", label: "Plan", act: openPlan };
const key = (row) => row.name;
const FIVE = "Of the last five minutes; the rate is of the last one.";

export const tables = {
  routes: new Table("routes", {
    caption: `Requests by route. ${FIVE}`, key, order: ["count", true], empty: "No request yet.",
    columns: [name("Route"), col("rate", "Per second", rate), col("count", "Requests", count),
      errors, ...timed, share],
  }),
  queries: new Table("queries", {
    caption: `Named statements by the time they took in all. ${FIVE}`, key,
    order: ["total", true], empty: "No statement yet.",
    columns: [name("Query"), col("total", "Total ms", shown(one)), col("rate", "Per second", rate),
      col("count", "Runs", count), errors, ...timed, share, plan],
  }),
  slow: new Table("slow", {
    caption: "The latest statements that took longer than IMPACT_SLOW_QUERY, newest first",
    key: (row) => `${row.at} ${row.name} ${row.request_id}`, order: ["at", true],
    empty: "No statement was slow.",
    columns: [name("Query"), { id: "at", label: "At", num: true, of: (row) => row.at, text: (row) => clock(row.at) },
      col("run_ms", "Run ms", ms), col("wait_ms", "Wait ms", ms), col("rows", "Rows", count),
      { id: "tenant", label: "Shop", of: (row) => row.tenant },
      { id: "node", label: "Server", of: (row) => row.node },
      { id: "parameters", label: "Parameters (kinds)", wide: true, text: (row) =>
        Object.entries(row.parameters).map(([key, kind]) => `${key}: ${kind}`).join(", ")
          + (row.failed ? ` failed: ${row.failed}` : "") },
      plan],
  }),
  cache: new Table("cache", {
    caption: "Look-ups in the cache by entity, of the last five minutes", key: (row) => row.entity,
    order: ["lookups", true], empty: "Nothing was looked up yet.",
    columns: [{ id: "entity", label: "Entity", of: (row) => row.entity },
      col("lookups", "Look-ups", count),
      col("l1", "L1 hits", percent, { hint: "Of all: answered by the process's own memory" }),
      col("l2", "L2 hits", percent, { hint: "Of the others: answered by Redis" }),
      col("database", "Database", count), col("p95", "p95 ms", ms)],
  }),
  tenants: new Table("tenants", {
    caption: `Requests by shop. ${FIVE}`, key, order: ["count", true], empty: "No request yet.",
    columns: [name("Shop"), col("rate", "Per second", rate), col("count", "Requests", count),
      col("p95", "p95 ms", ms), share],
  }),
  limits: new Table("limits", {
    caption: "Requests by class that rate limits let pass or refused, since the server started", key,
    order: ["limited", true], empty: "No request yet.",
    columns: [name("Class"), col("admitted", "Passed", count),
      col("limited", "Refused", count, { bad: (row) => row.limited > 0 }),
      col("share", "Share refused", percent, { bar: true })],
  }),
  nodes: new Table("nodes", {
    caption: "Database servers with their lag and their share of the transactions since the start",
    key: (row) => `${row.name} ${row.role}`, order: ["name", false], empty: "No server is known.",
    columns: [name("Server"), { id: "role", label: "Role", of: (row) => row.role },
      { id: "usable", label: "State", of: (row) => row.usable, bad: (row) => !row.usable,
        text: (row) => (row.usable ? "in use" : "not used") },
      col("lag", "Lag s", seconds), col("sessions", "Transactions", count),
      col("share", "Share", percent, { bar: true })],
  }),
  pools: new Table("pools", {
    caption: "Connections by server, and waits for one in the last five minutes",
    key: (row) => row.node, order: ["node", false], empty: "No pool is open.",
    columns: [{ id: "node", label: "Pool of", of: (row) => row.node },
      { id: "used", label: "In use", num: true, of: (row) => row.used / (row.max || 1), bar: true,
        text: (row) => `${row.used} of ${row.max}` },
      col("idle", "Idle", count), col("waiting", "Waiting", count, { bad: (row) => row.waiting > 0 }),
      col("p95", "Wait p95 ms", ms), col("p99", "p99 ms", ms),
      col("errors", "Failed", count, { bad: (row) => row.errors > 0 }),
      col("shed", "Sent away", count, { bad: (row) => row.shed > 0,
        hint: "Requests refused since the server started, as too many waited or too long" })],
  }),
};

// Tiles, alerts, charts.

function tiles(list, entries) {
  entries.forEach(([label, text, unit], at) => {
    let tile = list.children[at];
    if (!tile) {
      tile = make("div", {}, make("dt"), make("dd", {}, make("span"), make("span", { class: "unit" })));
      list.append(tile);
    }
    const [term, value] = tile.children;
    say(term, label);
    value.className = text == null ? "none" : "";
    say(value.firstChild, text ?? (list.id === "relay" ? "not reported" : "not measured yet"));
    say(value.lastChild, text == null ? "" : unit);
  });
}

const known = (value, format) => (value == null ? null : format(value));

function showTiles(now, relay) {
  const reported = Object.values(relay).some((value) => value != null);
  $("relay").hidden = !reported;
  $("no-relay").hidden = reported;
  tiles($("tiles"), [
    ["Requests", known(now.requests, some.format), "/s"],
    ["p95, last minute", known(now.p95_ms, some.format), "ms"],
    ["Errors", known(now.errors, two.format), "/s"],
    ["Waiting", known(now.waiting, whole.format), "requests"],
    ["Refused", known(now.refused, two.format), "/s"],
    ["Cache hit rate", known(now.hit_rate, (v) => one.format(v * 100)), "%"],
    ["Fullest pool", known(now.pool_use, (v) => whole.format(v * 100)), "% used"],
    ["Worst lag", known(now.lag, two.format), "s"],
  ]);
  tiles($("relay"), [
    ["Waiting for the relay", known(relay.waiting, whole.format), "records"],
    ["Oldest of them", known(relay.oldest, one.format), "s"],
    ["Moved since the start", known(relay.moved, whole.format), "records"],
    ["In the default partition", known(relay.default_rows, whole.format), "rows"],
    ["Partitions reach for", known(relay.prepared, (v) => whole.format(v / 86400)), "days"],
  ]);
}

function showAlerts(list, alerts, now) {
  const keyed = new Map([...list.children].map((item) => [item.dataset.key, item]));
  alerts.forEach((alert, at) => {
    const labels = Object.values(alert.labels).join(", ");
    const id = `${alert.rule} ${labels} ${alert.since}`;
    let item = keyed.get(id);
    keyed.delete(id);
    if (!item) {
      item = make("li", { "data-key": id, "data-severity": alert.severity },
        make("span", { class: "badge" }), make("span", { class: "what" }, make("b"), " ", make("span")),
        make("span", { class: "when" }), make("span", { class: "advice" }));
      item.classList.toggle("over", alert.resolved != null);
    }
    const [badge, what, when, advice] = item.children;
    say(badge, alert.resolved == null ? alert.severity : "over");
    say(what.firstChild, labels ? `${alert.summary}: ${labels}` : alert.summary);
    say(what.lastChild, `${alert.shown}, limit ${alert.threshold}`);
    say(when, alert.resolved == null ? `since ${clock(alert.since)}` : ago(alert.resolved, now));
    say(advice, alert.resolved == null ? alert.advice : "");
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
  for (const item of keyed.values()) item.remove();
}

const policy = globalThis.trustedTypes?.createPolicy("ops", { createHTML: (drawn) => drawn });

export function showCharts(charts) {
  for (const [id, drawn] of Object.entries(charts)) {
    const source = policy ? policy.createHTML(drawn) : drawn;
    const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
    if (parsed.localName !== "svg") continue;
    const [title, range] = [...parsed.children].map((each) => each.textContent);
    let figure = document.querySelector(`[data-chart="${CSS.escape(id)}"]`);
    if (!figure) {
      figure = make("figure", { "data-chart": id },
        make("figcaption", { "aria-hidden": "true" }, make("span"), make("b")), make("div"));
      $("charts").append(figure);
    }
    const [words, latest] = figure.firstChild.children;
    say(words, title.replace(/, last 15 minutes$/, ""));
    say(latest, range.match(/^Now ([^;]+);/)?.[1] ?? "");
    figure.lastChild.replaceChildren(document.importNode(parsed, true));
  }
}

export function show(figures) {
  showTiles(figures.now, figures.relay);
  const hurt = figures.standing;
  say($("n-alerts"), hurt.length ? `${hurt.length} standing` : "");
  $("calm").hidden = hurt.length > 0;
  showAlerts($("standing"), hurt, figures.at);
  showAlerts($("ended"), figures.ended, figures.at);
  $("ended-box").hidden = !figures.ended.length;
  say($("n-ended"), `${figures.ended.length}`);
  for (const [id, table] of Object.entries(tables)) {
    const found = figures[id];
    if (Array.isArray(found)) table.show(found);
    else table.show(found.rows, found.more);
  }
  const away = figures.breakers.length ? ` Not asked at the moment: ${figures.breakers.join(", ")}.` : "";
  const processes = figures.processes === 1 ? "1 worker process" : `${figures.processes} worker processes`;
  say($("foot"), `Of ${processes}, all shops.${away}`);
  document.title = hurt.length ? `(${hurt.length}) Impact operations` : "Impact operations";
}
