// CPU, memory, network and disk of a day, and on from now.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { decimal, size } from "/static/units.js";

const root = document.querySelector("[data-graph]");
const texts = root.dataset;
const FIELDS = ["cpu", "memory", "received", "sent", "read", "written"];
const GRAPHS = [
  { title: texts.cpu, fields: ["cpu"], labels: [texts.cpu], show: (value) => `${decimal(value, 1)} %` },
  { title: texts.memory, fields: ["memory"], labels: [texts.memory], show: size },
  { title: texts.network, fields: ["received", "sent"], labels: [texts.received, texts.sent], show: (value) => `${size(value)}/s` },
  { title: texts.disk, fields: ["read", "written"], labels: [texts.read, texts.written], show: (value) => `${size(value)}/s` },
];

let data = null;
let plots = [];

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function columns(graph) {
  return [data.time, ...graph.fields.map((field) => data[field])];
}

function draw() {
  for (const { plot } of plots) plot.destroy();
  plots = [];
  root.replaceChildren();
  const boxes = GRAPHS.map((graph) => {
    const box = document.createElement("section");
    box.className = "graph";
    const head = document.createElement("h3");
    head.textContent = graph.title;
    box.append(head);
    return box;
  });
  // All of them before the first plot: together they share the width.
  root.append(...boxes);
  for (const [place, graph] of GRAPHS.entries()) {
    const box = boxes[place];
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
    const lines = [color("--step"), color("--good")];
    const plot = new uPlot(
      {
        width: Math.max(200, box.clientWidth - 18),
        height: 180,
        scales: { y: { range: (_, low, high) => [0, Math.max(high, 1) * 1.1] } },
        axes: [axis, { ...axis, size: 78, values: (_, ticks) => ticks.map(graph.show) }],
        series: [
          { label: texts.time, value: (_, value) => (value === null ? "–" : new Date(value * 1000).toLocaleTimeString(document.documentElement.lang)) },
          ...graph.labels.map((label, line) => ({ label, stroke: lines[line], width: 1.5, value: (_, value) => (value === null ? "–" : graph.show(value)) })),
        ],
      },
      columns(graph),
      box,
    );
    plots.push({ plot, graph, box });
  }
}

function resize() {
  for (const { plot, box } of plots) plot.setSize({ width: Math.max(200, box.clientWidth - 18), height: 180 });
}

addEventListener("resize", resize);
document.addEventListener("theme", () => data?.time.length && draw());

const answer = await fetch(`/usage/history?of=${encodeURIComponent(texts.graph)}`);
if (answer.ok) {
  data = await answer.json();
  if (data.time.length) draw();
  const source = new EventSource(`/usage/stream?of=${encodeURIComponent(texts.graph)}`);
  source.addEventListener("usage", (event) => {
    const { time, points } = JSON.parse(event.data);
    const point = points[texts.graph];
    if (!point) return;
    data.time.push(time);
    FIELDS.forEach((field, place) => data[field].push(point[place]));
    if (data.time.length > 1500) for (const column of Object.values(data)) column.shift();
    if (!plots.length) draw();
    else for (const { plot, graph } of plots) plot.setData(columns(graph));
    root.dataset.points = data.time.length;
  });
}
