// Addresses after the #: which page is shown and what it was asked, so that links, reload and the back button work.
const PAGES = ["compose", "search", "compare", "catalogue"];

/** Returns {page, params} of the address. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { page: PAGES.includes(path) ? path : PAGES[0], params: new URLSearchParams(query) };
}

/** Returns the address of a page; parameters without a value are left out. */
export function link(page, params = {}) {
  const told = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false);
  const query = new URLSearchParams(told).toString();
  return query ? `#/${page}?${query}` : `#/${page}`;
}

/** Goes to a page. */
export function go(page, params) {
  location.hash = link(page, params);
}

/** Changes the address without a step back to where it was. */
export function rename(page, params) {
  history.replaceState(null, "", link(page, params));
}

/** Shows the page of the address now and whenever it changes: `opened[page](params)` is told. */
export function start(opened) {
  const open = () => {
    const { page, params } = here();
    for (const name of PAGES) document.getElementById(name).hidden = name !== page;
    for (const anchor of document.querySelectorAll(".top nav a")) {
      if (anchor.hash.startsWith(`#/${page}`)) anchor.setAttribute("aria-current", "page");
      else anchor.removeAttribute("aria-current");
    }
    document.title = page === "compose" ? "Velatura" : `${page[0].toUpperCase()}${page.slice(1)} – Velatura`;
    opened[page](params);
  };
  addEventListener("hashchange", open);
  open();
}
