// What trame does not do: one tab at a time, uploads with progress, and a word when the server has gone.
(() => {
  const stream = new EventSource("alive");
  let broken = false;  // the stream was, so the page may be behind
  let timer = setTimeout(lost, 20_000);
  let veil;
  stream.onmessage = (event) => {
    if (event.data === "elsewhere") return location.replace("elsewhere");
    if (broken) return location.reload();
    veil?.remove();
    veil = undefined;
    clearTimeout(timer);
    timer = setTimeout(lost, 20_000);  // a network that drops is silent, and so is a server at work, for seconds
  };
  stream.onerror = () => {
    broken = true;
    lost();
  };

  function lost() {
    const refused = stream.readyState === EventSource.CLOSED;  // by another server at this address
    if (!veil) {
      veil = document.createElement("div");
      veil.className = "ds-gone";
      veil.setAttribute("role", "alert");
      document.body.append(veil);
    }
    veil.innerHTML = refused
      ? "<h1>DeepSeg was restarted</h1><p>Open the link that it printed.</p>"
      : "<h1>No connection to DeepSeg</h1>" +
        "<p>The page reconnects automatically. While DeepSeg runs, your work is kept.</p>" +
        "<p>If DeepSeg has ended, start <code>deepseg web</code> again and open the link that it prints.</p>";
  }

  addEventListener("pagehide", () => stream.close());

  const show = (name, value) => window.trame.state.set(name, value);
  const shown = (name) => window.trame.state.get(name);
  let uploading;  // the running request

  function upload(files, address = "upload") {
    if (!files.length) return;
    if (uploading || shown("reading") || shown("run").busy) {
      show("alert", { message: "A task is running.", remedy: "Wait for it, or cancel it." });
      return;
    }
    const form = new FormData();
    for (const [path, file] of files) form.append("files", file, path);
    const request = (uploading = new XMLHttpRequest());
    request.upload.onprogress = (event) => show("uploading", `${Math.floor((100 * event.loaded) / event.total)} %`);
    request.onerror = () => {  // of what was refused, the server says why
      if (!shown("alert")) show("alert", { message: "The upload was interrupted.", remedy: "Try again." });
    };
    request.onload = () => {
      if (request.status !== 200) show("alert", { message: request.responseText, remedy: "Try again in a moment." });
    };
    request.onloadend = () => {
      uploading = undefined;
      show("uploading", "");
    };
    request.open("POST", address);
    show("alert", null);
    show("uploading", "0 %");
    request.send(form);
  }

  const cancelUpload = () => uploading?.abort();

  function choose(options, done) {
    const input = Object.assign(document.createElement("input"), { type: "file", ...options });
    input.onchange = () => done([...input.files]);
    input.click();
  }

  // Corrections that would be lost are asked about first.
  let next;
  function careful(act) {
    if (!shown("unexported") || shown("run").busy) return act();  // what is busy says so
    next = act;
    const text = "Corrections that you have not exported will be lost.";
    show("asking", { kind: "Replace", title: "Replace the result", text });
  }
  const goOn = () => next();

  const pick = (folder, address = "upload") =>
    choose({ multiple: true, webkitdirectory: folder }, (files) => {
      const send = () => upload(files.map((file) => [file.webkitRelativePath || file.name, file]), address);
      return address === "upload" ? careful(send) : send();
    });

  const pickReference = () => choose({}, ([file]) => upload([[file.name, file]], "reference"));

  const pickEarlier = () => choose({}, ([file]) => upload([[file.name, file]], "earlier"));
  async function picture() {
    const text = atob(await window.trame.trigger("picture"));
    return new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], { type: "image/png" });
  }
  // a promise, as browsers take only what a click asks for
  const copyPicture = () => navigator.clipboard.write([new ClipboardItem({ "image/png": picture() })]);
  const pickPlan = () => choose({ accept: ".json" }, ([file]) => upload([[file.name, file]], "plan"));

  let model;  // chosen, not confirmed yet
  const pickModel = () =>
    choose({ accept: ".zip,.pt,.ts,.pth" }, ([file]) => {
      model = file;
      const text = `Import ${file.name} (${Math.ceil(file.size / 1e6)} MB)?\nOnly use models from a source that you know.`;
      show("asking", { kind: "Import", title: "Import a model", text });
    });
  const sendModel = () => upload([[model.name, model]], "model");

  async function filesOf(entry, path) {
    if (entry.isFile) return [[path + entry.name, await new Promise((done, fail) => entry.file(done, fail))]];
    const reader = entry.createReader();
    const found = [];
    for (;;) {  // a reader gives at most 100 entries at a time
      const entries = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!entries.length) return found;
      for (const inner of entries) found.push(...(await filesOf(inner, `${path}${entry.name}/`)));
    }
  }

  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const files = (await Promise.all(entries.map((entry) => filesOf(entry, "")))).flat();
    careful(() => upload(files));
  });

  function enlarge(event) {
    const button = event.currentTarget;
    const large = button.closest(".layout-grid-item").classList.toggle("ds-large");
    button.setAttribute("aria-pressed", large);
  }

  // What is drawn in a view is told whole when the button is released. Of the mouse's moves that wait for the server,
  // trame tells the last only, and buttons that are pressed afterwards overtake them.
  let drawing;
  const drop = () => (drawing = undefined);
  function cancel() {  // what the server has outlined meanwhile goes, too
    if (drawing) window.trame.trigger("dropped");
    drop();
  }
  function note(event) {
    const { left, top, width, height } = drawing.area.getBoundingClientRect();
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of passed.length ? passed : [event])
      drawing.places.push([(clientX - left) / width, 1 - (clientY - top) / height]);
  }
  const NOTCH_PX = 50;  // that a touchpad scrolls; a notch of a wheel scrolls more, and counts once
  async function follow(drawn) {  // what comes while a message is answered is told together
    if (drawn.following || !["add", "remove"].includes(shown("tool"))) return;
    drawn.following = true;
    let places, notches;  // that were told
    while (drawn === drawing && (places !== drawn.places.length || notches !== drawn.notches)) {
      const turned = drawn.notches;
      places = drawn.places.length;
      notches = await window.trame.trigger("following", [drawn.view, drawn.places, turned]);
      drawn.notches += notches - turned;  // no more than there are
    }
    drawn.following = false;
  }
  const mouse = {
    pointerdown(event) {
      const area = event.target.closest?.(".remote-controlled-area");
      cancel();  // a second finger zooms
      if (!area || event.button || !event.isPrimary || !shown("tool")) return;
      const { view } = area.closest(".layout-grid-item").querySelector("[data-view]").dataset;
      drawing = { area, view, places: [], rolled: 0, notches: 0, following: false };
      note(event);
      follow(drawing);
    },
    pointermove(event) {
      if (!drawing) return;
      note(event);
      follow(drawing);
    },
    pointerup(event) {
      if (!drawing || event.button) return;
      note(event);
      window.trame.trigger("drawn", [drawing.view, drawing.places, drawing.notches]);
      drop();
    },
    pointercancel: cancel,
    wheel(event) {
      if (!drawing) return;
      event.preventDefault();
      event.stopPropagation();  // the slice stays
      if (["paint", "erase"].includes(shown("tool"))) return;
      const rolled = event.deltaMode ? Math.sign(event.deltaY) * NOTCH_PX : event.deltaY;
      drawing.rolled += Math.max(-NOTCH_PX, Math.min(NOTCH_PX, rolled));
      const whole = Math.trunc(drawing.rolled / NOTCH_PX);
      drawing.rolled -= whole * NOTCH_PX;
      drawing.notches -= whole;
      if (whole) follow(drawing);
    },
  };
  for (const name in mouse) addEventListener(name, mouse[name], { capture: true, passive: name !== "wheel" });

  function download(url) {
    const link = document.createElement("a");
    link.href = url;
    link.download = "";
    link.click();
  }

  // A dialog that closes gives the focus back to where it came from; Vuetify does so for buttons of its own only.
  let openers = [];
  addEventListener("focusin", ({ target, relatedTarget }) => {
    const dialog = target.closest?.(".v-dialog");
    if (dialog && !openers.some((opener) => opener.dialog === dialog)) openers.push({ dialog, from: relatedTarget });
  });
  function giveBack() {
    const open = ({ dialog }) => dialog.classList.contains("v-overlay--active");
    const [closed] = openers.filter((opener) => !open(opener));
    openers = openers.filter(open);
    const now = document.activeElement;
    if (closed && (now === document.body || closed.dialog.contains(now))) closed.from?.focus();
  }

  // What trame and Vuetify leave out for screen readers and for those who zoom.
  document.querySelector("meta[name=viewport]").content = "width=device-width, initial-scale=1";
  new MutationObserver(() => {
    for (const view of document.querySelectorAll(".remote-controlled-area:not([role])")) {
      const name = view.closest(".layout-grid-item")?.querySelector(".ds-corner span")?.textContent.trim();
      const image = view.querySelector("img");
      if (!name || !image) continue;
      view.setAttribute("role", "group");
      view.setAttribute("aria-label", `${name} view`);
      image.alt = name;
    }
    for (const field of document.querySelectorAll(".v-field[role=combobox]:not([aria-label])"))
      field.setAttribute("aria-label", field.querySelector("label")?.textContent ?? "");
  }).observe(document.documentElement, { childList: true, subtree: true });

  // What is cut off for want of room is told whole under the mouse.
  addEventListener("mouseover", ({ target }) => {
    const place = target.closest?.(".v-select .v-field, .text-truncate");
    const text = place?.querySelector(".v-select__selection-text") ?? place;
    if (place) place.title = text.scrollWidth > text.clientWidth ? text.textContent : "";
  });

  // A key presses the button that names it in `aria-keyshortcuts`, unless something is typed or asked.
  const typing = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable=true]";
  addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Escape") cancel();
      if (event.altKey || event.repeat || event.target.closest(typing)) return;
      const held = (event.ctrlKey || event.metaKey ? "Control+" : "") + (event.shiftKey ? "Shift+" : "");
      const key = event.key.length > 1 ? event.key : event.key.toUpperCase();
      const button = document.querySelector(`[aria-keyshortcuts~="${CSS.escape(held + key)}"]`);
      if (!button?.checkVisibility() || button.disabled || document.querySelector(".v-overlay--active")) return;
      event.preventDefault();
      event.stopPropagation();  // Slicer's views have keys of their own
      button.click();
    },
    true,
  );

  const called = { careful, copyPicture, enlarge, giveBack, goOn, pick, pickEarlier, pickModel, pickPlan, pickReference };
  window.deepseg = { ...called, sendModel, cancelUpload, download };
})();
