// Work of the daemon that has not ended.

import { h } from "./dom.js";
import { ago } from "./text.js";
import { button, card } from "./widgets.js";

const operations = {
    "create-snapshot": "Take a snapshot",
    "delete-roots": "Delete old roots",
    "prune": "Prune",
    "apply-persistence": "Put entries in place",
    "add-persistence": "Keep something more",
    "remove-persistence": "Forget",
    "unmount-entry": "Take the mount of an entry away",
    "list-losses": "Look for what the next boot will lose",
    "compare-roots": "Compare roots",
    "list-versions": "Look for versions",
    "restore": "Restore files",
};

/** What a job is called; an operation that this page does not know goes by its own name. */
export function operation(name) {
    return operations[name] ?? name;
}

function job(j) {
    const name = operation(j.Operation), done = j.ItemsTotal > 0 && `${j.ItemsDone} of ${j.ItemsTotal}`;
    return h("li", { "data-key": j.path },
        h("div", null,
            h("strong", null, name),
            h("span", { class: "note" }, [done, j.Stage, `started ${ago(j.StartUSec)}`].filter(Boolean).join(", "))),
        h("progress", { "aria-label": name, max: 1, value: j.ProgressValid && j.Progress }),
        j.Cancelable && button("cancel", "Cancel", { data: { path: j.path }, label: `Cancel: ${name}` }));
}

/** The jobs under way; nothing while there is none. */
export function jobs(daemon) {
    const all = daemon.jobs;
    return all.length > 0 && card("jobs", "Under way", {}, h("ul", { class: "jobs" }, all.map(job)));
}
