// What every page has: the theme, questions before what cannot be undone, filters, times, and parts that stay fresh.

const theme = document.getElementById("theme");
const stored = localStorage.getItem("darse-theme");
if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function labelTheme() {
  theme.textContent = isDark() ? theme.dataset.light : theme.dataset.dark;
}

theme.hidden = false;
labelTheme();
theme.addEventListener("click", () => {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("darse-theme", next);
  labelTheme();
  document.dispatchEvent(new CustomEvent("theme"));
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) {
    event.preventDefault();
    return;
  }
  const button = event.submitter;
  if (event.target.method === "post" && button && !event.defaultPrevented) setTimeout(() => (button.disabled = true));
});
addEventListener("pageshow", () => document.querySelectorAll("button:disabled").forEach((one) => (one.disabled = false)));

export function localTimes(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(one.dateTime);
    if (isNaN(moment) || one.dataset.local) continue;
    one.title = one.dateTime;
    one.dataset.local = "1";
    one.textContent = moment.toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "medium" });
  }
}
localTimes(document);

function applyFilter(input) {
  const text = input.value.toLowerCase();
  for (const row of document.querySelectorAll(`#${input.dataset.filter} tbody tr`)) {
    row.hidden = text !== "" && !row.textContent.toLowerCase().includes(text);
  }
}
document.querySelectorAll("[data-filter]").forEach((input) => input.addEventListener("input", () => applyFilter(input)));

// A part of the page that shows objects of a kind is fetched again when one of them changes.
const fresh = document.querySelector("[data-refresh]");
if (fresh) {
  let waiting = false;
  const refresh = async () => {
    waiting = false;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = page.getElementById(fresh.id);
    const current = document.getElementById(fresh.id);
    // Not while somebody is in it with the keyboard.
    if (!part || current.contains(document.activeElement)) return;
    current.replaceWith(document.adoptNode(part));
    localTimes(part);
    document.querySelectorAll("[data-filter]").forEach(applyFilter);
  };
  const source = new EventSource("/events/stream");
  source.addEventListener("event", (event) => {
    const found = JSON.parse(event.data);
    if (found.type !== fresh.dataset.refresh && !(fresh.dataset.refresh === "network" && found.type === "container")) return;
    if (/^(exec_|top|attach|health_status: )/.test(found.action) || waiting) return;
    waiting = true;
    setTimeout(refresh, 500);
  });
}

// The figures of the rows of containers.
const rows = document.querySelector("[data-usage-rows]");
if (rows) {
  const { size, decimal } = await import("/static/units.js");
  const source = new EventSource("/usage/stream?of=all");
  source.addEventListener("usage", (event) => {
    const points = JSON.parse(event.data).points;
    for (const row of document.querySelectorAll("[data-usage-rows] tr[data-id]")) {
      const point = points[row.dataset.id];
      row.querySelector('[data-cell="cpu"]').textContent = point ? `${decimal(point[0], 1)} %` : "–";
      row.querySelector('[data-cell="memory"]').textContent = point ? size(point[1]) : "–";
    }
    const host = points.host;
    const cpu = document.querySelector('[data-live="cpu"]');
    if (host && cpu) {
      cpu.textContent = `${decimal(host[0], 0)} %`;
      document.querySelector('[data-live="memory"]').textContent = size(host[1]);
    }
  });
}
