// What pages do beyond what works without a script: copy and hide a secret, keep times current, close menus, show what is open.
(() => {
  "use strict";
  const say = (text) => {
    const place = document.querySelector("[data-said]");
    if (place) place.textContent = text;
  };

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const secret = document.getElementById(button.dataset.copy);
      if (!secret) return;
      try {
        await navigator.clipboard.writeText(secret.textContent);
        say("Copied.");
      } catch {
        // Pages may not copy here: a field with all of it selected, to copy by keyboard.
        const holder = secret.closest("[data-secret]") ?? secret.parentElement;
        let field = holder.querySelector("textarea");
        if (!field) {
          field = document.createElement("textarea");
          field.readOnly = true;
          field.rows = 6;
          field.setAttribute("aria-label", "Text to copy");
          secret.after(field);
        }
        field.value = secret.textContent;
        field.focus();
        field.select();
        say("This browser does not let pages copy. It is selected: copy it with the keyboard.");
      }
    });
  }

  for (const button of document.querySelectorAll("[data-hide]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      button.closest("[data-secret]").remove();
      say("Hidden. It cannot be shown again.");
    });
  }
  // A page that comes back from the browser's memory shows no secret.
  addEventListener("pagehide", () => document.querySelector("[data-secret]")?.remove());

  const units = [[5, "now", 0], [60, "s", 1], [3600, "min", 60], [172800, "h", 3600], [5184000, "days", 86400], [63072000, "months", 2592000], [Infinity, "years", 31536000]];
  const update = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
      const [, unit, size] = units.find(([most]) => Math.abs(seconds) < most);
      const words = size ? `${Math.floor(Math.abs(seconds) / size)} ${unit}` : unit;
      const text = !size ? words : seconds < 0 ? `${words} ago` : `in ${words}`;
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(update, 15000);

  // Where a row of links scrolls, the open one is in sight.
  for (const open of document.querySelectorAll(".bar nav [aria-current], .tabs [aria-current]")) {
    const row = open.parentElement;
    row.scrollLeft = open.offsetLeft - (row.clientWidth - open.offsetWidth) / 2;
  }

  const close = (but) => {
    for (const open of document.querySelectorAll("details.menu[open], details.sure[open]")) {
      if (open !== but && !open.contains(but)) open.open = false;
    }
  };
  document.addEventListener("click", (event) => close(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.menu[open], details.sure[open]");
    close(null);
    open?.querySelector("summary").focus();
  });
})();
