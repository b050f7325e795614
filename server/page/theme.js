// Sets the theme that was chosen before anything is drawn, so that nothing flashes; what is not chosen follows the system.
try {
  const theme = JSON.parse(localStorage.getItem("velatura.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* no storage: the system's theme */ }
