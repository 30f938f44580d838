// What is asked before something is done that can't be undone, or needs a word more.

import { browsing } from "./browse.js";
import { h } from "./dom.js";
import { count, moment } from "./text.js";
import { alert, button } from "./widgets.js";
import { details } from "./roots.js";
import { fromBytes, pathOf } from "./stream.js";

function field(id, text, value, help, maxlength) {
    return h("div", { class: "field" },
        h("label", { for: id }, text),
        h("input", { id, name: id, value, maxlength, autocomplete: "off", "aria-describedby": help && `${id}-help` }),
        help && h("p", { id: `${id}-help`, class: "note" }, help));
}

/** The lines of a plan, each with its reasons. */
function planned(items) {
    return h("ul", { class: "plan" }, items.map(({ name, reasons }) =>
        h("li", null, h("span", { class: "name" }, name), h("span", { class: "note" }, reasons.join("; ")))));
}

function plan({ plan: items, error }) {
    if (!items)
        return { heading: "Prune old roots", body: !error && h("p", { class: "note" }, "Asking what retention keeps…") };
    const removed = items.filter(i => i.remove), kept = items.filter(i => !i.remove);
    return {
        heading: "Prune old roots",
        body: [
            removed.length > 0
                ? [h("p", null, `The retention policy does not keep ${count(removed.length, "root")}. Deleting can't be undone.`), planned(removed)]
                : h("p", null, "There is nothing to prune: the retention policy keeps every root."),
            kept.length > 0 && h("details", { open: removed.length === 0 },
                h("summary", null, `Kept: ${kept.length}`), planned(kept)),
        ],
        confirm: removed.length > 0 && button("prune", `Delete ${count(removed.length, "root")}`, { look: "danger" }),
    };
}

const outcomes = { restored: "restored", replaced: "restored, what was there is kept aside", same: "was there already", failed: "failed" };

function restore({ name, results, running, paths }) {
    if (running)
        return { heading: `Restore files from ${name}`, body: h("p", { class: "note" }, "Restoring…") };
    if (results)
        return {
            heading: `Restored from ${name}`,
            body: h("ul", { class: "plan" }, results.map(({ path, action, aside, error }) =>
                h("li", null, h("span", { class: "name" }, pathOf(path).text),
                    h("span", { class: "note" }, [outcomes[action] ?? action, aside && pathOf(aside).text, error?.message].filter(Boolean).join(": "))))),
        };
    return {
        heading: `Restore files from ${name}`,
        body: h("div", { class: "field" },
            h("label", { for: "paths" }, "Files and directories, each on a line of its own"),
            h("textarea", { id: "paths", name: "paths", rows: 4, spellcheck: "false", "aria-describedby": "paths-help" }, paths?.join("\n")),
            h("p", { id: "paths-help", class: "note" }, "Absolute paths, such as /etc/hosts. What is in the way is kept aside, not lost.")),
        form: "restore", confirm: h("button", { class: "button primary", id: "do-restore-form" }, "Restore"),
    };
}

// Of each kind of dialog: heading, body and the button that does it, from what was asked and the root that it is about.
const kinds = {
    root: (_asked, root) => ({ heading: root.Name, body: details(root), wide: true }),
    delete: (_asked, root) => ({
        heading: `Delete ${root.Name}?`,
        body: h("p", null, `All that lies on this ${root.Kind === "snapshot" ? "snapshot" : "old root"} of ${moment(root.RolledOverUSec)} is gone then. This can't be undone.`
            + (root.HeldRoot ? ` So is another root that was moved into it by accident: ${root.HeldRoot}.` : "")),
        confirm: button("delete-confirmed", "Delete", { look: "danger", data: { path: root.path } }),
    }),
    boot: (_asked, root) => ({
        heading: `Boot a copy of ${root.Name} once?`,
        body: h("p", null, "The next boot takes a writable copy of it as its root, and the root of now becomes an old root. The boot after that has a fresh root again."),
        confirm: button("next", "Boot it next", { look: "primary", data: { value: String(root.SubvolumeId) } }),
    }),
    snapshot: () => ({
        heading: "Take a snapshot of the running root",
        body: field("label", "Label", "", "To tell it by, such as “before the upgrade”. It can be empty.", 255),
        form: "snapshot",
        confirm: h("button", { class: "button primary", id: "do-snapshot-form" }, "Take it"),
    }),
    plan,
    restore,
    browse: browsing,
    keep: ({ bytes }) => ({
        heading: "Keep something more",
        body: [
            field("keep", "Path", bytes ? fromBytes(bytes) : "", "An absolute path of a directory or a file, such as /var/lib/docker."),
            h("p", null, "What is there is copied to the persistent volume, verified, and put in its place; it is there at every boot from now on."),
        ],
        form: "keep", confirm: h("button", { class: "button primary", id: "do-keep-form" }, "Keep it"),
    }),
    forget: (asked, _root, daemon) => {
        const { entry } = asked, target = daemon.entries.find(e => e.path === entry)?.Target;
        asked.name = target ?? asked.name;
        return target && {
            heading: `Forget ${target}?`,
            body: h("p", null, "A copy of it takes its place, and is gone after the next boot. What is kept stays on the persistent volume."),
            confirm: button("forget-confirmed", "Forget it", { look: "danger", data: { entry } }),
        };
    },
};

/** The dialog that was asked for, or nothing when what it is about, whose name `asked` remembers, has gone. */
export function dialog(asked, daemon) {
    const root = asked.path && daemon.roots.find(r => r.path === asked.path);
    asked.name = root?.Name ?? asked.name;
    if (asked.path && !root && !asked.running && !asked.results)
        return null;
    const made = kinds[asked.kind](asked, root, daemon);
    if (!made)
        return null;
    const { heading, body, confirm, form, wide } = made;
    const content = [
        h("h2", { id: "dialog-heading" }, heading),
        asked.error && alert("danger", asked.error, { key: "error", role: "alert" }),
        h("div", { class: "body", "data-key": "body" }, body),
        h("div", { class: "told", role: "status", "aria-atomic": "false", "data-key": "told" }),
        h("footer", { class: "actions" }, confirm,
            button("close", confirm ? "Cancel" : "Close", { look: "link", autofocus: confirm && !form })), // so that Enter once too often does nothing
    ];
    return h("dialog", { id: `dialog-${asked.kind}`, "aria-labelledby": "dialog-heading", class: wide ? "wide" : undefined, tabindex: -1 },
        form ? h("form", { "data-action": form, "data-path": asked.path }, content) : content);
}
