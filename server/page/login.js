// Asks for the server's token, once however many requests wait for it.
import { $ } from "./dom.js";

let asking = null;

/** Resolves when a token was taken. `enter(token)` returns null, or why not. */
export function askToken(enter) {
  asking ??= new Promise((done) => {
    const dialog = $("login");
    const form = dialog.querySelector("form");
    const hold = (event) => event.preventDefault();
    const submit = async (event) => {
      event.preventDefault();
      const why = await enter($("token").value).catch(() => "The server does not answer.");
      $("login-error").textContent = why ?? "";
      if (why !== null) return $("token").select();
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("cancel", hold);
      $("token").value = "";
      dialog.close();
      asking = null;
      return done();
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener("cancel", hold); // there is nothing behind it to return to
    dialog.showModal();
  });
  return asking;
}
