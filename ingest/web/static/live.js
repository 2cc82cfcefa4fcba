// Keeps the sections of a page as they are on the server. Without this script the page is what it was when it was asked for.
"use strict";
(() => {
  const address = document.body.dataset.live;
  if (!address || !window.EventSource) return;
  const warning = document.getElementById("connection");
  const SILENT = 10000, AGAIN = 3000; // ms
  let events = null, heard = Date.now();

  // Change only what differs, so that the focus, what is selected and what is read aloud stay.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return void old.replaceWith(fresh.cloneNode(true));
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    morphChildren(old, fresh);
  }
  function morphChildren(old, fresh) {
    const before = [...old.childNodes], after = [...fresh.childNodes];
    after.forEach((node, at) => (at < before.length ? morph(before[at], node) : old.append(node.cloneNode(true))));
    before.slice(after.length).forEach((node) => node.remove());
  }

  function show(event) {
    heard = Date.now();
    warning.hidden = true;
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const section = document.getElementById(id);
      // A document that was parsed like this runs no script.
      if (section) morphChildren(section, new DOMParser().parseFromString("<body>" + html, "text/html").body);
    }
  }

  function connect() {
    if (events) events.close();
    events = new EventSource(address);
    events.addEventListener("sections", show);
    events.addEventListener("error", () => {
      warning.hidden = false;
      // Refused (a session that is over, too many pages): the browser does not try again by itself.
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN);
    });
  }

  setInterval(() => {
    const silent = Date.now() - heard;
    if (silent > SILENT) warning.hidden = false;
    if (silent > 3 * SILENT) { heard = Date.now() - SILENT; connect(); } // a connection that nobody ended, after a sleep
  }, 1000);
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  connect();
})();
