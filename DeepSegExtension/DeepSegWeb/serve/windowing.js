// Window and level by a drag in a slice, while no other tool is taken.
(() => {
  const CLICK_PX = 4;  // the mouse moves a little in a click too
  const shown = (name) => window.trame.state.get(name);
  let drag;

  async function tell(drag) {  // what comes while a message is answered is told together
    if (drag.telling) return;
    drag.telling = true;
    for (let told; told !== drag.place; ) {
      const start = drag.told ? null : drag.start;
      drag.told = told = drag.place;
      await window.trame.trigger("window", [drag.view, ...told, start]);
    }
    drag.telling = false;
  }

  function cancel() {  // a second finger zooms, and what the first one changed goes back
    if (drag?.place) {
      drag.place = [0, 0];
      tell(drag);
    }
    drag = undefined;
  }

  const mouse = {
    pointerdown(event) {
      cancel();
      const area = event.target.closest?.(".remote-controlled-area");
      const { view } = area?.closest(".layout-grid-item").querySelector("[data-view]").dataset ?? {};
      const held = event.shiftKey || event.ctrlKey || event.altKey || event.metaKey;  // Slicer's own
      if (!view || view === "ThreeD" || held || event.button || !event.isPrimary) return;
      if (shown("tool") || shown("plan_drawn")) return;
      const { left, top, width, height } = area.getBoundingClientRect();
      const start = [(event.clientX - left) / width, 1 - (event.clientY - top) / height];
      drag = { view, x: event.clientX, y: event.clientY, start };
    },
    pointermove(event) {
      if (!drag) return;
      const place = [event.clientX - drag.x, drag.y - event.clientY];
      if (!drag.place && Math.hypot(...place) < CLICK_PX) return;
      drag.place = place;
      tell(drag);
    },
    pointerup: () => (drag = undefined),
    pointercancel: cancel,
  };
  for (const name in mouse) addEventListener(name, mouse[name], { capture: true });
  addEventListener("keydown", (event) => event.key === "Escape" && cancel(), true);
})();
