// A terminal in the browser. xterm.js makes style elements: they get the nonce that the policy of this page names.

const nonce = document.querySelector("link[nonce]").nonce;
const create = document.createElement.bind(document);
document.createElement = (name, ...rest) => {
  const element = create(name, ...rest);
  if (String(name).toLowerCase() === "style") element.nonce = nonce;
  return element;
};

const { Terminal } = await import("/static/vendor/xterm/xterm.mjs");
const { FitAddon } = await import("/static/vendor/xterm/addon-fit.mjs");

const form = document.getElementById("console-form");
const state = document.getElementById("console-state");
const box = document.getElementById("terminal");

let terminal = null;
let socket = null;

function open(command) {
  socket?.close();
  terminal?.dispose();
  terminal = new Terminal({ cursorBlink: true, fontSize: 14, screenReaderMode: true });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(box);
  fit.fit();
  const size = () => ({ columns: terminal.cols, rows: terminal.rows });
  const current = (socket = new WebSocket(new URL(form.dataset.stream, location.href.replace(/^http/, "ws"))));
  current.binaryType = "arraybuffer";
  current.addEventListener("open", () => {
    state.textContent = "";
    current.send(JSON.stringify({ csrf: form.dataset.csrf, command, size: size() }));
    terminal.focus();
  });
  current.addEventListener("message", (message) => {
    if (typeof message.data === "string") state.textContent = JSON.parse(message.data).end || form.dataset.ended;
    else terminal.write(new Uint8Array(message.data));
  });
  current.addEventListener("close", () => current === socket && !state.textContent && (state.textContent = form.dataset.ended));
  const encoder = new TextEncoder();
  const send = (data) => current.readyState === WebSocket.OPEN && current.send(data);
  terminal.onData((data) => send(encoder.encode(data)));
  terminal.onBinary((data) => send(Uint8Array.from(data, (one) => one.charCodeAt(0))));
  terminal.onResize(() => send(JSON.stringify(size())));
  // The keyboard leaves the terminal by Ctrl+Shift+Tab: Tab is the shell's.
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type === "keydown" && event.key === "Tab" && event.ctrlKey && event.shiftKey) {
      form.elements.command.focus();
      return false;
    }
    return true;
  });
  new ResizeObserver(() => current === socket && fit.fit()).observe(box);
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  open(form.elements.command.value);
  for (const button of form.querySelectorAll("button")) setTimeout(() => (button.disabled = false));
});
document.getElementById("attach")?.addEventListener("click", () => open(""));
