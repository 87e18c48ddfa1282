// Tables: rows are kept by key and their cells changed in place.

import { $, make, NONE, say } from "./dom.js";

export class Table {
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
