// What pages do beyond what works without a script: copy and hide a secret, keep times current, close menus, send forms once, show what is open and what has changed.
(() => {
  "use strict";
  const all = (selector) => document.querySelectorAll(selector);
  const say = (text) => {
    const place = document.querySelector("[data-said]");
    if (place) place.textContent = text;
  };

  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const secret = document.getElementById(button.dataset.copy);
      if (!secret) return;
      try {
        await navigator.clipboard.writeText(secret.textContent);
        say("Copied.");
      } catch {
        // A field with all of it selected, to copy by keyboard.
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
        say("It is selected: copy it with the keyboard.");
      }
    });
  }

  for (const button of all("[data-tick]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const boxes = [...button.form.elements].filter((box) => box.name === button.dataset.tick);
      const isAll = boxes.every((box) => box.checked);
      for (const box of boxes) box.checked = !isAll;
    });
  }

  for (const button of all("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }

  for (const button of all("[data-hide]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      button.closest("[data-secret]").remove();
      say("Hidden for good.");
      // The button that had the focus is gone: the keyboard goes on from here.
      document.querySelector("[data-said]").focus();
    });
  }
  // A page that comes back from the browser's memory shows no secret.
  addEventListener("pagehide", () => all("[data-secret]").forEach((secret) => secret.remove()));

  const units = [[5, "now", 0], [60, "s", 1], [3600, "min", 60], [172800, "h", 3600], [8640000, "days", 86400], [63072000, "months", 2592000], [Infinity, "years", 31536000]];
  const update = () => {
    for (const time of all("time[datetime]")) {
      const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
      const [, unit, size] = units.find(([most]) => Math.abs(seconds) < most);
      const words = size ? `${Math[seconds < 0 ? "floor" : "round"](Math.abs(seconds) / size)} ${unit}` : unit;
      const text = seconds < 0 && "due" in time.dataset ? "now" : !size ? words : seconds < 0 ? `${words} ago` : `in ${words}`;
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(update, 15000);

  // A double click sends a form once: what the first one has made would be lost with its answer.
  const due = new WeakMap();
  let sent;
  addEventListener("submit", (event) => (event.timeStamp < due.get(event.target) ? event.preventDefault() : due.set((sent = event.target), event.timeStamp + 1500)));

  // What was typed into a form of settings is lost to no other form and no link without a question.
  addEventListener("beforeunload", (event) => {
    for (const field of all("form:has([name=shown]) :is([type=text],textarea)")) {
      if (field.form !== sent && field.value !== field.defaultValue) event.preventDefault();
    }
  });

  // Days of filters are those of the visitor's time zone; without this script they are those of UTC. What was asked for in another zone stays so.
  for (const input of all("[data-zone]")) {
    const zone = () => {
      const [year, month, day] = input.value.split("-");
      // A zone can change its distance: that of the end of the last day counts.
      const minutes = -new Date(year, month - 1, +day + (input.name === "until")).getTimezoneOffset();
      const two = (number) => String(Math.floor(Math.abs(number))).padStart(2, "0");
      return `${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
    };
    let isOwn = false;
    const own = () => {
      isOwn = true;
      input.previousElementSibling.textContent = "(your time)";
    };
    if (!input.value || input.dataset.zone === zone()) own();
    input.addEventListener("input", own);
    input.form.addEventListener("formdata", (event) => {
      if (input.value) event.formData.set(input.name, input.value + (isOwn ? zone() : input.dataset.zone));
    });
  }
  // What has to be corrected is where the keyboard is.
  document.querySelector('main [aria-invalid="true"]')?.focus();

  // Where a row of links scrolls, the open one is in sight.
  for (const open of all(".bar nav [aria-current], .tabs [aria-current]")) {
    const row = open.parentElement;
    row.scrollLeft = open.offsetLeft - (row.clientWidth - open.offsetWidth) / 2;
  }

  const close = (but) => {
    for (const open of all("details.menu[open], details.sure[open]")) {
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

  // What changes while the page is open: the counts above, states, requests. Numbers and words change in their places, and not below a
  // pointer or around the focus; what was decided elsewhere fades; for whatever is new there is a link, since a new row would move the others.
  const address = document.body.dataset.stream;
  if (!address) return;
  const every = (root, name) => new Map([...root.querySelectorAll(`[data-${name}]`)].map((one) => [one.dataset[name], one]));
  const isBusy = (one) => (one.closest("[data-still], nav") ?? one).matches(":hover, :focus-within");
  const own = document.body.dataset.user;
  // What a page asks by itself is no use of a session.
  const ask = (url) => fetch(url, { headers: { "x-accredit-unattended": "true" } }).catch(() => ({}));
  let stream, timer, mark, late, soon, cover;

  // Nobody reads on whose session has ended, here or in another tab. What was typed is still there when the same person is back.
  const check = async () => {
    const answer = await ask(address.replace(/notifications.*/, "auth/whoami"));
    const isIn = answer.ok && own === (await answer.json()).user_id;
    if (isIn && cover) {
      cover.remove();
      cover = undefined;
      openSoon();
    }
    if (isIn || cover || (!answer.ok && answer.status !== 401)) return;
    shut();
    cover = document.createElement("dialog");
    cover.className = "card out";
    const [head, link] = [document.createElement("h1"), document.createElement("a")];
    head.textContent = "You are signed out";
    link.className = "button main";
    link.href = location.href;
    link.textContent = "Sign in";
    cover.append(head, link);
    cover.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(cover);
    cover.showModal();
  };

  const look = async () => {
    const answer = await ask(location.href);
    if (answer.redirected) return check();
    if (!answer.ok || document.hidden) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [parts, items] = [every(page, "live"), every(page, "item")];
    let isLate = false;
    for (const [name, one] of every(document, "live")) {
      const now = parts.get(name);
      if (!now || now.textContent === one.textContent) continue;
      if (isBusy(one)) isLate = true;
      else one.replaceChildren(...now.childNodes);
    }
    const before = every(document, "item");
    for (const [name, one] of before) one.inert = !items.has(name) && one.hasAttribute("data-still");
    const place = document.querySelector("[data-changed]");
    const isOther = [...items.keys()].some((name) => !before.has(name));
    if (isOther && !place.firstChild) {
      const link = document.createElement("a");
      link.className = "button main";
      link.href = location.href;
      link.textContent = "This page has changed: show it";
      place.append(link);
    }
    clearTimeout(late);
    if (isLate) late = setTimeout(look, 2000);
  };

  const open = () => {
    if (stream || cover || document.hidden) return;
    stream = new EventSource(address);
    stream.addEventListener("changed", (event) => {
      // The first one says how it is; a page that was hidden compares it with what it knew.
      if (mark !== undefined && event.data !== mark) {
        clearTimeout(timer);
        timer = setTimeout(look, 300);
      }
      mark = event.data;
      document.body.dataset.streaming = "";
    });
    stream.addEventListener("refused", () => {
      shut();
      check();
    });
    // A browser comes again by itself when a stream has ended, but not when it is refused, as while a server restarts.
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return;
      shut();
      check();
      setTimeout(open, 45_000);
    });
  };
  // Whoever goes on at once opens none: each page would leave one behind that counts until the server finds it closed.
  const openSoon = () => {
    clearTimeout(soon);
    soon = setTimeout(open, 1000);
  };
  const shut = () => {
    clearTimeout(soon);
    stream?.close();
    stream = undefined;
    delete document.body.dataset.streaming;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? shut() : cover ? check() : openSoon()));
  addEventListener("pagehide", shut);
  addEventListener("pageshow", openSoon);
})();
