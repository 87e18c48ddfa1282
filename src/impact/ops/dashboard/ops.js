// The dashboard. Whatever comes from the server becomes text, never markup, but for the charts,
// which the server draws and which are parsed as SVG.

const $ = (id) => document.getElementById(id);
const TOKEN = "impact.ops.token";
const THEME = "impact.ops.theme";
const SILENCE = 12_000; // ms without an event after which the connection is taken to be lost

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Touching only what changed keeps focus, selection and a screen reader's place.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Numbers.

const digits = (most, least = most) =>
  new Intl.NumberFormat("en", { minimumFractionDigits: least, maximumFractionDigits: most });
const whole = digits(0), two = digits(2), one = digits(1), some = digits(1, 0);
const NONE = "–";
const shown = (format) => (value) => (value == null ? NONE : format.format(value));
const count = shown(whole), ms = shown(two), rate = shown(two), seconds = shown(two);
const percent = (value) => (value == null ? NONE : `${one.format(value * 100)}%`);
const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

function ago(at, now) {
  const past = Math.max(0, Math.round(now - at));
  if (past < 60) return `${past} s ago`;
  return past < 3600 ? `${Math.floor(past / 60)} min ago` : `${Math.floor(past / 3600)} h ago`;
}

// Tables: rows are kept by key and their cells changed in place.

class Table {
  constructor(id, { columns, key, order, empty, caption }) {
    this.columns = columns;
    this.key = key;
    this.order = order;
    this.kept = new Map();
    this.rows = [];
    this.more = 0;
    const section = document.querySelector(`[data-table="${id}"]`);
    this.count = section.querySelector(".count");
    this.body = make("tbody");
    this.heads = columns.map((column) => this.head(column));
    const table = make("table", {}, make("caption", { class: "hidden" }, caption),
      make("thead", {}, make("tr", {}, ...this.heads)), this.body);
    const heading = section.querySelector("h2").id;
    this.box = make("div",
      { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": heading }, table);
    this.none = make("p", { class: "empty" }, empty);
    this.empty = empty;
    section.append(this.box, this.none);
    this.markOrder();
  }

  head(column) {
    const head = make("th", { scope: "col", class: column.num ? "num" : "" });
    if (!column.of) {
      head.append(make("span", { class: "fixed" }, column.label));
      return head;
    }
    const button = make("button", { type: "button" }, column.label);
    if (column.hint) button.title = column.hint;
    button.addEventListener("click", () => {
      const down = this.order[0] === column.id ? !this.order[1] : Boolean(column.num);
      this.order = [column.id, down];
      this.markOrder();
      this.draw(true);
    });
    head.append(button);
    return head;
  }

  markOrder() {
    this.columns.forEach((column, at) => {
      if (column.id === this.order[0]) {
        this.heads[at].setAttribute("aria-sort", this.order[1] ? "descending" : "ascending");
      } else this.heads[at].removeAttribute("aria-sort");
    });
  }

  show(rows, more = 0) {
    this.rows = rows;
    this.more = more;
    this.draw(false);
  }

  draw(sorted) {
    const wanted = $("filter").value.trim().toLowerCase();
    const found = this.rows.filter((row) => !wanted || this.textOf(row).includes(wanted));
    const column = this.columns.find((each) => each.id === this.order[0]);
    const sign = this.order[1] ? -1 : 1;
    found.sort((a, b) => sign * compare(column.of(a), column.of(b)));
    const keys = new Set();
    const lines = found.map((row) => {
      const key = this.key(row);
      keys.add(key);
      if (!this.kept.has(key)) this.kept.set(key, this.line());
      const line = this.kept.get(key);
      this.fill(line, row);
      return line.row;
    });
    for (const [key, line] of this.kept) {
      if (!keys.has(key)) {
        line.row.remove();
        this.kept.delete(key);
      }
    }
    // A row must not move away from under the finger or the keyboard.
    if (sorted || !this.body.contains(document.activeElement)) this.arrange(lines);
    else lines.filter((row) => !row.isConnected).forEach((row) => this.body.append(row));
    const all = this.rows.length + this.more;
    say(this.count, found.length === all ? `${all}` : `${found.length} of ${all}`);
    this.box.hidden = !found.length;
    this.none.hidden = Boolean(found.length);
    say(this.none, this.rows.length ? "Nothing matches the filter." : this.empty);
  }

  arrange(lines) {
    lines.forEach((row, at) => {
      if (this.body.children[at] !== row) this.body.insertBefore(row, this.body.children[at] ?? null);
    });
  }

  textOf(row) {
    return this.columns.map((each) => (each.num ? "" : (each.text ?? each.of ?? String)(row) ?? ""))
      .join(" ").toLowerCase();
  }

  line() {
    const row = make("tr");
    const cells = this.columns.map((column, at) => {
      const cell = at ? make("td") : make("th", { scope: "row" });
      cell.className = [column.num && "num", column.wide && "wide"].filter(Boolean).join(" ");
      const words = make("span");
      cell.append(words);
      if (column.bar) cell.append(make("span", { class: "bar", "aria-hidden": "true" }, make("i")));
      if (column.act) words.replaceWith(make("button", { type: "button" }, "Plan"));
      row.append(cell);
      return cell;
    });
    return { row, cells };
  }

  fill(line, row) {
    this.columns.forEach((column, at) => {
      const cell = line.cells[at];
      if (column.act) {
        const button = cell.firstChild, name = row.name;
        button.hidden = name.startsWith("session.") || name === "other";
        button.setAttribute("aria-label", `Plan of ${name}`);
        button.onclick = () => column.act(name);
        return;
      }
      const text = column.text ? column.text(row) : column.of(row);
      say(cell.firstChild, text ?? NONE);
      if (!at || column.full) cell.title = text ?? "";
      if (column.bar) cell.lastChild.firstChild.style.setProperty("--share", column.of(row) ?? 0);
      cell.classList.toggle("bad", Boolean(column.bad?.(row)));
      cell.classList.toggle("quiet", text == null || text === NONE || text === "0");
    });
  }
}

function compare(a, b) {
  if (a == null || b == null) return a == null ? (b == null ? 0 : -1) : 1;
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}

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

const tables = {
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
      col("errors", "Failed", count, { bad: (row) => row.errors > 0 })],
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

function showCharts(charts) {
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

function show(figures) {
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
  stamp.at = figures.at;
}

// The connection.

let stream = null; // what ends it
let paused = false;
let pause = 1000;
let retry = 0;
const stamp = { at: 0 };

function tell(is, text) {
  $("state").dataset.is = is;
  say($("state"), text);
}

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return body.detail ?? `the server answered ${response.status}`;
}

const bearer = () => ({ authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` });

async function follow() {
  stop();
  if (paused || document.hidden || !sessionStorage.getItem(TOKEN)) return;
  const ending = (stream = new AbortController());
  let silence = setTimeout(() => ending.abort(), SILENCE);
  try {
    const response = await fetch("/ops/events", { headers: bearer(), signal: ending.signal, cache: "no-store" });
    if (response.status === 401 || response.status === 403) return leave(await problem(response));
    if (!response.ok) throw new Error(await problem(response));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { done, value } = await reader.read();
      if (done) break;
      clearTimeout(silence);
      silence = setTimeout(() => ending.abort(), SILENCE);
      text += value;
      for (let cut; (cut = text.indexOf("\n\n")) >= 0; text = text.slice(cut + 2)) {
        const refused = take(text.slice(0, cut));
        if (refused) return leave(refused);
      }
    }
  } catch (error) {
    if (stream !== ending) return; // we ended it ourselves
    console.debug(error);
  } finally {
    clearTimeout(silence);
  }
  if (stream !== ending) return;
  stream = null;
  tell("lost", `Connection lost; trying again${stamp.at ? `. Figures of ${clock(stamp.at)}` : ""}`);
  retry = setTimeout(follow, pause);
  pause = Math.min(pause * 2, 15_000);
}

function take(block) {
  const [, event] = block.match(/^event: (.*)$/m) ?? [];
  const [, data] = block.match(/^data: (.*)$/m) ?? [];
  if (!data) return null;
  const found = JSON.parse(data);
  if (event === "figures") {
    pause = 1000;
    $("board").hidden = false;
    show(found);
    tell("live", "Live, every 2 seconds");
  } else if (event === "charts") showCharts(found);
  else if (event === "end" && found.status < 500) return found.detail;
  return null;
}

function stop() {
  clearTimeout(retry);
  const ending = stream;
  stream = null;
  ending?.abort();
}

// Logging in and out.

function enter() {
  $("login").hidden = true;
  for (const id of ["leave", "pause", "filter-field"]) $(id).hidden = false;
  tell("", "Connecting …");
  follow();
}

function leave(reason) {
  stop();
  sessionStorage.removeItem(TOKEN);
  for (const id of ["board", "leave", "pause", "filter-field"]) $(id).hidden = true;
  if ($("plan").open) $("plan").close();
  tell("", "");
  document.title = "Impact operations";
  $("login").hidden = false;
  complain(reason);
  $("login").elements.email.focus();
}

function complain(reason) {
  $("login-error").hidden = !reason;
  say($("login-error"), reason ? reason[0].toUpperCase() + reason.slice(1) : "");
}

$("login").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const { tenant, email, password } = Object.fromEntries(new FormData(submitted.target));
  const button = submitted.target.querySelector("button");
  button.disabled = true;
  complain("");
  try {
    const response = await fetch("/auth/user/emailpass", {
      method: "POST",
      headers: { "content-type": "application/json", "x-tenant-id": encodeURIComponent(tenant.trim()) },
      body: JSON.stringify({ email, password }),
    });
    if (!response.ok) throw new Error(await problem(response));
    sessionStorage.setItem(TOKEN, (await response.json()).token);
    submitted.target.elements.password.value = "";
    enter();
    $("main").focus();
  } catch (error) {
    complain(error instanceof TypeError ? "the server does not answer" : error.message);
  } finally {
    button.disabled = false;
  }
});

$("leave").addEventListener("click", () => leave(""));

// Plans.

async function openPlan(query) {
  const body = $("plan-body");
  say($("plan-title"), `Plan of ${query}`);
  body.replaceChildren(make("p", { class: "muted", role: "status" }, "Asking PostgreSQL …"));
  $("plan").showModal();
  let parts;
  try {
    const path = `/ops/queries/${encodeURIComponent(query)}/plan`;
    const response = await fetch(path, { headers: bearer(), cache: "no-store" });
    if (!response.ok) throw new Error(await problem(response));
    parts = (await response.json()).flatMap((found) => [
      make("h3", {}, `Planned for any values, not run; query id ${found.query_id || NONE}, plan ${found.plan_hash}`),
      make("pre", {}, found.text), make("h3", {}, "Statement"), make("pre", {}, found.sql.trim()),
    ]);
  } catch (error) {
    parts = [make("p", { class: "error", role: "alert" }, error.message)];
  }
  body.replaceChildren(...parts);
}

$("plan-close").addEventListener("click", () => $("plan").close());

// Controls.

$("filter").addEventListener("input", () => Object.values(tables).forEach((table) => table.draw(true)));

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    stop();
    tell("paused", stamp.at ? `Paused. Figures of ${clock(stamp.at)}` : "Paused");
  } else follow();
});

// Nobody looks: let the server rest.
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : follow()));

$("theme").addEventListener("change", (changed) => {
  localStorage.setItem(THEME, changed.target.value);
  setTheme(changed.target.value);
});

function setTheme(theme) {
  $("theme").value = theme;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

setTheme(localStorage.getItem(THEME) ?? "");
if (sessionStorage.getItem(TOKEN)) enter();
else leave("");
