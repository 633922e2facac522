// Typeset what pymdownx.arithmatex marked as TeX. KaTeX lies in assets/katex: no network is needed.
const macros = {
  "\\D": "\\Delta\\theta",
  "\\ema": "\\operatorname{ema}\\left(#1;\\, #2\\right)",
};

document$.subscribe(({ body }) => {
  for (const element of body.querySelectorAll(".arithmatex:not(.done)")) {
    const display = element.tagName === "DIV";
    const tex = element.textContent.trim().replace(/^\\[([]|\\[)\]]$/g, "");
    katex.render(tex, element, { displayMode: display, throwOnError: false, macros: { ...macros } });
    element.classList.add("done");
  }
});
