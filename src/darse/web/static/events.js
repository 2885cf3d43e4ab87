// Events as they happen, the newest first.

import { localTimes } from "/static/page.js";

const body = document.getElementById("events");
const labels = body.dataset.labels.split("|");
const MOST = 500;

const source = new EventSource("/events/stream");
source.addEventListener("event", (message) => {
  const event = JSON.parse(message.data);
  const row = document.createElement("tr");
  const time = document.createElement("time");
  time.dateTime = new Date(event.time * 1000).toISOString();
  [time, event.type, event.action, event.name || event.id.slice(0, 12), event.details].forEach((value, place) => {
    const cell = document.createElement("td");
    cell.dataset.label = labels[place];
    if (typeof value === "string") {
      const text = document.createElement("bdi");
      text.textContent = value;
      cell.append(text);
    } else cell.append(value);
    row.append(cell);
  });
  localTimes(row);
  body.prepend(row);
  while (body.childElementCount > MOST) body.lastElementChild.remove();
});
