// The plans of a query, in a dialog.

import { bearer, problem } from "./access.js";
import { $, make, NONE, say } from "./dom.js";

export async function openPlan(query) {
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
