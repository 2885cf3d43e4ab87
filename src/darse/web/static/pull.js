// A pull with its progress: the answer to the form is a stream of events.

const form = document.getElementById("pull");
const box = document.getElementById("pull-progress");

async function* events(answer) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of pieces(answer.body.getReader())) {
    text += decoder.decode(piece, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const fields = Object.fromEntries(part.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      if (fields.data !== undefined) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

async function* pieces(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  box.replaceChildren();
  const message = document.createElement("p");
  message.className = "message";
  box.append(message);
  const rows = new Map();
  let error = "";
  const answer = await fetch("/pull", { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!answer.ok) error = `${answer.status}`;
  else
    for await (const [name, document_] of events(answer)) {
      if (name === "error") error = document_[1];
      if (name === "end" && document_) error = document_;
      if (name !== "progress") continue;
      const [id, status, current, total] = document_;
      if (!id) {
        message.textContent = status;
        continue;
      }
      if (!rows.has(id)) {
        const row = document.createElement("div");
        const label = document.createElement("span");
        const bar = document.createElement("progress");
        bar.setAttribute("aria-label", id);
        row.append(bar, " ", label);
        box.append(row);
        rows.set(id, { label, bar });
      }
      const row = rows.get(id);
      row.label.textContent = `${id} ${status}`;
      if (total) {
        row.bar.max = total;
        row.bar.value = current;
      } else if (/complete|exists/i.test(status)) row.bar.value = row.bar.max;
    }
  message.className = error ? "message bad" : "message good";
  message.textContent = error ? `${form.dataset.failed} ${error}` : form.dataset.done;
  for (const button of form.querySelectorAll("button")) button.disabled = false;
});
