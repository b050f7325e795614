// One job: where it stands in the line, how far it is, and its pictures as they come.
import { button, make, many, show } from "./dom.js";
import { call, ended, follow } from "./api.js";
import { figure } from "./picture.js";

/** Shows a job and follows it until it has ended. */
export class JobView {
  /** `acts` has what its pictures can be used for, `again(job, picture)` and `startFrom(picture)`. */
  constructor(job, acts = {}) {
    this.acts = acts;
    this.figures = new Map();
    this.status = make("p", { className: "job-status", attr: { role: "status" } });
    this.bar = make("progress", { max: 1, value: 0, attr: { "aria-label": "how far the painting is" } });
    this.error = make("p", { className: "error", attr: { role: "alert" } });
    this.pictures = make("div", { className: "pictures" });
    this.stop = button("Cancel", () => this.cancel(), { look: "" });
    this.title = make("h3", { className: "job-title" });
    this.node = make("article", { className: "job", data: { job: job.id } },
      make("div", { className: "job-head" }, make("div", {}, this.title, this.status), this.stop), this.bar, this.error, this.pictures);
    this.tell(job);
    if (!ended(job)) this.watch();
    else if (!job.composition) this.complete();
  }

  async watch() {
    try {
      await follow(this.job.id, (job) => this.tell(job));
    } catch (error) {
      this.tell({ ...this.job, state: "failed", error: error.message });
    }
  }

  async complete() {
    try {
      this.tell(await this.asked("GET"));
    } catch { /* what the list told is shown */ }
  }

  async asked(method) {
    const answer = await call(method, `jobs/${this.job.id}`);
    return answer.job ?? answer;
  }

  /** Ends the job; the pictures that are there stay. */
  async cancel() {
    this.stop.disabled = true;
    try {
      this.tell(await this.asked("DELETE"));
    } catch (error) {
      this.error.textContent = error.message;
      this.stop.disabled = false;
    }
  }

  /** Draws what has changed. */
  tell(job) {
    this.job = { ...this.job, ...job, composition: job.composition ?? this.job?.composition };
    const over = ended(job);
    this.title.textContent = job.prompt;
    const words = statusOf(job);
    if (this.status.textContent !== words) this.status.textContent = words; // spoken when it changes, not with each step
    this.bar.value = job.progress;
    show(this.bar, !over);
    show(this.stop, !over);
    this.error.textContent = job.error ?? "";
    this.node.setAttribute("aria-busy", String(!over));
    this.draw(job, over);
  }

  draw(job, over) {
    for (const picture of job.pictures) {
      if (this.figures.get(picture.place)?.dataset.picture === picture.url) continue;
      this.put(picture.place, figure(picture, () => this.job, this.acts), picture);
    }
    const expected = job.state === "painting" ? job.count : 0;
    for (let place = 0; place < Math.max(expected, this.figures.size); place += 1) {
      const there = this.figures.get(place);
      if (over && there?.classList.contains("pending")) this.remove(place);
      if (!over && !there) this.put(place, pending());
    }
    if (job.preview) {
      const waiting = this.figures.get(job.preview.place);
      if (waiting?.classList.contains("pending")) preview(waiting, job.preview.picture);
    }
  }

  remove(place) {
    this.figures.get(place).remove();
    this.figures.delete(place);
  }

  put(place, node, picture = null) {
    const before = this.figures.get(place);
    this.figures.set(place, node);
    if (picture) node.dataset.picture = picture.url;
    node.dataset.place = place;
    if (before) return before.replaceWith(node);
    const next = [...this.pictures.children].find((child) => Number(child.dataset.place) > place);
    return this.pictures.insertBefore(node, next ?? null);
  }
}

function pending() {
  return make("figure", { className: "picture pending" }, make("div", { className: "frame" }));
}

function preview(node, url) {
  const frame = node.firstChild;
  const image = frame.querySelector("img") ?? frame.appendChild(make("img", { alt: "a picture that is being painted" }));
  image.classList.add("small");
  image.src = url;
}

function statusOf(job) {
  const made = job.pictures.length;
  switch (job.state) {
    case "waiting": return job.ahead > 0 ? `waiting, ${many(job.ahead, "job")} before it` : "next in line";
    case "painting": return job.count > 1 ? `painting, ${made} of ${job.count} done` : "painting";
    case "done": return seconds(job);
    case "cancelled": return made ? `cancelled after ${made} of ${job.count}` : "cancelled";
    default: return "failed";
  }
}

function seconds(job) {
  const told = many(new Set(job.pictures.map(({ url }) => url)).size, "picture");
  if (!job.started_at || !job.ended_at) return told;
  return `${told} in ${(job.ended_at - job.started_at).toFixed(1)} s`;
}

