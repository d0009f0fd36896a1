// What the browser runs when an alert is pushed to it, also while no page is open: it shows the alert,
// and a click leads to it. It answers no request of the page and keeps nothing.
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
