// ---- gallery: choose score maps, enlarge a picture, step to the next at the same place ----

for (const album of document.querySelectorAll(".album")) {
  for (const chip of album.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", String(on));
      for (const figure of album.querySelectorAll("figure")) if (figure.dataset.kind === chip.dataset.kind) figure.hidden = !on;
    });
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.zoom");
  if (button) enlarge([...button.closest(".row").querySelectorAll("figure:not([hidden])")], button.closest("figure"), button.closest(".shot").querySelector("b").textContent);
});

// ---- one image by its address: all pictures side by side and large, with a threshold for all of its maps ----

function showShot(shot) {
  const album = shot.closest(".album"), view = shot.closest(".view");
  for (const each of [album, shot]) each.classList.add("alone");
  document.title = `${shot.querySelector("b").textContent} · ${document.title}`;
  if (shot.querySelector(".tools")) return;
  const shots = [...album.querySelectorAll(".shot")], at = shots.indexOf(shot), most = Math.max(...levelsOf(shot).levels.values(), 0);
  const link = (text, target, step) => made("a", { class: "chip", href: `#${target.id}`, "data-step": step }, text);
  const beside = (by) => shots[(at + by + shots.length) % shots.length];
  const share = made("output");
  const threshold = made("input", { type: "range", min: "0", max: String(most + 1), value: "0", oninput: () => alarm(shot, Number(threshold.value), share) });
  const label = shot.querySelector("figure[data-kind^='map ']") && made("label", {}, "Threshold of all maps ", threshold);
  shot.querySelector("p").after(made("p", { class: "chips tools" }, link("All images", view, "up"), link("← Before", beside(-1), "before"), link("Next →", beside(1), "next"), label, share));
}

// What each method would raise an alarm for at the same share of the data set's pixels, drawn over its map.
function alarm(shot, least, share) {
  const { decades, levels } = levelsOf(shot), most = Math.max(...levels.values(), 0);
  const photograph = shot.querySelector("figure[data-kind=image] img");
  for (const canvas of shot.querySelectorAll(".zoom canvas")) canvas.remove();
  share.textContent = least === 0 ? "" : `up to ${Number((100 * 10 ** ((-decades * (least - 1)) / most)).toPrecision(2))} % of the data set's pixels`;
  if (least === 0) return;
  for (const figure of shot.querySelectorAll("figure[data-kind^='map ']:not([hidden])")) {
    const canvas = made("canvas", { "aria-hidden": "true" });
    figure.querySelector(".zoom").append(canvas);
    drawAlarms(canvas, photograph, figure.querySelector("img"), levels, least - 1);
  }
}

// The pictures of a method's hardest images are those of the gallery: the page has them once.
function showHardest(view) {
  for (const link of view.querySelectorAll(".hardest > a:not(:has(img))")) {
    const shot = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    const pictures = [...(shot?.querySelectorAll("figure") ?? [])].filter(({ dataset }) => dataset.kind === "image" || dataset.kind === link.parentElement.dataset.map);
    link.prepend(...pictures.map((figure) => made("img", { src: figure.querySelector("img").src, alt: "" })));
  }
}

document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: "before", ArrowRight: "next", Escape: "up" }[event.key];
  const link = step && document.querySelector(`.view.current .shot.alone [data-step=${step}]`);
  if (!link || event.target.closest("input, select, dialog") || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  location.hash = link.hash;
});

// Levels of a score map by colour, as packed RGB: the album carries the colours of its scale.
function levelsOf(figure) {
  const scale = figure.closest(".album").querySelector("[data-levels]");
  const colours = scale ? scale.dataset.levels.split(" ") : [];
  return { decades: Number(scale?.dataset.decades), levels: new Map(colours.map((colour, level) => [parseInt(colour, 16), level])) };
}

// The pixels at or above a level in the colour of an alarm, on the photograph in grey. Returns the share of the image.
function drawAlarms(canvas, photograph, map, levels, least) {
  const [width, height] = [map.naturalWidth, map.naturalHeight];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(map, 0, 0);
  const scores = context.getImageData(0, 0, width, height).data;
  context.drawImage(photograph, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height), pixels = image.data;
  let alarms = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    const grey = 0.3 * pixels[at] + 0.59 * pixels[at + 1] + 0.11 * pixels[at + 2];
    const alarm = (levels.get((scores[at] << 16) | (scores[at + 1] << 8) | scores[at + 2]) ?? -1) >= least;
    pixels.set(alarm ? [255, 120 + grey / 4, 0] : [grey, grey, grey], at);
    alarms += alarm;
  }
  context.putImageData(image, 0, 0);
  return alarms / (width * height);
}

function enlarge(figures, first, sample) {
  let at = figures.indexOf(first), scale = 1;
  const { decades, levels } = levelsOf(first), most = Math.max(...levels.values(), 0);
  const source = (figure) => figure.querySelector("img"), title = (figure) => figure.querySelector("figcaption").textContent;
  const isMap = (figure) => figure.dataset.kind.startsWith("map ");
  const picture = made("img", { alt: "" }), over = made("img", { alt: "", class: "over" }), alarms = made("canvas", { role: "img" });
  const name = made("b"), share = made("output"), sheet = made("div", { class: "sheet" }, picture, alarms, over);
  const pane = made("div", { class: "scroll zoomed", tabindex: "0", role: "group", "aria-label": `${sample}, enlarged` }, sheet);
  const choice = made("select", { onchange: () => draw() }, made("option", { value: "" }, "nothing"), ...figures.map((figure, index) => made("option", { value: String(index) }, title(figure))));
  const slider = made("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "Where the second picture begins", oninput: () => draw() });
  const threshold = made("input", { type: "range", min: "0", max: String(most + 1), value: "0", "aria-label": "Threshold of the score", oninput: () => draw() });
  const beside = made("label", {}, "Beside ", choice), level = made("label", {}, "Threshold ", threshold);
  const draw = () => {
    const figure = figures[at], other = choice.value === "" ? null : figures[Number(choice.value)], least = Number(threshold.value);
    picture.src = source(figure).src;
    picture.alt = source(figure).alt;
    sheet.style.width = `${100 * scale}%`; // the place in view stays while pictures change
    over.hidden = slider.hidden = other === null;
    if (other) {
      over.src = source(other).src;
      over.alt = source(other).alt;
      over.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
    }
    level.hidden = !isMap(figure) || !levels.size;
    alarms.hidden = share.hidden = level.hidden || least === 0;
    if (!alarms.hidden) {
      const part = drawAlarms(alarms, source(figures[0]), source(figure), levels, least - 1);
      share.textContent = `${(100 * part).toFixed(1)} % of this image at or above; of the data set up to ${Number((100 * 10 ** ((-decades * (least - 1)) / most)).toPrecision(2))} %`;
      alarms.setAttribute("aria-label", `Pixels of ${title(figure)} at or above the threshold`);
    }
    name.textContent = `${title(figure)} (${at + 1} of ${figures.length})`;
  };
  const step = (by) => { at = (at + by + figures.length) % figures.length; draw(); };
  const zoom = (by) => { scale = Math.min(8, Math.max(1, scale * by)); draw(); };
  const button = (text, label, act) => made("button", { type: "button", class: "chip", "aria-label": label, onclick: act }, text);
  openWindow(sample, made("p", { class: "chips" }, button("←", "Picture before", () => step(-1)), button("→", "Next picture", () => step(1)), button("+", "Larger", () => zoom(2)), button(MINUS, "Smaller", () => zoom(0.5)), name, beside, slider, level, share), pane);
  pane.addEventListener("click", () => zoom(scale < 8 ? 2 : 1 / 8));
  document.getElementById("window").onkeydown = (event) => {
    if (event.target.matches("input, select")) return; // arrows move what has the focus
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "+") zoom(2);
    else if (event.key === "-") zoom(0.5);
    else return;
    event.preventDefault();
  };
  draw();
}
