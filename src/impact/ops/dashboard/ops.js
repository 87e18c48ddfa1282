// The dashboard: its connection, logging in and out, and its controls.

import { bearer, problem, TOKEN } from "./access.js";
import { show, showCharts, tables } from "./board.js";
import { $, clock, say } from "./dom.js";

const THEME = "impact.ops.theme";
const SILENCE = 12_000; // ms without an event after which the connection is taken to be lost

// The connection.

let stream = null; // what ends it
let paused = false;
let pause = 1000;
let retry = 0;
let at = 0; // when what is shown was so

function tell(is, text) {
  $("state").dataset.is = is;
  say($("state"), text);
}

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
  tell("lost", `Connection lost; trying again${at ? `. Figures of ${clock(at)}` : ""}`);
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
    at = found.at;
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

$("leave").addEventListener("click", () => {
  // Should the server be away, the token ends by itself within its hour.
  fetch("/auth/session", { method: "DELETE", headers: bearer(), keepalive: true }).catch(console.debug);
  leave("");
});

// Controls.

$("filter").addEventListener("input", () => Object.values(tables).forEach((table) => table.draw(true)));

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    stop();
    tell("paused", at ? `Paused. Figures of ${clock(at)}` : "Paused");
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
