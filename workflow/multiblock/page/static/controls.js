// What the viewer is made of: selectors, buttons, canvases. Each control calls one thing that the viewer can do.

const MODES = { slider: "Slider", side: "Side by side", one: "One picture" };

const button = (text, title, act) => element("button", { type: "button", title, onclick: act }, text);

// The parts that the viewer goes on working with, put into its root.
function controlsOf(viewer) {
  const parts = { ...selectors(viewer), ...options(viewer), ...stage(), ...numbers(), help: keyHelp() };
  parts.range = element("input", {
    type: "range",
    min: 0,
    max: 200,
    value: 100,
    class: "divide",
    "aria-label": "divider between A and B",
    oninput: () => viewer.setSplit(parts.range.value / 200),
  });
  const choice = (label, control) => element("label", { class: "choice" }, element("span", {}, label), control);
  const first = [choice("image", parts.imageSelect), choice("A", parts.selects[0]), choice("B", parts.selects[1])];
  const help = element("div", { class: "buttons" }, button("?", "keys", () => parts.help.showModal()));
  viewer.root.append(
    element("div", { class: "controls" }, ...first),
    element("div", { class: "controls" }, parts.modes, parts.places, parts.errorLabel, zooms(viewer), help),
    parts.stage,
    parts.range,
    parts.status,
    parts.table,
    parts.help,
  );
  return parts;
}

function selectors(viewer) {
  const names = viewer.cuts.map((cut, n) => element("option", { value: n }, cut.title));
  const imageSelect = element("select", { "aria-label": "image", onchange: () => viewer.open(imageSelect.selectedIndex) }, ...names);
  const selects = ["a", "b"].map((side) => {
    const change = (event) => viewer.choose(side, event.target.selectedIndex);
    return element("select", { "aria-label": `picture ${side.toUpperCase()}`, onchange: change });
  });
  return { imageSelect, selects };
}

function options(viewer) {
  const modes = element("fieldset", { class: "segments" }, element("legend", { class: "hidden" }, "how to compare"));
  for (const [mode, title] of Object.entries(MODES)) {
    const change = () => viewer.setMode(mode);
    const radio = element("input", { type: "radio", name: "mode", value: mode, checked: mode === viewer.mode, onchange: change });
    modes.append(element("label", {}, radio, element("span", {}, title)));
  }
  const errorBox = element("input", { type: "checkbox", onchange: () => viewer.setErrors(errorBox.checked) });
  const errorLabel = element("label", { class: "check" }, errorBox, element("span", {}, `error ×${ERROR_FACTOR}`));
  return { modes, errorBox, errorLabel, places: element("div", { class: "buttons" }) };
}

function zooms(viewer) {
  return element(
    "div",
    { class: "buttons", role: "group", "aria-label": "zoom" },
    button("−", "zoom out (−)", () => viewer.zoom(1 / Math.SQRT2)),
    button("+", "zoom in (+)", () => viewer.zoom(Math.SQRT2)),
    button("1:1", "an image pixel is a screen pixel", () => viewer.zoomTo(1)),
    button("fit", "the whole picture (f)", () => viewer.fit()),
  );
}

// Two canvases; the second is hidden where one is enough.
function stage() {
  const frames = ["a", "b"].map((side) => {
    const canvas = element("canvas", { tabindex: 0, role: "img", class: "picture" });
    const tag = element("span", { class: `tag ${side}` });
    return { canvas, tag, box: element("div", { class: "frame" }, canvas, tag), context: canvas.getContext("2d") };
  });
  const [first] = frames;
  first.second = element("span", { class: "tag b" });
  first.divider = element("div", { class: "divider" }, element("span", { class: "grip" }));
  first.box.append(first.second, first.divider);
  return { frames, stage: element("div", { class: "stage" }, ...frames.map((frame) => frame.box)) };
}

function numbers() {
  const heads = ["key", "picture", "PSNR of what is seen", "over the first"];
  const head = element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text))));
  const list = element("tbody");
  const box = { class: "scroll", tabindex: 0, role: "region", "aria-label": "pictures" };
  const table = element("div", box, element("table", { class: "pictures" }, head, list));
  return { list, table, status: element("p", { class: "status", role: "status" }) };
}
