// A log that goes on.

const log = document.getElementById("log");
const state = document.getElementById("log-state");
const follow = document.getElementById("follow");
const times = document.getElementById("times");
const MOST = 5000;

times.addEventListener("change", () => log.classList.toggle("times", times.checked));
follow.addEventListener("change", () => follow.checked && (log.scrollTop = log.scrollHeight));
log.addEventListener("scroll", () => {
  follow.checked = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
});
log.scrollTop = log.scrollHeight;

let waiting = [];
function show() {
  const part = document.createDocumentFragment();
  for (const line of waiting.slice(-MOST)) {
    const row = document.createElement("div");
    if (line.error) row.className = "error";
    const time = document.createElement("time");
    time.textContent = line.time;
    const text = document.createElement("bdi");
    text.textContent = line.text;
    row.append(time, " ", text);
    part.append(row);
  }
  waiting = [];
  const follows = follow.checked;
  log.append(part);
  while (log.childElementCount > MOST) log.firstElementChild.remove();
  if (follows) log.scrollTop = log.scrollHeight;
}

const address = new URL(log.dataset.stream, location.href);
if (log.dataset.since) address.searchParams.set("since", log.dataset.since);
const source = new EventSource(address);
source.addEventListener("open", () => (state.textContent = state.dataset.live));
source.addEventListener("line", (event) => {
  if (waiting.push(JSON.parse(event.data)) === 1) requestAnimationFrame(show);
});
source.addEventListener("end", (event) => {
  source.close();
  state.textContent = JSON.parse(event.data) || state.dataset.ended;
});
source.addEventListener("error", () => (state.textContent = state.dataset.broken));
