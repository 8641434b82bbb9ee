// Keeps a page fresh while it is looked at. Without this every page works; it has to be loaded again.
//
// A page is drawn by the server alone. When something has changed, it is fetched once more, and each
// element marked `data-live` is replaced by its newer self. What a script writes comes as it is
// written, and is put into the page as text, never as markup.

const PAUSE = 1500; // milliseconds between two fetches, at least
const STALE = 30000; // "3 min ago" is told anew so often
const MOST = 2 ** 18; // characters kept of one output
const INVISIBLE = /[^\P{C}\n\t]|[\u2028\u2029]/gu; // control, format and direction characters

const live = document.getElementById("live");
let source = null; // the EventSource that is open
let fetched = 0;
let refreshing = null;

// ---- drawing again ----

function refresh() {
  refreshing ??= fetchLater().finally(() => { refreshing = null; });
  return refreshing;
}

async function fetchLater() {
  await new Promise((done) => { setTimeout(done, Math.max(0, fetched + PAUSE - Date.now())); });
  fetched = Date.now();
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (response.redirected) return location.reload(); // signed out meanwhile
  if (!response.ok) return undefined;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  document.title = fresh.title;
  addAttempts(fresh);
  for (const element of fresh.querySelectorAll("[data-live][id]")) replace(element);
  if (source && runs() && !source.url.includes("/output?")) { stop(); start(); } // it was retried
  return undefined;
}

function replace(fresh) {
  const old = document.getElementById(fresh.id);
  if (!old || old.outerHTML === fresh.outerHTML) return;
  // What somebody has opened, or is typing or pointing at, is left to them.
  if (old.querySelector("details[open]")) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  tell(old, fresh);
  old.replaceWith(document.adoptNode(fresh));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function tell(old, fresh) {
  const state = fresh.dataset.state;
  if (state && state !== old.dataset.state) {
    document.getElementById("news").textContent = `The delivery is now ${state}.`;
  }
}

// ---- attempts and what they write ----

function addAttempts(fresh) {
  const list = document.getElementById("attempts");
  const known = (item) => document.getElementById(item.id);
  const added = [...fresh.querySelectorAll("#attempts > li")].filter((item) => !known(item));
  for (const item of added.reverse()) list.prepend(document.adoptNode(item));
}

function outputOf(number, stream) {
  return document.getElementById(`attempt-${number}-${stream}`);
}

async function onAttempt({ number, outcome }) {
  // An attempt is told from its start: what the server has drawn of it comes once more.
  if (!outputOf(number, "stdout")) await refresh();
  if (outcome === null) {
    for (const stream of ["stdout", "stderr"]) outputOf(number, stream)?.replaceChildren();
  } else {
    await refresh();
  }
}

function write(number, stream, text) {
  const pre = outputOf(number, stream);
  if (!pre) return;
  const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
  pre.append(text.replace(INVISIBLE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`));
  let length = pre.textContent.length;
  while (length > MOST && pre.childNodes.length > 1) {
    length -= pre.firstChild.length;
    pre.firstChild.remove();
  }
  pre.closest("details").open = true;
  if (atEnd) pre.scrollTop = pre.scrollHeight;
}

function followOutput() {
  const latest = document.querySelector("#attempts > li")?.dataset.attempt ?? 1;
  source = new EventSource(`${location.pathname}/output?attempt=${latest}`);
  let order = Promise.resolve(); // one event after another, though some wait for a fetch
  const on = (name, act) => source.addEventListener(name, ({ data }) => {
    order = order.then(() => act(JSON.parse(data))).catch(console.error);
  });
  on("attempt", onAttempt);
  on("stdout", ({ attempt, text }) => write(attempt, "stdout", text));
  on("stderr", ({ attempt, text }) => write(attempt, "stderr", text));
  on("gap", ({ attempt, bytes }) => write(attempt, "stdout", `\n[${bytes} bytes not shown]\n`));
  on("end", async () => { stop(); await refresh(); start(); });
}

// ---- when to follow ----

function followChanges(address) {
  source = new EventSource(address);
  source.addEventListener("changed", () => refresh().catch(console.error));
}

function start() {
  if (source || live.getAttribute("aria-pressed") !== "true" || document.hidden) return;
  if (runs()) followOutput();
  else if (document.body.dataset.changes) followChanges(document.body.dataset.changes);
}

function runs() {
  return document.querySelector("#state[data-running]") !== null;
}

function stop() {
  source?.close();
  source = null;
}

if (document.body.dataset.changes) {
  live.hidden = false;
  live.addEventListener("click", () => {
    const on = live.getAttribute("aria-pressed") !== "true";
    live.setAttribute("aria-pressed", String(on));
    if (on) start(); else stop();
  });
  // A browser opens few connections to one host: a page that nobody sees needs none.
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else start(); });
  setInterval(() => { if (source && !document.hidden) refresh().catch(console.error); }, STALE);
  start();
}
