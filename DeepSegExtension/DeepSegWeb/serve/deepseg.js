// One tab at a time shows the session; the page says when the server has gone.
(() => {
  const gone = document.createElement("div");
  gone.className = "ds-gone";
  gone.setAttribute("role", "alert");
  gone.innerHTML =
    "<h1>DeepSeg has stopped</h1><p>Start <code>deepseg web</code> again and open the link that it prints.</p>";
  const stream = new EventSource("alive");
  let lost = false;
  stream.onmessage = (event) => {
    if (event.data === "elsewhere") location.replace("elsewhere");
    else if (lost) location.reload();
  };
  stream.onerror = () => {
    lost = true;
    document.body.append(gone);
  };
  addEventListener("pagehide", () => stream.close());
})();
