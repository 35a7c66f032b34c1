// Live pages: when the log moves, the part of the page that shows it is fetched again.
// Everything works without this file; it only saves a reload.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const say = document.getElementById("say");
  let due = 0;
  let busy = false;

  const localTimes = () => {
    for (const node of document.querySelectorAll("time[datetime]")) {
      node.title = new Date(node.dateTime).toLocaleString();
    }
  };

  // A form that somebody is filling in is left alone; its page refreshes after the next visit.
  const inUse = () => {
    const active = document.activeElement;
    const typing = active && main.contains(active) && active.matches("input, select, textarea");
    const dirty = [...main.querySelectorAll("input")].some((field) => field.value !== field.defaultValue);
    return typing || dirty || main.querySelector("[data-keep], details[open]") !== null;
  };

  const refresh = async () => {
    due = 0;
    if (busy || inUse()) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = document.activeElement && document.activeElement.id;
      for (const id of ["nav", "sync-now", "main"]) {
        document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
      }
      document.body.dataset.live = page.body.dataset.live;
      if (focused) document.getElementById(focused)?.focus();
      localTimes();
    } finally {
      busy = false;
    }
  };

  const soon = () => { due ||= setTimeout(refresh, 250); };

  let stream = null;
  const listen = () => {
    stream = new EventSource("/live");
    stream.addEventListener("hello", (event) => {
      if (event.data !== document.body.dataset.live) soon();
    });
    stream.addEventListener("position", soon);
    stream.addEventListener("run", (event) => { say.textContent = event.data; soon(); });
  };

  localTimes();
  if (document.body.dataset.live) {
    listen();
    // A hidden tab gives its connection back; a browser has six of them for one server.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) stream.close();
      else if (stream.readyState === EventSource.CLOSED) listen();
    });
  }
})();
