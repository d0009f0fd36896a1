// Fakes for the tests in web.rs: sockets and streams that do what the test says.

let fakes = { socket: [], stream: [], rooms: [] };
let answers = [];
let ingested;

class Fake extends EventTarget {
  constructor(kind, address) {
    super();
    this.address = address;
    this.isOpen = true;
    this.messages = [];
    fakes[kind].push(this);
  }
  send(text) { this.messages.push(text); }
  close() { this.isOpen = false; }
}

const newest = (kind) => fakes[kind].at(-1);

export function install() {
  fakes = { socket: [], stream: [], rooms: [] };
  answers = [];
  ingested = "{}";
  be("admin", true);
  window.WebSocket = class extends Fake {
    // The rooms' socket is apart: what other tests are about is the ticks', or a view's.
    constructor(address) { super(address.endsWith("/ws") ? "rooms" : "socket", address); }
  };
  window.EventSource = class extends Fake {
    constructor(address) { super("stream", address); }
  };
  window.fetch = (address) => Promise.resolve(new Response(
    address.endsWith("config.json") ? '{"backend":"http://fake.test"}'
      : address.endsWith("/api/session") ? JSON.stringify(session)
      : address.endsWith("/api/ingest") ? ingested
      : /\/api\/((series|range|windows)\b|metrics$)/.test(address) ? "{}"
      : answers.shift() ?? "[]",
  ));
}

let session;

// Who the server takes the page for, from here on.
export function be(role, anonymous) {
  session = { role, tenant: null, anonymous, login_needed: role === "none" };
}

// Whether the tab is in the background, from here on.
export function hide(hidden) {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}

// What the next request to the server is answered.
export function answer(text) { answers.push(text); }

// What the server says of what came in, and of its disk.
export function ingest(text) { ingested = text; }

export const opened = (kind) => fakes[kind].map((fake) => fake.address).join("\n");
export const open_now = (kind) => fakes[kind].filter((fake) => fake.isOpen).length;
export const sent = () => said("socket");
export const said = (kind) => newest(kind).messages.join("\n");

export function accept(kind) {
  newest(kind).dispatchEvent(new Event("open"));
}

export function deliver(kind, event, data, id) {
  newest(kind).dispatchEvent(new MessageEvent(event, { data, lastEventId: id }));
}

export const hang_up = (code) => hang_up_on("socket", code);

export function hang_up_on(kind, code) {
  const fake = newest(kind);
  fake.isOpen = false;
  fake.dispatchEvent(new CloseEvent("close", { code }));
}

// Traps in WebAssembly that the browser calls, as a panic ends. The module has one function, `f`, which is `unreachable`.
export function trap() {
  const code = Uint8Array.of(
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    1, 4, 1, 0x60, 0, 0,
    3, 2, 1, 0,
    7, 5, 1, 1, 0x66, 0, 0,
    10, 5, 1, 3, 0, 0, 0x0b,
  );
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
  setTimeout(f);
}

// Reports an error that is none of WebAssembly's.
export function stumble() {
  dispatchEvent(new ErrorEvent("error", { error: new TypeError("not a trap") }));
}
