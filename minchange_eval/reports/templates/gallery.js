// Gallery: filters, and pictures that are put in place when they come into sight.
(() => {
  "use strict";
  const section = document.getElementById("gallery");
  if (!section) return;
  const items = [...section.querySelectorAll(".gallery-item")];

  let pictures = null; // read once, when the first picture is wanted
  const show = (image) => {
    pictures ??= JSON.parse(document.getElementById("gallery-pictures").textContent);
    const data = pictures[image.dataset.picture];
    if (data && !image.src) image.src = data;
  };
  const images = [...section.querySelectorAll("img[data-picture]")];
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          show(entry.target);
          watcher.unobserve(entry.target);
        }
      }
    },
    { rootMargin: "600px" },
  );
  images.forEach((image) => watcher.observe(image));
  window.addEventListener("beforeprint", () => {
    for (const image of images) if (!image.closest("[hidden]")) show(image);
    for (const charts of document.querySelectorAll(".charts-of")) charts.open = true;
  });

  const chosen = (name) => document.getElementById(`gallery-${name}`);
  if (!chosen("benchmark")) return;
  const matches = (item) => {
    const data = item.dataset;
    const benchmark = chosen("benchmark").value;
    const slice = chosen("slice").value;
    const model = chosen("model").value;
    const outcome = chosen("outcome").value;
    if (benchmark && data.benchmark !== benchmark) return false;
    if (slice && !data.slices.split(" ").includes(slice)) return false;
    if (chosen("disagree").checked && data.disagree !== "1") return false;
    const letters = model ? [data.outcomes[Number(model)]] : [...data.outcomes];
    return letters.some((letter) => (outcome ? outcome.includes(letter) : letter !== "-"));
  };
  const filter = () => {
    const benchmark = chosen("benchmark").value;
    for (const option of chosen("slice").options) {
      option.hidden = Boolean(benchmark && option.dataset.benchmark && option.dataset.benchmark !== benchmark);
      if (option.hidden && option.selected) chosen("slice").value = "";
    }
    let shown = 0;
    for (const item of items) {
      item.hidden = !matches(item);
      shown += item.hidden ? 0 : 1;
    }
    for (const part of section.querySelectorAll(".gallery-part")) {
      const held = [...part.querySelectorAll(".gallery-item")];
      part.hidden = held.length > 0 && held.every((item) => item.hidden);
    }
    chosen("count").textContent = shown === items.length ? `${shown} items` : `${shown} of ${items.length} items`;
  };
  const form = section.querySelector("form");
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(); // a browser that goes back keeps what was chosen
})();
