// Signs as outlines on a field of 24 by 24, drawn for this page.
export const shapes = {
  auto: "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17zM12 3.5v17M12 8.5h7.6M12 12.5h8.4M12 16.5h7",
  light: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8zM12 2.5v2.5M12 19v2.5M2.5 12h2.5M19 12h2.5M5.3 5.3l1.8 1.8M16.9 16.9l1.8 1.8M5.3 18.7l1.8-1.8M16.9 7.1l1.8-1.8",
  dark: "M20 14.2A8.5 8.5 0 0 1 9.8 4a8.5 8.5 0 1 0 10.2 10.2z",
  lock: "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11M12 14.5v2",
  open: "M6 11h12v9H6zM8.5 11V7a3.5 3.5 0 0 1 6.6-1.6M12 14.5v2",
  ban: "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17zM6 6l12 12",
  close: "M6 6l12 12M18 6L6 18",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  out: "M13 5h6v6M19 5l-9 9M17 14v5H5V7h5",
  reset: "M5 5v5h5M5.6 10a7 7 0 1 1-.4 4.5",
  copy: "M9 9h10v11H9zM5 15V4h10",
  save: "M12 4v11M7.5 10.5L12 15l4.5-4.5M5 19.5h14",
};
