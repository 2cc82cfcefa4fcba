// Keeps the sections of a page as they are on the server. Without this script the page is what it was when it was asked for.
"use strict";
(() => {
  const address = document.body.dataset.live;
  if (!address || !window.EventSource) return;
  const warning = document.getElementById("connection");

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

  const events = new EventSource(address);
  events.addEventListener("sections", (event) => {
    warning.hidden = true;
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const section = document.getElementById(id);
      if (!section) continue;
      const fresh = new DOMParser().parseFromString("<body>" + html, "text/html").body;
      morphChildren(section, fresh);
    }
  });
  events.addEventListener("error", () => { warning.hidden = false; });
})();
