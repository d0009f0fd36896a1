// What the browser runs when an alert is pushed to it, also while no page is open: it shows the alert,
// and a click leads to it; and where the browser's subscription changes, the server is told of the new
// one. It answers no request of the page and keeps nothing.
"use strict";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  event.waitUntil(show(event.data));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});

self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(renew(event));
});

/** What the server said; a browser that is pushed to has to show something, whatever that is. */
function told(data) {
  try {
    return data.json() || {};
  } catch (_nothing) {
    return {};
  }
}

async function show(data) {
  const alert = told(data);
  const tag = String(alert.tag || "pulseboard");
  await self.registration.showNotification(String(alert.title || "Something changed on Pulseboard"), {
    body: String(alert.body || ""),
    // What is newer about the same takes its place.
    tag,
    renotify: alert.status === "firing",
    data: address(alert),
  });
}

/** Where a click leads to: the place on this page, unless the server names another address. */
function address(alert) {
  try {
    const url = new URL(alert.url || alert.page || "#/alerts", self.registration.scope);
    return /^https?:$/.test(url.protocol) ? url.href : self.registration.scope;
  } catch (_wrong) {
    return self.registration.scope;
  }
}

/**
 * Subscribes again where the browser did not by itself, and tells the server, as the page did. The
 * page has said in this script's own address where (`to`) and how the browser is called (`name`).
 * Where the server lets it in no more, the page offers to subscribe when it is opened next.
 */
async function renew(event) {
  const said = new URL(self.location.href).searchParams;
  const to = said.get("to");
  if (!to) return;
  let subscription = event.newSubscription;
  if (!subscription) {
    const { key } = await (await ask(to)).json();
    subscription = await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  }
  const { endpoint, keys } = subscription.toJSON();
  const old = event.oldSubscription;
  if (old && old.endpoint !== endpoint) {
    // Nobody is at that address any more: its place is free for the new one.
    const url = new URL(to);
    url.pathname += `/${await identity(old.endpoint)}`;
    await ask(url, { method: "DELETE" }).catch(() => {});
  }
  await ask(to, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: said.get("name") || "Browser", endpoint, keys }),
  });
}

/** Asks the server with the session that the page has. */
async function ask(url, how) {
  const answer = await fetch(url, { credentials: "same-origin", cache: "no-store", ...how });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer;
}

/** How the server calls a browser: the beginning of its address' SHA-256. */
async function identity(address) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(address));
  const bytes = [...new Uint8Array(digest)].slice(0, 12);
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Brings a page that is open to the front, and shows the address there; else opens one. */
async function open(url) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const without = (one) => one.split("#")[0];
  const same = pages.filter((page) => without(page.url) === without(url));
  const page = same.find((one) => one.focused) || same[0];
  if (page) {
    try {
      const shown = await page.navigate(url);
      await (shown || page).focus();
      return;
    } catch (_elsewhere) {
      // Not this worker's page, or it does not come to the front: another one does.
    }
  }
  await self.clients.openWindow(url);
}
