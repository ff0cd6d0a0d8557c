"use strict";
// A divider between two pictures that lie on each other. The range input does the work: it has
// the keyboard, the touch and the screen reader; here its value only becomes a place.
for (const figure of document.querySelectorAll("[data-compare]")) {
  const range = figure.querySelector("input");
  const place = () => figure.style.setProperty("--at", range.value + "%");
  if (range) {
    // a thumb has a width, so its value is not quite where the finger is: ask the finger
    const follow = (event) => {
      const box = figure.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      range.value = String(Math.min(1, Math.max(0, share)) * 100);
      place();
    };
    range.addEventListener("input", place);
    range.addEventListener("pointerdown", (event) => {
      range.setPointerCapture(event.pointerId);
      requestAnimationFrame(() => follow(event));
    });
    range.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) requestAnimationFrame(() => follow(event));
    });
    place();
  }
  const [after, before] = ["after", "before"].map((name) => figure.querySelector("video." + name));
  const button = document.querySelector("[data-play]");
  if (after && button) {
    const keep = () => {
      if (before && Math.abs(before.currentTime - after.currentTime) > 0.05)
        before.currentTime = after.currentTime;
    };
    after.addEventListener("timeupdate", keep);
    button.addEventListener("click", () => {
      const playing = !after.paused;
      for (const video of [after, before]) if (video) playing ? video.pause() : video.play();
      button.textContent = playing ? "Play" : "Pause";
    });
  }
}
