// Light or dark. A classic script in <head>, so that the first paint has the right theme already.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const KEY = "avemo-theme";

  const stored = () => {
    try {
      const value = localStorage.getItem(KEY);
      return value === "dark" || value === "light" ? value : null;
    } catch {
      return null; // storage is switched off: the system's choice stands
    }
  };

  // Gradio's own parts look at .dark on <body>; it sets that from the system, we from the switch.
  const tellGradio = () => {
    const dark = root.dataset.theme === "dark";
    if (document.body && document.body.classList.contains("dark") !== dark) {
      document.body.classList.toggle("dark", dark);
    }
  };

  const show = (theme) => {
    root.dataset.theme = theme;
    tellGradio();
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-pressed", String(theme === "dark"));
    document.dispatchEvent(new CustomEvent("avemo:theme", { detail: theme }));
  };

  show(stored() ?? (system.matches ? "dark" : "light"));
  system.addEventListener("change", () => {
    if (!stored()) show(system.matches ? "dark" : "light");
  });
  addEventListener("storage", (event) => {
    if (event.key === KEY) show(stored() ?? (system.matches ? "dark" : "light"));
  });

  document.addEventListener("DOMContentLoaded", () => {
    show(root.dataset.theme);
    new MutationObserver(tellGradio).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    document.getElementById("theme")?.addEventListener("click", () => {
      const theme = root.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // not remembered, still shown
      }
      show(theme);
    });
    document.querySelector("a.skip")?.addEventListener("click", (event) => {
      event.preventDefault();
      const content = document.getElementById("content");
      content.focus({ preventScroll: true });
      content.scrollIntoView();
    });
  });
})();
